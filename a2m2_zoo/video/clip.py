"""What a read returns, and what it may cost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event

import numpy as np

from a2m2_zoo._typing import UInt8
from a2m2_zoo.errors import ArgumentError, VideoError, VideoLimitError


@dataclass(frozen=True)
class Limits:
    """How much work one source may cause before it is refused.

    Attributes:
        megapixels: Largest picture, width times height in millions. Checked in the header and held to
            by the decoder, before memory is taken.
        frames: Most frames decoded for one source. A long film with regular key frames stays far below
            it, since only the way from a key frame to each wanted frame is decoded.
        seconds: Wall time for one source, checked between packets.

    Raises:
        ArgumentError: If a limit is not a number above 0.

    >>> Limits(megapixels=2.5).frames
    20000
    """

    megapixels: float = 16.0
    frames: int = 20_000
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("megapixels", "frames", "seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ArgumentError(f"{name}={value!r}: give a number above 0")

    @property
    def pixels(self) -> int:
        """Largest picture in pixels."""
        return int(min(self.megapixels, 1e6) * 1e6)


@dataclass(frozen=True)
class Clip:
    """The frames taken from one source, ready for :func:`~a2m2_zoo.video.normalise`.

    Attributes:
        frames: RGB, (T, size, size, 3), uint8.
        indices: Which frames of the source these are, counted in the order they are shown.
        times: When they appear, in seconds from the first frame. Empty for folders and arrays, which
            have no clock.
        count: Frames of the source, of those that decode as far as that is known.
        source: The source's name, for messages.
        warnings: What the user should know, one sentence each. Empty when all is well.
    """

    frames: UInt8[np.ndarray, "t s s 3"] = field(repr=False)
    indices: tuple[int, ...]
    times: tuple[float, ...]
    count: int
    source: str
    warnings: tuple[str, ...] = ()


class Watch:
    """Stops a read that takes too long, or that nobody waits for any more."""

    def __init__(self, name: str, limits: Limits, stop: Event | None = None) -> None:
        self._name = name
        self._seconds = limits.seconds
        self._end = time.monotonic() + limits.seconds
        self._stop = stop

    def check(self) -> None:
        """Raise if the time is over.

        Raises:
            VideoLimitError: The wall time is used up.
            VideoError: The reader was closed.
        """
        if time.monotonic() > self._end:
            raise VideoLimitError(
                f"{self._name}: reading takes more than {self._seconds:g} s: "
                "shorten the clip or raise Limits.seconds"
            )
        if self._stop is not None and self._stop.is_set():
            raise VideoError(f"{self._name}: reading was stopped before its end")


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Refuse a picture that is larger than the limits allow.

    Raises:
        VideoLimitError: If it is.
    """
    if width * height > limits.pixels:
        raise VideoLimitError(
            f"{name}: {width}x{height} is {math.ceil(width * height / 1e5) / 10:g} megapixels, more "
            f"than {limits.megapixels:g}: shrink the clip or raise Limits.megapixels"
        )


def short_clip(indices: Sequence[int], count: int) -> tuple[str, ...]:
    """Return the warning about a clip with fewer frames than were asked for, if it is one."""
    if count >= len(indices):
        return ()
    return (f"only {count} frame{'s' if count > 1 else ''}; nearest frames repeated",)
