"""Which stretches of a video are its windows: the whole of a short clip, a fixed clock's of a long video."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.arguments import real
from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.spotting.sampling import LATEST, Sampler
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.spotting.windows import make_grid
from a2m2_zoo.video.clip import Clip, Limits, check_size, whole_pictures
from a2m2_zoo.video.gaps import GAP
from a2m2_zoo.video.preprocess import Preprocess, Resizer, cropped

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Cutting:
    """How videos are cut.

    Attributes:
        whole: Clips of at most so many seconds are one window, as `classify` sees them.
        window: Seconds of each window of a longer video.
        stride: Seconds from one window to the next.

    Raises:
        ArgumentError: A number is out of range.
    """

    whole: float = 10.0
    window: float = 2.0
    stride: float = 1.0

    def __post_init__(self) -> None:
        real("whole", self.whole, "seconds, 0 or more", least=0, most=math.inf)
        for name in ("window", "stride"):
            real(name, getattr(self, name), "seconds above 0", least=1e-3, most=3600)
        make_grid((self.window,), stride=self.stride, frames=1)

    @classmethod
    def from_dict(cls, data: Any) -> Cutting:
        """What ``dataclasses.asdict`` gave.

        Raises:
            ArgumentError: It is something else.
        """
        try:
            return cls(**{name: float(data[name]) for name in cls.__dataclass_fields__})
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ArgumentError(f"no cutting of videos: {error}") from error


@dataclass(frozen=True)
class Cut:
    """A window of a video, decoded.

    Attributes:
        clip: Its frames.
        start: Where it begins, in seconds from the video's first frame.
        end: Where it ends; equal to ``start`` where the source has no clock.
        rate: Frames of the video a second; 0 where it has no clock.
    """

    clip: Clip
    start: float
    end: float
    rate: float


def is_long(clip: Clip, cutting: Cutting) -> bool:
    """Whether a source that was read as one clip is to be cut."""
    return (clip.seconds or 0.0) > cutting.whole


def whole_cut(clip: Clip) -> Cut:
    """A short clip as its only window."""
    length = clip.seconds or 0.0
    return Cut(clip, 0.0, length, clip.count / length if length else 0.0)


def windows(
    path: str | os.PathLike[str], spec: Preprocess, cutting: Cutting, *, limits: Limits
) -> Iterator[Cut]:
    """The windows of a long video, decoded once from end to end; memory is that of one window.

    The frames lie on the spotter's grid: late, dropped and repeated ones are put right in the same way, and
    no window reaches over a gap. What is left at the end is the last window, which may begin earlier than
    its turn.

    Args:
        path: A video file.
        spec: The model's frames.
        cutting: The clock.
        limits: Its ``megapixels`` bound the frames; length and time are not bounded.

    Raises:
        VideoError: At the end, after all windows that there are, if the video is damaged.
    """
    opened = open_video_file(os.fspath(path), limits)
    clock = _Clock(os.fspath(path), spec, cutting)
    coming = iter(opened)
    failure: VideoError | None = None
    try:
        while failure is None:
            try:
                picture, at = next(coming)
            except StopIteration:
                break
            except VideoError as error:  # said when all that decodes was given
                failure = error
                break
            if abs(at) <= LATEST:
                check_size(clock.name, picture.width, picture.height, limits)
                yield from clock.push(picture, at)
        yield from clock.rest()
    finally:
        opened.close()
    if failure is not None:
        raise failure


class _Clock:
    """Frames as they come to windows."""

    def __init__(self, name: str, spec: Preprocess, cutting: Cutting) -> None:
        self.name, self._spec = name, spec
        self._grid = make_grid((cutting.window,), stride=cutting.stride, frames=spec.frames)
        self._sampler: Sampler[Any] = Sampler(step=self._grid.step, gap=GAP)
        self._resize = Resizer(spec)
        self._held: deque[NDArray[np.uint8]] = deque(maxlen=self._grid.lengths[0])
        self._last = self._done = -1  # the latest slot, and the latest that is in a window
        self._frames, self._first, self._latest = 0, 0.0, 0.0

    def push(self, picture: Any, at: float) -> Iterator[Cut]:
        """The windows that are whole now."""
        self._first, self._latest = (at if not self._frames else self._first), max(self._latest, at)
        self._frames += 1
        if self._sampler.breaks(at):
            yield from self.rest()
            self._sampler.restart()
            self._held.clear()
            self._last = self._done = -1
        length = self._grid.lengths[0]
        for filled in self._sampler.push(picture, at):
            again = filled.repeated and self._held
            self._held.append(self._held[-1] if again else self._resize.whole(filled.item))
            self._last = filled.slot
            if len(self._held) == length and (filled.slot + 1 - length) % self._grid.stride == 0:
                yield self._cut()

    def rest(self) -> Iterator[Cut]:
        """What no window holds yet, with what came before it."""
        if self._last > self._done:
            yield self._cut()

    def _cut(self) -> Cut:
        step, first = self._grid.step, self._last + 1 - len(self._held)
        slots = self._grid.slots(self._last, len(self._held))
        pictures = [self._held[slot - first] for slot in slots]
        self._done = self._last
        start, end = (
            self._sampler.origin + (slot - 0.5) * step for slot in (first, self._last + 1)
        )
        clip = Clip(
            frames=np.stack([np.ascontiguousarray(cropped(p, self._spec)) for p in pictures]),
            indices=slots,
            times=tuple(slot * step for slot in slots),
            count=self._frames,
            source=self.name,
            uncropped=whole_pictures(pictures),
        )
        shown = self._latest - self._first
        return Cut(clip, max(start, 0.0), end, (self._frames - 1) / shown if shown else 0.0)
