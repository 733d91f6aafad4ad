"""A small model, and a head that guesses, for tests of what is compared with what."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Method
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.recognition.model import Model


@dataclasses.dataclass(frozen=True)
class GuessConfig(Config):
    """A head whose weights are random: what an untrained baseline is."""

    channels: int = 1
    broken: bool = False

    @classmethod
    def for_backbone(cls, backbone: Any, *, frames: int) -> GuessConfig:
        if backbone.pooled_channels > 100:
            raise ArgumentError("a guess stands on small backbones only")
        return cls(channels=backbone.pooled_channels)


class Guess(Method):
    def __init__(self, config: GuessConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Linear(config.channels, 3)

    def prepare_training(self, *, classes: int) -> None:
        self.extra["classifier"] = nn.Linear(3, classes)

    def encode(self, features: Features) -> dict[str, Tensor]:
        return {"point": self.project(features.pooled.float().mean(1))}

    def score(self, query: Any, support: Any, *, labels: Tensor, way: int) -> Tensor:
        member = nn.functional.one_hot(labels, way).float()
        means = member.T @ support["point"] / member.sum(0)[:, None]
        scores: Tensor = -torch.cdist(query["point"], means)
        return scores / 0 * 0 if self.config.broken else scores


class BrokenConfig(GuessConfig):
    @classmethod
    def for_backbone(cls, backbone: Any, *, frames: int) -> GuessConfig:
        return dataclasses.replace(super().for_backbone(backbone, frames=frames), broken=True)


def small_model() -> Model:
    """The A²M² head on a backbone that takes no time."""
    m2 = [M2Config(channels=c, dim=4, scales=(1, 0), motion="branch") for c in (8, 16)]
    config = A2M2Config(
        m2=dict(zip(("s14", "s7"), m2, strict=True)), a2=A2Config(groups="scale"), pool=0.5
    )
    torch.manual_seed(0)
    return dataclasses.replace(
        load_model("a2m2-lite0"),
        id="small",
        backbone_hash="tiny",
        backbone_name="tiny",
        backbone=build_backbone("tiny").eval(),
        method=A2M2(config).eval(),
    )
