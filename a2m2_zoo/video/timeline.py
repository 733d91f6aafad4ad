"""The time line of a clip: which frames there are, when, and what speaks against it."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from a2m2_zoo.video.container import Table
from a2m2_zoo.video.gaps import close_gaps


@dataclass(frozen=True)
class Line:
    """The shown frames in their order, in ticks of ``tick`` seconds.

    Attributes:
        stamps: The times that the file gives the frames.
        times: When they appear, breaks in the recording closed.
        duration: From the first frame to the end of the last.
        tick: Seconds per tick.
        gaps: How many breaks were closed.
        longest: The longest of them in seconds.
    """

    stamps: tuple[int, ...]
    times: tuple[int, ...]
    duration: Fraction
    tick: Fraction
    gaps: int = 0
    longest: float = 0.0

    @classmethod
    def of(cls, stamps: list[int], last: int, tick: Fraction) -> Line | None:
        """Return the line of frames in the order they are shown, the last of which stays ``last`` ticks.

        None if the times do not increase, even where breaks are closed.
        """
        closed = close_gaps(tuple(stamps), last, tick)
        times = closed.times
        if any(after <= before for before, after in pairwise(times)):
            return None
        span = times[-1] - times[0]
        mean = Fraction(span, len(times) - 1) if len(times) > 1 else Fraction(1)
        # Writers that do not know how long the last frame stays put 0 or one tick.
        stays = Fraction(closed.last) if 2 * closed.last >= mean else mean
        longest = float(closed.longest * tick)
        return cls(tuple(stamps), times, span + stays, tick, closed.count, longest)

    @classmethod
    def even(cls, count: int, rate: Fraction) -> Line:
        """Return the line of frames that follow each other evenly."""
        times = tuple(range(count))
        return cls(times, times, Fraction(count), 1 / rate)

    def note(self) -> str:
        """Return what to say about breaks that were closed; empty if there are none."""
        if not self.gaps:
            return ""
        one = self.gaps == 1
        return (
            f"{self.gaps} break{'' if one else 's'} in its times, {'of' if one else 'up to'} "
            f"{self.longest:.1f} s, {'is' if one else 'are'} left out"
        )


def time_line(table: Table) -> Line | None:
    """Return the shown frames in their order, or None where the packets do not tell."""
    shown = [time for time, show in zip(table.times, table.shown, strict=True) if show]
    known = sorted(time for time in shown if time is not None)
    # Two packets with one time could not be told apart in what the decoder returns.
    unique = len(known) == len(shown) and len(set(table.times)) == len(table.times)
    if not known or not unique or not table.ordered:
        return None
    return Line.of(known, table.last, table.tick)


def reorder(table: Table) -> int | None:
    """Return how many packets at most come before one whose picture is shown earlier.

    A decoder holds back so many pictures to bring them into order. If the times ask for more than it
    does, they are not those of the pictures.

    Returns:
        None if a packet is shown after one that decoding can start from and that is stored later: no
        stream is like that, so the times jump.
    """
    worst, keys = 0, frozenset(table.keys)
    latest: int | None = None
    since: list[int] = []
    for ordinal, time in enumerate(table.times):
        if time is None:
            return None
        if ordinal in keys:
            if latest is not None and latest > time:
                return None
            since.clear()
        insort(since, time)
        worst = max(worst, len(since) - 1 - bisect_left(since, time))
        latest = time if latest is None else max(latest, time)
    return worst


def starts_late(table: Table) -> bool:
    """Tell whether pictures come before the first that can be decoded by itself, or refer before it."""
    if not table.keys or table.keys[0] > 0:
        return True
    after = table.keys[1] if len(table.keys) > 1 else len(table.times)
    first = table.times[0]
    return any(
        time is not None and first is not None and time < first for time in table.times[1:after]
    )
