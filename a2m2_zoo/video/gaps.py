"""Breaks in a recording: pauses in which nothing was shown, and times that jump."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from statistics import median_low

GAP = 1.0
"""Seconds: from here on, the time between two frames is a break and no part of the action."""
_SLOW = 4


def is_break(step: float, gap: float = GAP) -> bool:
    """Tell whether the time from one frame to the next, forward or back, is a break.

    >>> is_break(0.5), is_break(3600.0), is_break(-3600.0)
    (False, True, True)
    """
    return abs(step) > gap


@dataclass(frozen=True)
class Closed:
    """Times without breaks.

    Attributes:
        times: When each frame appears, in ticks.
        last: How long the last frame stays, in ticks.
        count: Breaks that were closed.
        longest: The longest of them in ticks.
    """

    times: tuple[int, ...]
    last: int
    count: int = 0
    longest: int = 0


def close_gaps(times: tuple[int, ...], last: int, tick: Fraction) -> Closed:
    """Put the usual time between two frames in the place of every break.

    A video that is slow throughout, such as one picture every two seconds, has no break: a break is also
    longer than four usual steps.

    Args:
        times: When each frame appears, in ticks, in the order the frames are shown.
        last: How long the last frame stays, in ticks.
        tick: Seconds per tick.

    >>> close_gaps((0, 40, 80, 3_600_080, 3_600_120), 40, Fraction(1, 1000)).times
    (0, 40, 80, 120, 160)
    """
    steps = [after - before for before, after in pairwise(times)]
    forward = [step for step in steps if step > 0]
    if not forward:
        return Closed(times, last)
    usual = median_low(forward)
    gap = max(float(GAP / tick), _SLOW * usual)
    breaks = [abs(step) for step in (*steps, last) if is_break(step, gap)]
    if not breaks:
        return Closed(times, last)
    even = (usual if is_break(step, gap) else step for step in steps)
    stays = usual if is_break(last, gap) else last
    return Closed(tuple(accumulate(even, initial=times[0])), stays, len(breaks), max(breaks))
