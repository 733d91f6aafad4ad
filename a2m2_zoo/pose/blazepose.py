"""BlazePose: the embedded detector of people and the network for the landmarks of one.

Architecture and weights: Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking" (2020),
as the npm package ``@mediapipe/pose`` carries them, see ``weights/NOTICE``. Both networks are chains of
inverted residuals with ReLU6. The detector looks over a whole picture and says where people are; the
landmark network looks at a square that holds one, turned upright. Of the landmark network only what its
landmarks and its presence need is here: the heatmaps and the outline of the body are branches of their own,
more than a third of its time. ``tools/convert_blazepose.py`` writes the file: half precision as published,
weights of which most are zero as the others and a mask (`unpack`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import StateDict
from a2m2_zoo.backbones.files import build_embedded
from a2m2_zoo.errors import CheckpointError

EMBEDDED = "blazepose.safetensors"
DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
LANDMARKS = 33
_OUTPUTS = 39  # and six that only steer the region of the next frame

# (kernel, stride, output channels) of the inverted residuals after the first, which only narrows.
_Stages = tuple[tuple[int, int, int], ...]
_DETECTOR: _Stages = (
    *((3, 2, 24), (3, 1, 24), (5, 2, 40), (5, 1, 40)),
    *((3, 2, 80), (3, 1, 80), (3, 1, 80), (5, 1, 112), (5, 1, 112), (5, 1, 112)),
    *((5, 2, 192), (5, 1, 192), (5, 1, 192), (5, 1, 192)),
)
_LANDMARK: _Stages = (
    *((3, 2, 16), (3, 1, 16), (5, 2, 24), (5, 1, 24)),
    *((3, 2, 40), (3, 1, 40), (3, 1, 40), (5, 1, 56), (5, 1, 56), (5, 1, 56)),
    *((5, 2, 96), (5, 1, 96), (5, 1, 96), (5, 1, 96)),
)
_LATERALS = (4, 10)  # the detector's blocks whose maps are used again, at 28 and 14 cells a side


def _conv(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, pad: int = 0
) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=pad)


def _depthwise(channels: int, kernel: int = 3, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels, channels, kernel, stride=stride, padding=kernel // 2, groups=channels
    )


def _relu6(x: Tensor) -> Tensor:
    return functional.relu6(x, inplace=True)


class Inverted(nn.Module):
    """Inverted residual: widen (1×1), filter each channel (k×k), narrow (1×1), add the input.

    At stride 2 zeros are put all round, unlike EfficientNet-Lite0's SAME.
    """

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide) if expansion > 1 else None
        self.depthwise = _depthwise(wide, kernel, stride=stride)
        self.project = _conv(wide, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """Run the block."""
        y: Tensor = x if self.expand is None else _relu6(self.expand(x))
        y = self.project(_relu6(self.depthwise(y)))
        return y + x if self.residual else y


class Separable(nn.Module):
    """A depthwise and a pointwise convolution: a side branch, or a head at half the size."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1):
        super().__init__()
        self.depthwise = _depthwise(inputs, stride=stride)
        self.pointwise = _conv(inputs, outputs)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """Filter each channel, then mix them; no activation."""
        mixed: Tensor = self.pointwise(self.depthwise(x))
        return mixed


class Residual(nn.Module):
    """relu6(x + pointwise(depthwise(x))); at stride 2 the input is pooled by its maximum.

    The landmark network has an activation between the two convolutions, the detector has none.
    """

    def __init__(self, channels: int, *, stride: int = 1, active: bool = False):
        super().__init__()
        self.depthwise = _depthwise(channels, stride=stride)
        self.pointwise = _conv(channels, channels)
        self.active = active
        if stride == 2:  # TensorFlow's SAME of an even size: a zero below and to the right only
            self.depthwise.padding = (0, 0)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c _ _"]:
        """Run the block."""
        halved = self.depthwise.stride[0] == 2
        y: Tensor = self.depthwise(functional.pad(x, (0, 1, 0, 1)) if halved else x)
        y = self.pointwise(_relu6(y) if self.active else y)
        return _relu6(y + (functional.max_pool2d(x, 2) if halved else x))


class Trunk(nn.Module):
    """What both networks begin with: a picture → maps at 1/32 of its side, and some on the way."""

    def __init__(self, first: int, stages: _Stages):
        super().__init__()
        self.stem = _conv(3, 24, 3, stride=2, pad=1)
        blocks, inputs = [Inverted(24, first, kernel=3, stride=1, expansion=1)], first
        for i, (kernel, stride, outputs) in enumerate(stages):
            expansion = 6 if i else 4
            blocks.append(
                Inverted(inputs, outputs, kernel=kernel, stride=stride, expansion=expansion)
            )
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.expand = _conv(inputs, 6 * inputs)
        self.depthwise = _depthwise(6 * inputs)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        """Maps after the blocks `_LATERALS` and at the end."""
        x = _relu6(self.stem(x.contiguous(memory_format=torch.channels_last)))
        maps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in _LATERALS:
                maps.append(x)
        return [*maps, _relu6(self.depthwise(_relu6(self.expand(x))))]


