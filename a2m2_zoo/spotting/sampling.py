"""From frames that come when they come to the slots of a time grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Generic, TypeVar

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video.gaps import is_break

Item = TypeVar("Item")

#: Latest time in seconds, of either sign: for a clock that counts from 1970 the year 5138. Up to here a
#: number tells a fiftieth of a millisecond; nanoseconds and milliseconds of such a clock lie behind.
LATEST = 1e11


def seconds(time: object) -> float:
    """A time as a number of seconds.

    Raises:
        ArgumentError: It is none.

    >>> seconds(3)
    3.0
    """
    try:
        at = float(time) if not isinstance(time, bool) and isinstance(time, Real) else math.nan
    except OverflowError:  # an integer beyond all floats
        at = math.inf
    if abs(at) <= LATEST:
        return at
    shown = f"{at:g}" if math.isfinite(at) else repr(time)[:40]
    raise ArgumentError(
        f"timestamp is {shown}; expected seconds as a finite number of at most {LATEST:g}; "
        "divide milliseconds by 1e3, nanoseconds by 1e9"
    )


@dataclass(frozen=True)
class Filled(Generic[Item]):
    """A slot and the frame nearest to it.

    Attributes:
        slot: Its number, counted from the last break.
        item: The frame.
        repeated: Whether the slot before holds the same frame.
    """

    slot: int
    item: Item
    repeated: bool


class Sampler(Generic[Item]):
    """Gives every slot the frame nearest to it in time.

    At usual frame rates that is within half a step. Where frames are dropped or rare, a slot repeats its
    nearest frame, as clips shorter than a model's frames do, as long as no gap is longer than ``gap``.

    Args:
        step: Seconds between slots.
        gap: A break in time longer than this, forward or back, begins the grid anew.

    Attributes:
        origin: Time of slot 0.
        late: Frames passed over since they came after a later one, or twice.

    >>> sampler = Sampler(step=0.1, gap=1.0)
    >>> [f.item for t in (0.0, 0.09, 0.21) for f in sampler.push(f"frame at {t}", t)]
    ['frame at 0.0', 'frame at 0.09', 'frame at 0.21']
    """

    def __init__(self, *, step: float, gap: float) -> None:
        self._step, self._gap = step, gap
        self._last: tuple[Item, float] | None = None
        self._next = 0
        self._shown: Item | None = None
        self.origin = 0.0
        self.late = 0

    def breaks(self, time: float) -> bool:
        """Whether a frame at ``time`` is too far from the one before to belong to the same grid.

        Raises:
            ArgumentError: The time is none, see ``seconds``.
        """
        return self._last is not None and is_break(seconds(time) - self._last[1], self._gap)

    def restart(self) -> None:
        """Forget what came; the next frame is slot 0."""
        self._last, self._shown, self._next = None, None, 0

    def push(self, item: Item, time: float) -> list[Filled[Item]]:
        """The slots whose nearest frame is settled now that the frame at ``time`` is here.

        Ask ``breaks`` before: it costs what the time between the frames holds.

        Raises:
            ArgumentError: The time is none, see ``seconds``.
        """
        time = seconds(time)
        if self._last is None:
            self.origin, self._last = time, (item, time)
        elif time <= self._last[1]:
            self.late += 1
            return []
        before, since = self._last
        found = []
        while (instant := self.origin + self._next * self._step) <= time:
            nearest = before if instant - since <= time - instant else item
            found.append(Filled(self._next, nearest, nearest is self._shown))
            self._shown = nearest
            self._next += 1
        self._last = (item, time)
        return found
