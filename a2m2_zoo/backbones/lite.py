"""EfficientNet-Lite0: the embedded backbone.

Architecture: Tan and Le, "EfficientNet" (ICML 2019), in the Lite variant of the authors: no
squeeze-and-excitation, ReLU6 for Swish, stem and head of fixed width. Weights: ImageNet-1k, see
``weights/NOTICE``. Batch normalisation is folded into the convolutions, once, in float64, by
``tools/convert_lite0.py``: what is left is a chain of convolutions with a bias. In the file the large
weights are 16-bit integers with a scale per output channel: as small as float16, and the maps stay
five times nearer to the original (2e-4 against 1e-3 in relative L2), for a float spends bits on an
exponent that hardly varies within a channel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import (
    Backbone,
    Preprocess,
    StateDict,
)
from a2m2_zoo.backbones.files import build_embedded
from a2m2_zoo.backbones.onnx_graph import Graph

EMBEDDED = "efficientnet_lite0.safetensors"

# (repeats, kernel, stride of the first repeat, expansion, output channels), Table 1 of the paper.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_S14_BLOCK = 10  # the last block before the stride becomes 32


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: ⌈size / stride⌉ outputs, the odd zero at the end.

    At stride 2 an even input gets its extra row and column below and to the right only, which no
    symmetric padding can give; the weights were trained so, and the maps move by half a pixel if
    it is ignored.
    """

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """Pad and convolve."""
        k, s = self.kernel_size[0], self.stride[0]
        tall, wide = (max((-(-n // s) - 1) * s + k - n, 0) for n in x.shape[-2:])
        if tall % 2 == 0 and wide % 2 == 0:
            pad: tuple[int, int] = (tall // 2, wide // 2)
        else:
            x = functional.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
            pad = (0, 0)
        return functional.conv2d(x, self.weight, self.bias, self.stride, pad, 1, self.groups)


class MBConv(nn.Module):
    """Inverted residual: widen (1×1), filter each channel (k×k), narrow (1×1), add the input."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = SameConv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride=stride, groups=wide)
        self.project = SameConv(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """Run the block."""
        y: Tensor = x if self.expand is None else functional.relu6(self.expand(x), inplace=True)
        y = self.project(functional.relu6(self.depthwise(y), inplace=True))
        return y + x if self.residual else y


class Lite0(Backbone):
    """EfficientNet-Lite0 without its classifier: 3.35 M parameters, 0.4 GMAC a frame at 224².

    Stages are ``s14`` (112 channels at 1/16 of the input, after the eleventh block) and ``s7`` (320
    channels at 1/32, after the last); the pooled vector is the mean over the head's 1280 channels.
    Frames are expected as (x − 127) / 128 for x in 0..255.

    Example:
        >>> import torch
        >>> from a2m2_zoo.backbones import build_backbone
        >>> with torch.inference_mode():
        ...     features = build_backbone("lite")(torch.zeros(1, 2, 3, 64, 64))
        >>> {stage: tuple(maps.shape) for stage, maps in features.maps.items()}
        {'s14': (1, 2, 112, 4, 4), 's7': (1, 2, 320, 2, 2)}
        >>> tuple(features.pooled.shape)
        (1, 2, 1280)
    """

    def __init__(self) -> None:
        super().__init__()
        self.name = "lite"
        self.stages = {"s14": 112, "s7": 320}
        self.pooled_channels = 1280
        self.default_preprocess = Preprocess(
            mean=(127 / 255,) * 3, std=(128 / 255,) * 3, size=224, interpolation="bicubic"
        )
        self.stem = SameConv(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for repeats, kernel, first, expansion, outputs in _STAGES:
            for stride in (first, *(1,) * (repeats - 1)):
                blocks.append(
                    MBConv(inputs, outputs, kernel=kernel, stride=stride, expansion=expansion)
                )
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv(inputs, self.pooled_channels, 1)

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        x = functional.relu6(
            self.stem(frames.contiguous(memory_format=torch.channels_last)), inplace=True
        )
        maps = {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == _S14_BLOCK:
                maps["s14"] = x
        maps["s7"] = x
        return maps, functional.relu6(self.head(x), inplace=True).mean((-2, -1))


def build_lite(weights: StateDict | None = None) -> Lite0:
    """Build the lite backbone with its embedded ImageNet weights, or with those given.

    Args:
        weights: A state dict of `Lite0`, of any floating-point precision or packed as the embedded
            file is, see `unpack`.

    Raises:
        CheckpointError: If the weights do not fit, or the embedded file is damaged.
    """
    return build_embedded(Lite0, weights, name="lite", file=EMBEDDED, unpack=unpack)


def unpack(state: StateDict) -> dict[str, Tensor]:
    """Undo the packing of the embedded file: ``x.weight`` · ``x.scale``, per output channel.

    Args:
        state: Key → tensor. Weights without a scale beside them are taken as they are.

    Example:
        >>> packed = {"x.weight": torch.tensor([[32767, -32767]], dtype=torch.int16)}
        >>> unpack(packed | {"x.scale": torch.tensor([2.0 / 32767])})
        {'x.weight': tensor([[ 2., -2.]])}
    """
    plain = {}
    for key, value in state.items():
        scale = state.get(key.removesuffix("weight") + "scale") if key.endswith(".weight") else None
        if scale is not None:
            value = value.to(scale.dtype) * scale.reshape(-1, *[1] * (value.ndim - 1))
        if not key.endswith(".scale"):
            plain[key] = value
    return plain


def lite_graph(network: Lite0) -> bytes:
    """The network as an ONNX file: pictures to the maps of its stages and the pooled vectors.

    Args:
        network: Whose weights it has.
    """
    graph = Graph()
    x = graph.relu6(graph.conv(graph.input, network.stem))
    outputs = {}
    for i, block in enumerate(network.blocks):
        assert isinstance(block, MBConv)
        y = x if block.expand is None else graph.relu6(graph.conv(x, block.expand))
        y = graph.conv(graph.relu6(graph.conv(y, block.depthwise)), block.project)
        x = graph.add("Add", y, x) if block.residual else y
        if i == _S14_BLOCK:
            outputs["s14"] = x, 4
    outputs["s7"] = x, 4
    mean = graph.add("GlobalAveragePool", graph.relu6(graph.conv(x, network.head)))
    outputs["pooled"] = graph.add("Flatten", mean, axis=1), 2
    return graph.file(outputs)
