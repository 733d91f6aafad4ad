"""Earth mover's distance between the frames of two clips, with masses that each clip reads off the other.

After DeepEMD (Zhang, Cai, Lin and Shen, "DeepEMD: Few-Shot Image Classification with Differentiable Earth
Mover's Distance and Structured Classifiers", CVPR 2020, arXiv 2003.06777), from images to videos: the nodes
are frames instead of places of a feature map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.ops.alignment import frame_cosines
from a2m2_zoo.ops.marginals import cross_reference
from a2m2_zoo.ops.precision import promote, without_autocast
from a2m2_zoo.ops.transport import exact_plan

_EPS = 1e-8  # of a cosine that is a plain one, and 0 for an empty frame


@dataclass(frozen=True)
class DeepEMDConfig(Config):
    """Configuration of ``DeepEMD``.

    Attributes:
        temperature: Factor of the score Σ plan ⊙ similarity, which lies in −1..1.
        centre: Take each vector's mean over its channels off before the cosines (not before the
            masses), as the official code does.
    """

    temperature: float = 12.5
    centre: bool = True

    def __post_init__(self) -> None:
        self._number("temperature", low=0.0, above=True)
        self._flag("centre")

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> DeepEMDConfig:
        """The published choices; any backbone and any number of frames will do."""
        return cls()


class DeepEMD(PairwiseMethod):
    """Similarity carried by the optimal transport between frames, averaged over the shots.

    No parameters. The plan is exact and constant for autograd, which for fixed masses is the exact
    gradient of the score (envelope theorem); the masses pass no gradient.

    >>> method = DeepEMD(DeepEMDConfig(temperature=1.0, centre=False))
    >>> walk = {"frames": torch.eye(8)[None, None]}  # one episode with one clip of eight unlike frames
    >>> method.pairs(walk, walk).round(decimals=4)
    tensor([[[1.]]])
    """

    def __init__(self, config: DeepEMDConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        """The frame vectors (B, T, C)."""
        return {"frames": features.pooled.float()}

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Temperature × the similarity that the transport carries."""
        plan, similarity = self._transport(query["frames"], support["frames"])
        score: Tensor = self.config.temperature * (plan * similarity).sum((-2, -1))
        return score

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """Transport plan between the frames (sum one) and their cosines."""
        return self._transport(query["frames"], support["frames"])

    def _transport(self, query: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
        a = cross_masses(query, support)
        b = cross_masses(support, query).transpose(1, 2)
        if self.config.centre:
            query, support = (x - x.mean(-1, keepdim=True) for x in (query, support))
        similarity = frame_cosines(query, support, eps=_EPS)
        return exact_plan(1 - similarity.detach(), a, b), similarity


@torch.no_grad()
@without_autocast
def cross_masses(
    x: Float[Tensor, "e q t d"], y: Float[Tensor, "e n s d"]
) -> Float[Tensor, "e q n t"]:
    """Masses of x's frames in proportion to max(frame · mean frame of y, 0) + 1e-3, sum one.

    The cross-reference mechanism of DeepEMD (section 3.4): what the other clip does not show weighs
    little. The 1e-3 is the official code's, and makes the masses equal where nothing is shared.
    """
    products = torch.einsum("eqtd,end->eqnt", promote(x), promote(y).mean(2))
    return cross_reference(products, torch.ones_like(products, dtype=torch.bool))