class Level(nn.Module):
    """One size of the detector's pyramid: what comes from below, enlarged, and what was kept."""

    def __init__(self, lateral: int, below: int, channels: int):
        super().__init__()
        self.lateral = Separable(lateral, channels)
        self.reduce = _conv(below, channels)
        self.units = nn.Sequential(Residual(channels), Residual(channels))

    def forward(
        self, kept: Float[Tensor, "n c h w"], below: Float[Tensor, "n d i j"]
    ) -> Float[Tensor, "n e h w"]:
        """Join the two; narrowed first and then enlarged, which is the same and a quarter of the work."""
        larger = functional.interpolate(
            self.reduce(below), scale_factor=2, mode="bilinear", align_corners=False
        )
        joined: Tensor = self.units(_relu6(self.lateral(kept)) + _relu6(larger))
        return joined


class Detector(nn.Module):
    """A picture of 224², −1 to 1 → for each of 2254 anchors a box, four points and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(16, _DETECTOR)
        self.middle = Level(112, 1152, 192)
        self.fine = Level(40, 192, 96)
        places = ((24, 2), (48, 2), (288, 6))
        self.logits = nn.ModuleList(Separable(c, n, stride=2) for c, n in places)
        self.boxes = nn.ModuleList(Separable(c, 12 * n, stride=2) for c, n in places)

    def forward(
        self, pictures: Float[Tensor, "n 3 224 224"]
    ) -> tuple[Float[Tensor, "n 2254 12"], Float[Tensor, "n 2254"]]:
        """Boxes (centre, size, then four points, all in pixels from the anchor) and logits."""
        kept28, kept14, coarse = self.trunk(pictures)
        middle = self.middle(kept14, coarse)
        levels = [_spread(x) for x in (self.fine(kept28, middle), middle, coarse)]
        boxes = [_rows(head(x), 12) for head, x in zip(self.boxes, levels, strict=True)]
        logits = [_rows(head(x), 1) for head, x in zip(self.logits, levels, strict=True)]
        return torch.cat(boxes, 1), torch.cat(logits, 1)[..., 0]


class Landmarker(nn.Module):
    """A square of 256², 0 to 1, round one person → 39 points and whether there is a person."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(8, _LANDMARK)
        self.reduce = Separable(576, 192)
        self.units = nn.Sequential(
            *(Residual(192, stride=stride, active=True) for stride in (2, 1, 1, 2, 1, 1, 1))
        )
        self.points = _conv(192, 5 * _OUTPUTS, 2)
        self.presence = _conv(192, 1, 2)

    def forward(
        self, pictures: Float[Tensor, "n 3 256 256"]
    ) -> tuple[Float[Tensor, "n 39 5"], Float[Tensor, " n"]]:
        """Points (x, y, z in pixels, logits of visibility and presence) and the person's logit."""
        coarse = self.trunk(pictures)[-1]
        x = _relu6(self.reduce.pointwise(_relu6(self.reduce.depthwise(coarse))))
        x = self.units(x)
        return self.points(x).reshape(-1, _OUTPUTS, 5), self.presence(x).reshape(-1)


class BlazePose(nn.Module):
    """Both networks, as one module with one file of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = Detector()
        self.landmarker = Landmarker()


def build_blazepose(weights: StateDict | None = None) -> BlazePose:
    """Build both networks with the embedded weights, or with those given; in evaluation mode.

    Args:
        weights: A state dict of `BlazePose`, of any floating-point precision or packed as the
            embedded file is, see `unpack`.

    Raises:
        CheckpointError: If the weights do not fit, or the embedded file is damaged.
    """
    network = build_embedded(BlazePose, weights, name="BlazePose", file=EMBEDDED, unpack=unpack)
    return network.eval().requires_grad_(False)


def unpack(state: StateDict) -> dict[str, Tensor]:
    """Undo the packing of the embedded file: ``x.weight`` holds the values where ``x.mask`` has a bit.

    Args:
        state: Key → tensor. Weights without a mask beside them are taken as they are. A mask has a row
            for each output channel of a 1×1 convolution and a bit for each input, the highest first.

    Raises:
        CheckpointError: If there are more or fewer values than bits.

    Example:
        >>> packed = {"x.weight": torch.tensor([3.0, 4.0])}
        >>> unpack(packed | {"x.mask": torch.tensor([[0b10100000]], dtype=torch.uint8)})[
        ...     "x.weight"
        ... ].flatten()
        tensor([3., 0., 4., 0., 0., 0., 0., 0.])
    """
    bits = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
    plain = {}
    for key, value in state.items():
        mask = state.get(key.removesuffix("weight") + "mask") if key.endswith(".weight") else None
        if mask is not None:
            where = (mask[..., None] & bits).ne(0).flatten(-2)
            if where.sum() != value.numel():
                raise CheckpointError(f"{key}: its mask is of another weight; fetch the file again")
            dense = torch.zeros(where.shape, dtype=value.dtype)
            dense[where] = value
            value = dense[..., None, None]
        if not key.endswith(".mask"):
            plain[key] = value
    return plain


def _rows(maps: Tensor, width: int) -> Tensor:
    """Channels of each cell → rows of `width`, cell by cell: (n, c, h, w) → (n, h·w·c / width, width)."""
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, width)


def _spread(maps: Tensor) -> Tensor:
    """TensorFlow's depth to space: (n, 4c, h, w) → (n, c, 2h, 2w), the place before the channel."""
    n, c, h, w = maps.shape
    cells = maps.reshape(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return cells.reshape(n, c // 4, 2 * h, 2 * w).contiguous(memory_format=torch.channels_last)
