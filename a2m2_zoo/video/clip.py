"""What a read returns, and what it may cost."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo._utils.typing import UInt8
from a2m2_zoo.errors import ArgumentError, VideoError, VideoLimitError
from a2m2_zoo.video.preprocess import Preprocess, cropped
from a2m2_zoo.video.sample import time_centres, time_random

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LONGEST = 4  # times the short side: up to here a clip keeps what is cropped away


@dataclass(frozen=True)
class Limits:
    """How much work one source may cause before it is refused.

    Attributes:
        megapixels: Largest picture, width times height in millions. Checked in the header and held
            to by the decoder, before memory is taken.
        frames: Most frames decoded for one source. A long video with regular key frames stays far
            below it, since only the way from a key frame to each wanted frame is decoded.
        seconds: Wall time for one source, checked between packets and while it is fetched.
        megabytes: Most of one source at an address that is fetched, in millions of bytes. Files of this
            machine are not bounded.

    Raises:
        ArgumentError: If a limit is not a number above 0.

    >>> Limits(megapixels=2.5).frames
    20000
    """

    megapixels: float = 16.0
    frames: int = 20_000
    seconds: float = 60.0
    megabytes: float = 4000.0

    def __post_init__(self) -> None:
        for name in ("megapixels", "frames", "seconds", "megabytes"):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            try:
                sound = number and float(value) > 0
            except OverflowError:  # an integer that no float can be
                sound = False
            if not sound:
                raise ArgumentError(f"{name}={value!r}: give a number above 0")

    @property
    def pixels(self) -> int:
        """Largest picture in pixels."""
        return int(min(self.megapixels, 1e6) * 1e6)

    @property
    def bytes(self) -> int:
        """Most that is fetched of one source."""
        return int(min(self.megabytes, 1e12) * 1e6)


@dataclass(frozen=True)
class Clip:
    """The frames taken from one source, ready for :func:`~a2m2_zoo.video.normalise`.

    Attributes:
        frames: RGB, (T, size, size, 3), uint8.
        indices: Which frames of the source these are, counted in the order they are shown.
        times: When they appear, in seconds from the first frame. Empty for folders and arrays,
            which have no clock.
        count: Frames of the source, of those that decode as far as that is known.
        source: The source's name, for messages.
        warnings: What the user should know, one sentence each. Empty when all is well.
        uncropped: The frames before they were cropped, see `wide`.
    """

    frames: UInt8[np.ndarray, "t s s 3"] = field(repr=False)
    indices: tuple[int, ...]
    times: tuple[float, ...]
    count: int
    source: str
    warnings: tuple[str, ...] = ()
    uncropped: UInt8[np.ndarray, "t h w 3"] | None = field(default=None, repr=False)

    @property
    def wide(self) -> UInt8[np.ndarray, "t h w 3"]:
        """The whole pictures: what the crop takes away may hold somebody's arms.

        As large as they were resized for the crop, so a stretched clip is stretched here, too. Only the
        frames themselves where the source's pictures differ in shape or are very long.
        """
        return self.frames if self.uncropped is None else self.uncropped

    @property
    def seconds(self) -> float | None:
        """Length of the source, by the pace of the frames taken; None where it has no clock."""
        if not self.times or self.indices[-1] == self.indices[0]:
            return None
        pace = (self.times[-1] - self.times[0]) / (self.indices[-1] - self.indices[0])
        return self.count * pace


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


@dataclass(frozen=True)
class Job:
    """One read: what is asked of a source, and how the source is called in messages.

    Attributes:
        name: The source's name.
        spec: How many frames, where, and what size.
        limits: What it may cost.
        watch: The clock that runs for it.
        seed: For random sampling.
        strict: Refuse a source that has lost frames instead of warning.
        threads: Decoder threads.
        notes: What there is to say beside losses, see :meth:`note`.
    """

    name: str
    spec: Preprocess
    limits: Limits
    watch: Watch
    seed: int | None = None
    strict: bool = False
    threads: int = 1
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep what the user should know although nothing is lost; said once."""
        if text not in self.notes:
            self.notes.append(text)

    def choose(self, times: Sequence[int], duration: Fraction) -> tuple[int, ...]:
        """Return the frames to take of those that appear at ``times``, by the job's sampling."""
        if self.spec.sampling == "centres":
            return time_centres(times, duration, self.spec.frames)
        if self.seed is None:
            raise ArgumentError("sampling='random' needs a seed: pass seed=0, or another integer")
        return time_random(times, duration, self.spec.frames, seed=self.seed)

    def clip(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        indices: tuple[int, ...],
        *,
        times: tuple[float, ...],
        count: int,
        losses: Sequence[str],
    ) -> Clip:
        """Return the finished clip of resized pictures that are not cropped yet.

        Raises:
            VideoError: If the source has lost frames and the job is strict.
        """
        if losses and self.strict:
            raise VideoError(f"{self.name}: {losses[0]}: repair it, or read it with strict=False")
        return Clip(
            frames=np.stack([cropped(picture, self.spec) for picture in pictures]),
            indices=indices,
            times=times,
            count=count,
            source=self.name,
            warnings=(*losses, *self.notes, *_short(indices, count)),
            uncropped=whole_pictures(pictures),
        )


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Refuse a picture that is larger than the limits allow.

    Raises:
        VideoLimitError: If it is.
    """
    if width * height > limits.pixels:
        raise VideoLimitError(
            f"{name}: {width}x{height} is {math.ceil(width * height / 1e5) / 10:g} megapixels, "
            f"more than {limits.megapixels:g}: shrink the clip or raise Limits.megapixels"
        )


def whole_pictures(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8] | None:
    """Resized pictures as one array, if they have one shape and it costs little to keep them."""
    height, width = pictures[0].shape[:2]
    one = all(picture.shape[:2] == (height, width) for picture in pictures)
    return (
        np.stack(pictures) if one and max(height, width) <= _LONGEST * min(height, width) else None
    )


def _short(indices: Sequence[int], count: int) -> tuple[str, ...]:
    if count < len(indices):
        return (f"only {count} frame{'s' if count > 1 else ''}; nearest frames repeated",)
    frame, times = Counter(indices).most_common(1)[0]
    if times > 1 and 2 * times > len(indices):
        return (
            f"frame {frame} stands for {times} of the {len(indices)} frames taken: it is shown for most "
            "of the clip",
        )
    return ()
