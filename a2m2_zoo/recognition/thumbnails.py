"""Small pictures of the frames that were looked at, by which a support is recognised in an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo._utils.typing import UInt8

if TYPE_CHECKING:
    from a2m2_zoo.video import Clip

_LARGEST = 80  # pixels


def thumbnails_of(clip: Clip) -> UInt8[np.ndarray, "t h w 3"]:
    """The clip's frames shrunk by a whole factor, each pixel the mean of a block."""
    t, height, width, _ = clip.frames.shape
    factor = shrunk_by(max(height, width))
    h, w = height // factor, width // factor
    blocks = clip.frames[:, : h * factor, : w * factor].reshape(t, h, factor, w, factor, 3)
    sums = np.zeros((t, h, w, 3), np.float32)  # of whole numbers, and exact
    for row in range(factor):
        for column in range(factor):
            sums += blocks[:, :, row, :, column]
    return np.asarray((sums / factor**2).round(), dtype=np.uint8)


def shrunk_by(side: int) -> int:
    """By which whole factor frames whose longer side has so many pixels are shrunk."""
    return -(-side // _LARGEST)
