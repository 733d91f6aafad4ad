"""The motion branch of MoLo, and the decoder that teaches it what motion is.

The motion autodecoder of Wang et al., "MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot
Action Recognition" (CVPR 2023). Differences of feature maps describe the movement; while training, a decoder
has to draw the differences of the pictures from them. Only ``MotionBranch`` is needed to compare clips.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError

_WIDTHS = (128, 32, 16)
_ENLARGEMENTS = (2, 4, 4)


class MotionBranch(nn.Module):
    """Differential features D_t = C_{t+1} − R_t of neighbouring frames, and one vector for each.

    R are the maps after a convolution over space and time, C is R after one more over space.

    Args:
        channels: Channels d of the maps and of the vectors.
        reduced: Channels r of the differential features.
    """

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv3d(channels, reduced, 3, padding=1)
        self.conv = nn.Conv2d(reduced, reduced, 3, padding=1)
        self.up = nn.Conv2d(reduced, channels, 1)

    def forward(
        self, maps: Float[Tensor, "b t d h w"]
    ) -> tuple[Float[Tensor, "b s r h w"], Float[Tensor, "b s d"]]:
        """Differential features and motion vectors of the S = T − 1 steps between T frames.

        Raises:
            ArgumentError: Fewer than two frames.
        """
        clips, frames = maps.shape[:2]
        if frames < 2:
            raise ArgumentError(f"clips have {frames} frame; give at least 2 to see a movement")
        reduced = self.reduce(maps.transpose(1, 2)).transpose(1, 2)
        before = reduced[:, :-1]
        change = self.conv(reduced[:, 1:].flatten(0, 1)).reshape(before.shape) - before
        vectors = functional.relu(self.up(change.flatten(0, 1))).mean((-2, -1))
        return change, vectors.reshape(clips, frames - 1, -1)


class MotionDecoder(nn.Module):
    """From differential features to pictures 32 times their height and width; only training needs it.

    Three times: bilinear enlargement (by 2, 4 and 4, corners aligned), 3×3 convolution without bias, batch
    normalisation, ReLU. A 1×1 convolution gives the three colours.

    Args:
        reduced: Channels r of the differential features.

    >>> import torch
    >>> tuple(MotionDecoder(8)(torch.zeros(2, 8, 1, 2)).shape)
    (2, 3, 32, 64)
    """

    def __init__(self, reduced: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True),
                    nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(inplace=True),
                )
                for factor, (inputs, outputs) in zip(
                    _ENLARGEMENTS, pairwise((reduced, *_WIDTHS)), strict=True
                )
            )
        )
        self.colours = nn.Conv2d(_WIDTHS[-1], 3, 1)

    def forward(self, change: Float[Tensor, "n r h w"]) -> Float[Tensor, "n 3 _ _"]:
        """Pictures (N, 3, 32·h, 32·w): what changed between two frames."""
        found: Tensor = self.colours(self.stages(change))
        return found


def picture_changes(
    frames: Float[Tensor, "b t 3 h w"], *, size: tuple[int, int]
) -> Float[Tensor, "n 3 _ _"]:
    """Differences x_{t+1} − x_t of consecutive frames at the decoder's size: what it should draw.

    Args:
        frames: Normalised network inputs of B clips.
        size: Height and width of the decoder's pictures; differences of another size are resized to it
            (bilinear, antialiased).

    Returns:
        The B·(T − 1) differences, the steps of a clip together.
    """
    change = (frames[:, 1:] - frames[:, :-1]).flatten(0, 1)
    if change.shape[-2:] == size:
        return change
    return functional.interpolate(
        change, size=size, mode="bilinear", align_corners=False, antialias=True
    )
