"""Prototypes of mean-pooled frame features: the baseline without time and without second moments.

After Snell, Swersky and Zemel, "Prototypical Networks for Few-shot Learning" (NeurIPS 2017), in the
form the field calls TSN: the mean of the backbone's frame vectors, compared by cosine, averaged over shots.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.ops.alignment import cosine_eps


@dataclass(frozen=True)
class ProtoNetConfig(Config):
    """Configuration of ``ProtoNet``.

    Attributes:
        eps: ε of the cosine x·y / (‖x‖‖y‖ + ε); the published baseline has 0.01, and a plain cosine
            is what a tiny one gives.
    """

    eps: float = 0.01

    def __post_init__(self) -> None:
        self._number("eps", low=0.0, above=True)

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> ProtoNetConfig:
        """The published choice; any backbone and any number of frames will do."""
        return cls()


class ProtoNet(PairwiseMethod):
    """Cosine between mean-pooled frame features, averaged over the shots. No parameters.

    >>> import torch
    >>> method = ProtoNet(ProtoNetConfig())
    >>> clips = method.encode(Features({}, torch.eye(3)[:, None] * torch.ones(3, 8, 1)))
    >>> one = {"mean": clips["mean"][None]}  # one episode
    >>> method.score(one, one, labels=torch.arange(3), way=3).argmax(-1)
    tensor([[0, 1, 2]])
    """

    def __init__(self, config: ProtoNetConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        """Mean over frames of the pooled vectors (B, C)."""
        return {"mean": features.pooled.float().mean(1)}

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """Cosine of every pair."""
        return cosine_eps(query["mean"], support["mean"], eps=self.config.eps)
