"""Which frames of a clip are looked at: pure index and time arithmetic, in integers.

The rule is the sparse sampling of TSN (Wang et al., 2016): the clip is cut into as many equal
segments as frames are wanted, and each segment gives one frame, its centre when a model is tested
and a random one when it is trained. Nothing here touches a file, and nothing is computed in
floating point, so that the same clip gives the same indices on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from typing import TypeAlias

from a2m2_zoo.errors import ArgumentError

Instant: TypeAlias = int | Fraction
"""A point on a clip's time line, in ticks of its time base. Never a float."""


def segment_centres(count: int, frames: int) -> tuple[int, ...]:
    """Return the frame at the centre of each of ``frames`` equal segments.

    Index k is ``floor((k + 1/2) * count / frames)``. A clip with fewer frames than are wanted
    repeats its nearest ones by the same rule.

    Args:
        count: Number of frames of the clip, at least 1.
        frames: Number of frames wanted, at least 1.

    Returns:
        ``frames`` indices in ``[0, count)``, never decreasing.

    Raises:
        ArgumentError: If a number is below 1 or not an integer.

    >>> segment_centres(80, 8)
    (5, 15, 25, 35, 45, 55, 65, 75)
    >>> segment_centres(3, 8)
    (0, 0, 0, 1, 1, 2, 2, 2)
    """
    _positive(count=count, frames=frames)
    return tuple((2 * k + 1) * count // (2 * frames) for k in range(frames))


def segment_random(count: int, frames: int, *, seed: int) -> tuple[int, ...]:
    """Return one frame drawn uniformly inside each of ``frames`` equal segments.

    Segment k holds the indices from ``floor(k * count / frames)`` to
    ``floor((k + 1) * count / frames) - 1``. A segment without a frame (a short clip) gives its
    centre.

    Args:
        count: Number of frames of the clip, at least 1.
        frames: Number of frames wanted, at least 1.
        seed: Any integer. The draw is a hash of it, hence the same on every machine and version.

    Returns:
        ``frames`` indices in ``[0, count)``, never decreasing.

    Raises:
        ArgumentError: If a number is below 1, or something is not an integer.

    >>> segment_random(80, 4, seed=0) == segment_random(80, 4, seed=0)
    True
    >>> [index // 20 for index in segment_random(80, 4, seed=7)]
    [0, 1, 2, 3]
    """
    _positive(count=count, frames=frames)
    chosen = []
    for k, centre in enumerate(segment_centres(count, frames)):
        first, after = k * count // frames, (k + 1) * count // frames
        draw = first + (_draw(seed, k) * (after - first) >> 64)
        chosen.append(draw if after > first else centre)
    return tuple(chosen)


def dense(count: int, frames: int, *, clips: int) -> tuple[tuple[int, ...], ...]:
    """Return several evenly shifted samplings of one clip, for scores averaged over them.

    Sampling c takes the instant ``(c + 1/2) / clips`` of every segment, so one sampling is
    :func:`segment_centres` and together they spread evenly over the clip.

    Args:
        count: Number of frames of the clip, at least 1.
        frames: Number of frames in one sampling, at least 1.
        clips: Number of samplings, at least 1.

    Returns:
        ``clips`` tuples of ``frames`` indices.

    Raises:
        ArgumentError: If a number is below 1 or not an integer.

    >>> dense(16, 4, clips=2)
    ((1, 5, 9, 13), (3, 7, 11, 15))
    """
    _positive(count=count, frames=frames, clips=clips)
    return tuple(
        tuple((2 * (k * clips + c) + 1) * count // (2 * clips * frames) for k in range(frames))
        for c in range(clips)
    )


def frame_at(
    times: Sequence[Instant], duration: Instant, instants: Sequence[Instant]
) -> tuple[int, ...]:
    """Return the frame that is on the screen at each instant.

    Args:
        times: When each frame appears, strictly increasing, in ticks of the clip's time base.
        duration: From the first frame's appearance to the end of the last one, in ticks.
        instants: Points of the time line counted from the first frame, in ``[0, duration)``.

    Returns:
        One index into ``times`` per instant.

    Raises:
        ArgumentError: If there is no frame, times do not increase, the duration ends before the
            last frame appears, or an instant lies outside the time line.

    >>> frame_at([0, 10, 50], 60, [0, 9, 10, 49, 59])
    (0, 0, 1, 1, 2)
    """
    _time_line(times, duration)
    for instant in instants:
        if not 0 <= instant < duration:
            raise ArgumentError(
                f"instant {instant} is outside [0, {duration}): ask within the clip"
            )
    return tuple(bisect_right(times, times[0] + instant) - 1 for instant in instants)


def time_centres(times: Sequence[int], duration: Instant, frames: int) -> tuple[int, ...]:
    """Return the frame on the screen at the centre of each of ``frames`` equal spans of time.

    A clip of constant frame rate gives exactly :func:`segment_centres`, also when its container
    rounds times to whole ticks (1/30 s kept in milliseconds is 33, 67, 100).

    Args:
        times: When each frame appears, strictly increasing, in ticks.
        duration: From the first frame's appearance to the end of the last one, in ticks.
        frames: Number of frames wanted, at least 1.

    Returns:
        ``frames`` indices into ``times``, never decreasing.

    Raises:
        ArgumentError: As for :func:`frame_at` and :func:`segment_centres`.

    >>> time_centres([0, 33, 67, 100, 133, 167], 200, 3)
    (1, 3, 5)
    >>> time_centres([0, 100, 110, 120], 130, 2)
    (0, 0)
    """
    _positive(frames=frames)
    _time_line(times, duration)
    if is_constant(times, duration):
        return segment_centres(len(times), frames)
    spans = [Fraction((2 * k + 1) * Fraction(duration), 2 * frames) for k in range(frames)]
    return frame_at(times, duration, spans)


def time_random(
    times: Sequence[int], duration: Instant, frames: int, *, seed: int
) -> tuple[int, ...]:
    """Return the frame on the screen at a random instant of each of ``frames`` equal spans of time.

    A clip of constant frame rate gives exactly :func:`segment_random`.

    Args:
        times: When each frame appears, strictly increasing, in ticks.
        duration: From the first frame's appearance to the end of the last one, in ticks.
        frames: Number of frames wanted, at least 1.
        seed: Any integer.

    Returns:
        ``frames`` indices into ``times``, never decreasing.

    Raises:
        ArgumentError: As for :func:`frame_at` and :func:`segment_random`.

    >>> time_random([0, 100, 110, 120], 130, 2, seed=1)[0]
    0
    """
    _positive(frames=frames)
    _time_line(times, duration)
    if is_constant(times, duration):
        return segment_random(len(times), frames, seed=seed)
    span = Fraction(duration) / frames
    return frame_at(
        times, duration, [(k + Fraction(_draw(seed, k), 2**64)) * span for k in range(frames)]
    )


def is_constant(times: Sequence[int], duration: Instant) -> bool:
    """Tell whether frames follow each other at one rate, but for the rounding of their times.

    Every time must lie within one tick of the straight line through the first and the last, and the
    last frame must stay about as long as the others. One tick is all that rounding can do; where a
    frame lasts only a few ticks, a dropped frame also moves times by about one tick, so there an
    eighth of a frame is allowed instead.

    >>> is_constant([0, 33, 67, 100], 133)
    True
    >>> is_constant([0, 1, 3, 4], 5)
    False
    """
    steps = len(times) - 1
    if steps < 1:
        return True
    span = times[-1] - times[0]
    allowed = min(8 * steps, span)  # In eighths, so that all stays in integers.
    if abs(Fraction(duration) * steps - span * (steps + 1)) * 8 > 2 * allowed:
        return False
    return all(8 * abs((t - times[0]) * steps - i * span) <= allowed for i, t in enumerate(times))


def _draw(seed: int, k: int) -> int:
    """Return 64 uniform bits for the k-th draw under a seed."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ArgumentError(f"seed={seed!r}: give an integer")
    return int.from_bytes(sha256(f"{seed}/{k}".encode()).digest()[:8], "big")


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(f"{name}={value!r}: give an integer of at least 1")


def _time_line(times: Sequence[Instant], duration: Instant) -> None:
    if not times:
        raise ArgumentError("no frame times: give at least one")
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise ArgumentError("frame times do not increase strictly: sort them and drop repeats")
    if duration <= times[-1] - times[0]:
        raise ArgumentError(
            f"duration={duration} ends before the last frame appears, "
            f"{times[-1] - times[0]} ticks after the first: add the last frame's own duration"
        )
