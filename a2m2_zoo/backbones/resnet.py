"""ResNet-50, with torchvision's parameter names and without torchvision.

He et al., "Deep Residual Learning" (CVPR 2016), in the variant all published weights use: the
stride sits on the 3×3 convolution of a bottleneck.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import (
    IMAGENET_PREPROCESS,
    Backbone,
    StateDict,
    channels_last,
    inner_keys,
    load_weights,
)

_REPEATS = (3, 4, 6, 3)
_WIDTHS = (64, 128, 256, 512)

# Few-shot research code keeps the network as nn.Sequential(conv1, bn1, relu, maxpool, layer1…4).
_SEQUENTIAL = {
    "0": "conv1",
    "1": "bn1",
    "4": "layer1",
    "5": "layer2",
    "6": "layer3",
    "7": "layer4",
}


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 convolutions, each batch-normalised, around a shortcut."""

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """Run the block."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn3(self.conv3(y)) + shortcut, inplace=True)


class ResNet50(Backbone):
    """ResNet-50 without its classifier: 23.5 M parameters, 4.1 GMAC a frame at 224².

    Stages are ``layer3`` (1024 channels at 1/16 of the input) and ``layer4`` (2048 at 1/32); the
    pooled vector is the mean over ``layer4``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = "resnet50"
        self.stages = {"layer3": 1024, "layer4": 2048}
        self.pooled_channels = 2048
        self.default_preprocess = IMAGENET_PREPROCESS
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1, self.layer2, self.layer3, self.layer4 = _layers()

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        x = frames.contiguous(memory_format=torch.channels_last)
        x = functional.max_pool2d(
            functional.relu(self.bn1(self.conv1(x)), inplace=True), 3, stride=2, padding=1
        )
        layer3 = self.layer3(self.layer2(self.layer1(x)))
        layer4 = self.layer4(layer3)
        return {"layer3": layer3, "layer4": layer4}, layer4.mean((-2, -1))


def build_resnet50(weights: StateDict | None = None) -> ResNet50:
    """Build ResNet-50 with random weights (He initialisation), or with those given.

    Args:
        weights: A state dict in the names of torchvision or timm, or of few-shot research code
            (``backbone.0.weight`` …, also below ``head.`` or ``module.``). A classifier, and the
            rest of such a checkpoint, is left out; everything else must fit exactly.

    Raises:
        CheckpointError: If the weights do not fit.
    """
    if weights is None:
        network = ResNet50()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    else:
        with torch.device("meta"):
            network = ResNet50()
        load_weights(network, map_keys(weights), source="the state dict given for resnet50")
    return channels_last(network)


def map_keys(state: StateDict) -> dict[str, Tensor]:
    """Bring a state dict to torchvision's names, without what does not belong to the backbone.

    Args:
        state: Key → tensor, as `build_resnet50` describes.

    Example:
        >>> import torch
        >>> w = torch.zeros(1)
        >>> list(map_keys({"head.backbone.4.0.bn1.bias": w, "head.scale": w, "fc.bias": w}))
        ['layer1.0.bn1.bias']
    """
    mapped = {}
    for key, value in inner_keys(state).items():
        first, _, rest = key.partition(".")
        if first != "fc":
            mapped[f"{_SEQUENTIAL.get(first, first)}.{rest}"] = value
    return mapped


def _layers() -> list[nn.Sequential]:
    layers, inputs = [], 64
    for i, (repeats, width) in enumerate(zip(_REPEATS, _WIDTHS, strict=True)):
        blocks = []
        for j in range(repeats):
            blocks.append(Bottleneck(inputs, width, stride=2 if i > 0 and j == 0 else 1))
            inputs = 4 * width
        layers.append(nn.Sequential(*blocks))
    return layers
