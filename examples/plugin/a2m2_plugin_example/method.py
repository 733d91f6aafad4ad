"""A method in one file: clips by the mean and the spread of their frame vectors."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.methods import Config, Descriptors, PairwiseMethod


@dataclass(frozen=True)
class SpreadConfig(Config):
    weight: float = 0.5  # of the spread beside the mean

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> "SpreadConfig":
        return cls()


class Spread(PairwiseMethod):
    def __init__(self, config: SpreadConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        x = functional.normalize(features.pooled.float(), dim=-1)
        both = [x.mean(1), self.config.weight * x.std(1)]
        return {"clip": functional.normalize(torch.cat(both, -1), dim=-1)}

    def pairs(self, query: Descriptors, support: Descriptors) -> Tensor:
        return query["clip"] @ support["clip"].mT


SPREAD = (Spread, SpreadConfig)
