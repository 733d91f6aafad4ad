"""The rows that an archive keeps of a clip. Nothing here knows where."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from a2m2_zoo._utils.remote.addresses import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POSTER = 160  # pixels of the longer side


@dataclass(frozen=True)
class Window:
    """A row of the archive's windows, but for its search vector, which follows from its descriptors.

    Attributes:
        start: Where it begins, in seconds from the video's first frame.
        end: Where it ends; equal to ``start`` where the source has no clock.
        rate: Frames of the video a second; 0 where it has no clock.
        descriptors: As a ``Codec`` packs them.
        poster: Its middle frame as a small JPEG.
    """

    start: float
    end: float
    rate: float
    descriptors: bytes = field(repr=False)
    poster: bytes = field(repr=False)


@dataclass(frozen=True)
class ClipRows:
    """All that an archive keeps of a clip.

    Attributes:
        key: Hash of its content.
        uri: Where it lies.
        stamp: Its size and when it changed, by which it is known not to have changed.
        windows: Its windows, in the order of time.
        seconds: Its length; 0 where it has no clock.
        warnings: What to know of it.
    """

    key: str
    uri: str
    stamp: str
    windows: tuple[Window, ...]
    seconds: float
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        key: str,
        stamp: str,
        windows: tuple[Window, ...],
        warnings: tuple[str, ...],
    ) -> ClipRows:
        """The rows of the clip that lies at ``path``."""
        length = max((window.end for window in windows), default=0.0)
        return cls(key, uri_of(path), stamp, windows, length, warnings)


def poster_of(frames: NDArray[np.uint8]) -> bytes:
    """The middle one of a clip's frames as a small JPEG."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames[len(frames) // 2]), "rgb24")
    shrink = max(picture.width, picture.height) / _POSTER
    width, height = (
        max(2, 2 * round(side / max(shrink, 1) / 2)) for side in (picture.width, picture.height)
    )
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"q": "5", "threads": "1"}
    small = picture.reformat(width, height, "yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])


def uri_of(path: str | os.PathLike[str]) -> str:
    """How the archive calls a clip: an address as it is, a path from the root."""
    text = os.fsdecode(path)
    return text if "://" in text else os.path.abspath(text)  # noqa: PTH100 - thousands of clips


def stamp_of(path: str | os.PathLike[str]) -> str:
    """What of a clip changes with its content, as far as that can be seen without reading it.

    Raises:
        VideoError: There is no such clip.
    """
    from a2m2_zoo.video.content import reading, stamp, survey

    with reading(path):
        return stamp(survey(place(path))[0])
