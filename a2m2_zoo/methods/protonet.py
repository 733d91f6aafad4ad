"""Prototypes of mean-pooled frame features: the baseline without time and without second moments.

Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning" (NeurIPS 2017), over the mean of the
backbone's frame vectors (the TSN baseline of the field), compared by cosine.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from a2m2_zoo._typing import Float
from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod
from a2m2_zoo.modules._config import Config


@dataclass(frozen=True)
class ProtoNetConfig(Config):
    """Nothing to choose."""


class ProtoNet(PairwiseMethod):
    """Cosine between mean-pooled frame features, averaged over the shots. No parameters."""

    def __init__(self, config: ProtoNetConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        """Mean over frames of the pooled vectors (B, C), to unit length."""
        return {"mean": functional.normalize(features.pooled.float().mean(1), dim=-1)}

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "q n"]:
        """Cosine of every pair."""
        return query["mean"] @ support["mean"].mT
