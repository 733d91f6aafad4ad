"""Bidirectional mean Hausdorff metric: every frame to its nearest frame, both ways, without order.

The set matching of HyRSM (Wang et al., "Hybrid Relation Guided Set Matching for Few-shot Action Recognition",
CVPR 2022) and MoLo (CVPR 2023), here by itself on the backbone's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.ops.alignment import bimhm_distance, bimhm_plan, frame_cosines
from a2m2_zoo.ops.shots import mean_over_shots


@dataclass(frozen=True)
class BiMHMConfig(Config):
    """Configuration of ``BiMHM``.

    Attributes:
        shots: ``"scores"``: distances are averaged over the shots of a class; ``"prototypes"``:
            the class is one clip whose frames are the means of its shots' (as in HyRSM and MoLo).
        eps: ε of the cosine x·y / (‖x‖‖y‖ + ε) between frames.
    """

    shots: str = "scores"
    eps: float = 0.01

    def __post_init__(self) -> None:
        self._choice("shots", ("scores", "prototypes"))
        self._number("eps", low=0.0, above=True)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> BiMHMConfig:
        """The defaults; any backbone and any number of frames will do."""
        return cls()


class BiMHM(PairwiseMethod):
    """Minus the sum of nearest-frame distances in both directions. No parameters.

    >>> method = BiMHM(BiMHMConfig())
    >>> walk = {"frames": torch.eye(8)[None, None]}  # one episode with one clip of eight unlike frames
    >>> back = {"frames": torch.eye(8)[None, None].flip(2)}
    >>> bool(method.pairs(walk, walk) == method.pairs(walk, back))  # a set has no order
    True
    """

    def __init__(self, config: BiMHMConfig) -> None:
        super().__init__()
        self.config = config
        self.rule = "mean" if config.shots == "scores" else None

    def encode(self, features: Features) -> Descriptors:
        """The frame vectors (B, T, C)."""
        return {"frames": features.pooled.float()}

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Minus the distances, which are sums over frames as in the published code."""
        return -bimhm_distance(1 - self._similarity(query, support))

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "e q w"]:
        """Logits by the configured rule over shots."""
        if self.rule:
            return super().score(query, support, labels=labels, way=way)
        frames = support["frames"]
        means = mean_over_shots(frames.flatten(2).mT, labels, way=way).mT
        return self.pairs(query, {"frames": means.reshape(len(frames), way, *frames.shape[2:])})

    def unrelated(self, query: Descriptors, support: Descriptors) -> float:
        """Every frame of both clips at distance one from what it is matched with."""
        return -float(query["frames"].shape[-2] + support["frames"].shape[-2])

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """Which frame is nearest to which (half of the mass each way) and the cosines of the frames."""
        similarity = self._similarity(query, support)
        rows, columns = (
            torch.ones_like(similarity.select(axis, 0), dtype=torch.bool) for axis in (-1, -2)
        )
        return bimhm_plan(similarity, rows, columns), similarity

    def _similarity(self, query: Descriptors, support: Descriptors) -> Tensor:
        return frame_cosines(query["frames"], support["frames"], eps=self.config.eps)
