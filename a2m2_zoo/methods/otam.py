"""Ordered temporal alignment: frames of two clips are matched in order by a soft dynamic time warping.

Cao, Ji, Cao, Chang and Niebles, "Few-Shot Video Classification via Temporal Alignment" (CVPR 2020), as the
re-implementation that the field compares with computes it (``CNN_OTAM`` of the MoLo code base).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.ops.alignment import frame_cosines, otam_distance, otam_plan


@dataclass(frozen=True)
class OTAMConfig(Config):
    """Configuration of ``OTAM``.

    Attributes:
        softening: λ of the soft minimum, in the unit of the distance.
        eps: ε of the cosine x·y / (‖x‖‖y‖ + ε) between frames.
    """

    softening: float = 0.1
    eps: float = 0.01

    def __post_init__(self) -> None:
        for name in ("softening", "eps"):
            self._number(name, low=0.0, above=True)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> OTAMConfig:
        """The published choices; any backbone and any number of frames will do."""
        return cls()


class OTAM(PairwiseMethod):
    """Minus the soft alignment distance in both directions, averaged over the shots. No parameters.

    >>> import torch
    >>> method = OTAM(OTAMConfig())
    >>> walk = torch.eye(8)[None, None]  # one episode with one clip of eight unlike frames
    >>> back = {"frames": walk.flip(2)}
    >>> there = {"frames": walk}
    >>> bool(method.pairs(there, there) > method.pairs(there, back))
    True
    """

    def __init__(self, config: OTAMConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        """The frame vectors (B, T, C)."""
        return {"frames": features.pooled.float()}

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Minus the distances of both directions."""
        distance = 1 - self._similarity(query, support)
        softening = self.config.softening
        forth = otam_distance(distance, softening=softening)
        return -(forth + otam_distance(distance.mT, softening=softening))

    def unrelated(self, query: Descriptors, support: Descriptors) -> float:
        """Every frame of both clips at distance one from what it is matched with."""
        return -float(query["frames"].shape[-2] + support["frames"].shape[-2])

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """Expected path of the alignment (sum one) and the cosines of the frames."""
        similarity = self._similarity(query, support)
        return otam_plan(1 - similarity, softening=self.config.softening), similarity

    def _similarity(self, query: Descriptors, support: Descriptors) -> Tensor:
        return frame_cosines(query["frames"], support["frames"], eps=self.config.eps)
