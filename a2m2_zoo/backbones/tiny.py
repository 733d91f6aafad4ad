"""A few thousand weights with the shape of a real backbone, for tests and for trying out code."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import IMAGENET_PREPROCESS, Backbone, StateDict, load_weights


class Tiny(Backbone):
    """Two convolutions: ``s14`` (8 channels at 1/16) and ``s7`` (16 channels at 1/32).

    The pooled vector is the mean over ``s7``. Weights are random but always the same.

    Example:
        >>> import torch
        >>> features = build_tiny()(torch.zeros(2, 4, 3, 64, 64))
        >>> tuple(features.maps["s7"].shape), tuple(features.pooled.shape)
        ((2, 4, 16, 2, 2), (2, 4, 16))
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = "tiny"
        self.stages = {"s14": 8, "s7": 16}
        self.pooled_channels = 16
        self.default_preprocess = IMAGENET_PREPROCESS
        self.patch = nn.Conv2d(3, 8, 16, stride=16)
        self.mix = nn.Conv2d(8, 16, 3, stride=2, padding=1)

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        s14 = functional.relu(self.patch(frames))
        s7 = functional.relu(self.mix(s14))
        return {"s14": s14, "s7": s7}, s7.mean((-2, -1))


def build_tiny(weights: StateDict | None = None) -> Tiny:
    """Build the tiny backbone with its fixed random weights, or with those given.

    Args:
        weights: A state dict of `Tiny`.

    Raises:
        CheckpointError: If the weights do not fit.
    """
    with torch.device("meta"):
        network = Tiny()
    load_weights(
        network,
        _fixed(network) if weights is None else weights,
        source="the state dict given for tiny",
    )
    return network


def _fixed(network: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)  # the process-wide generator is not touched
    return {
        key: torch.randn(own.shape, generator=generator) * own[0].numel() ** -0.5
        for key, own in network.state_dict().items()
    }
