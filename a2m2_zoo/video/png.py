"""A picture as text, for pages that stand alone."""

from __future__ import annotations

import base64
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def data_address(picture: NDArray[np.uint8]) -> str:
    """A small picture (H, W, 3) as a data address, so that no file of it lies anywhere."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    data = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
    return "data:image/png;base64," + base64.b64encode(data).decode()
