"""Add a few-shot method in one file, and see how it does beside the others on your clips.

This one, "drift", describes a clip by the mean of its frame vectors and by how they change from its first
half to its second, and compares clips by cosine. A method is ``encode`` (a clip's descriptors) and
``pairs`` (how alike every query and support are); from these come banks, probabilities, evaluation,
comparison and training.

python examples/own_method.py FOLDER [--way 5] [--episodes 1000]
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.compare import compare
from a2m2_zoo.methods import METHODS, Config, Descriptors, PairwiseMethod


@dataclass(frozen=True)
class DriftConfig(Config):
    """How much the change counts beside the mean; it travels with a saved model."""

    weight: float = 1.0

    @classmethod
    def for_backbone(cls, backbone: Backbone, *, frames: int) -> "DriftConfig":
        """What fits a backbone and a number of frames; here, whatever they are."""
        return cls()


class Drift(PairwiseMethod):
    """A network like any other: give it parameters and `a2m2 train` trains them."""

    def __init__(self, config: DriftConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, features: Features) -> Descriptors:
        """(B, T, C) frame vectors to (B, 2C). For maps, name them in ``stages``: ``features.maps``."""
        frames = functional.normalize(features.pooled.float(), dim=-1)
        first, second = frames.chunk(2, dim=1)
        drift = self.config.weight * (second.mean(1) - first.mean(1))
        return {"clip": functional.normalize(torch.cat([frames.mean(1), drift], -1), dim=-1)}

    def pairs(self, query: Descriptors, support: Descriptors) -> Tensor:
        """(E, Q, D) and (E, N, D) to (E, Q, N): E episodes at once."""
        return query["clip"] @ support["clip"].mT


METHODS["drift"] = (Drift, DriftConfig)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--cache", help="folder for what the backbone gives")
    options = parser.parse_args()
    found = compare(
        load_model(),
        class_folders(options.folder),
        methods=["a2m2", "protonet", "drift"],
        protocol=Protocol(way=options.way, shots=(1,), episodes=options.episodes),
        cache=options.cache,
    )
    for result in found.results:
        print(f"{result.method:10} {result.accuracy:5.1f} ± {result.interval:.1f} %")
