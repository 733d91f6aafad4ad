"""From windows that were judged to segments: smoothing, competition of lengths, suppression, merging.

Works as windows come and decides each stretch for good once every window that could compete with it is
known, so a file and a live stream give the same segments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.spotting.windows import Grid, Window

if TYPE_CHECKING:
    pass

#: Label of a stretch in which no class fits.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Segment:
    """A stretch of time and what happens in it.

    Attributes:
        start: In seconds on the stream's clock; for a file from its first frame.
        end: In seconds.
        label: The class, or ``UNKNOWN``.
        score: Probability of the class; of an unknown stretch, that of its best class taken from one.
        known: Whether ``label`` is one of the classes.
    """

    start: float
    end: float
    label: str
    score: float
    known: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The segment as plain JSON values."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "score": round(self.score, 4),
            "known": self.known,
        }


@dataclass(frozen=True)
class Rule:
    """How windows become segments. The defaults were chosen on generated clips.

    Attributes:
        reject_below: A window whose best class is less probable than this is of no class.
        smoothing: Weight of each neighbour in time against 1 for the window itself.
        favour: Power of a window's length in the competition: above 0, of two windows as probable the
            longer one wins, below 0 the shorter.
        overlap: Windows whose temporal intersection over union is larger compete, and one wins.
        inside: As do windows of which one lies inside the other by more than this share.
        bridge: Neighbours of one class are one segment if the windows centred on their border still give the
            class this share of the smaller of both probabilities.

    Raises:
        ArgumentError: A value is out of range.
    """

    reject_below: float = 0.5
    smoothing: float = 0.25
    favour: float = 0.0
    overlap: float = 0.2
    inside: float = 0.2
    bridge: float = 0.95

    def __post_init__(self) -> None:
        for name in ("reject_below", "smoothing", "overlap", "inside", "bridge"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"{name} is {getattr(self, name)!r}; expected 0 to 1")
        if not -2 <= self.favour <= 2:
            raise ArgumentError(f"favour is {self.favour!r}; expected -2 to 2")


@dataclass(frozen=True)
class _Candidate:
    """A window after smoothing, with its class."""

    start: float
    end: float
    label: int
    score: float
    rank: float


class Segmenter:
    """Takes the windows of each moment, gives segments that are final, in the order of time.

    Args:
        class_names: The classes, in the order of the windows' probabilities.
        grid: Where the windows lie.
        rule: How they become segments.
    """

    def __init__(self, class_names: Sequence[str], grid: Grid, rule: Rule) -> None:
        self._names, self._rule = tuple(class_names), rule
        self._shortest, self._longest = grid.seconds[0], grid.seconds[-1]
        self._stride = grid.stride * grid.step
        # The smoothed windows of a moment come one stride late; this makes up for it.
        self._delay = max(self._longest - self._stride, 0.0)
        self._begin()

    def _begin(self) -> None:
        self._recent: dict[int, list[Window]] = {}
        self._pending: list[_Candidate] = []
        self._won: list[_Candidate] = []
        self._seen: deque[Window] = deque()
        self._open: Segment | None = None
        self._cursor: float | None = None
        self._doubts: deque[tuple[float, float]] = deque()
        self._doubt = (0.0, 0)

    def push(self, windows: Sequence[Window]) -> list[Segment]:
        """Take the windows that end at one moment, those of the shortest length first.

        Returns:
            The segments that no later window can change, each once.
        """
        if not windows:
            return []
        if self._cursor is None:
            self._cursor = windows[-1].start
        smoothed = []
        for place, window in enumerate(windows):
            recent = self._recent.setdefault(place, [])
            recent.append(window)
            if len(recent) > 1:
                smoothed.append(self._smoothed(recent[-3:-2], recent[-2], recent[-1:]))
            del recent[:-2]
        return self._settle(smoothed)

    def close(self) -> list[Segment]:
        """The segments that are left, now that nothing more comes; then it can be used anew."""
        if self._cursor is None:
            return []
        last = [self._smoothed(recent[-2:-1], recent[-1], []) for recent in self._recent.values()]
        end = max(window.end for window in last)
        found = self._settle(last) + self._decide(float("inf")) + self._finish_open()
        self._doubt = self._fold(lambda _: True)
        found += self._unknown(end)
        self._begin()
        return found

    def _smoothed(self, before: list[Window], window: Window, after: list[Window]) -> Window:
        near = [*before, *after]
        weight = self._rule.smoothing
        total = window.probabilities + weight * sum(w.probabilities for w in near)
        return replace(window, probabilities=total / (1 + weight * len(near)))

    def _settle(self, windows: Sequence[Window]) -> list[Segment]:
        if not windows:
            return []
        self._seen.extend(windows)
        for window in windows:
            label = int(window.probabilities.argmax())
            score = float(window.probabilities[label])
            if _known(window, score, self._rule):
                rank = score * (window.end - window.start) ** self._rule.favour
                self._pending.append(_Candidate(window.start, window.end, label, score, rank))
        shortest = windows[0]
        middle = (shortest.start + shortest.end) / 2
        self._doubts.append((middle, 1 - float(shortest.probabilities.max())))
        now = max(window.end for window in windows)
        found = self._decide(now - self._delay)
        oldest = now - 2 * self._longest
        while self._seen and self._seen[0].end < oldest:
            self._seen.popleft()
        self._doubt = self._fold(lambda time: time < oldest)
        return found

    def _decide(self, until: float) -> list[Segment]:
        """Settle all that ends at ``until`` or before."""
        found: list[Segment] = []
        winners = self._compete()
        for winner in sorted(winners, key=lambda c: (c.end, c.start)):
            joins = self._joins(winner)
            # What is under way when its time has come goes on with a winner that continues it.
            going_on = joins and self._open is not None and self._open.end <= until
            if winner.end > until and not going_on:
                continue
            self._won.append(winner)
            if joins and self._open is not None:
                self._open = replace(
                    self._open,
                    end=max(self._open.end, winner.end),
                    score=max(self._open.score, winner.score),
                )
                continue
            start = winner.start
            if self._open is not None:
                start = max(start, self._open.end)
            found += self._finish_open()
            if self._cursor is not None:
                start = max(start, self._cursor)
            if start < winner.end:
                self._open = Segment(start, winner.end, self._names[winner.label], winner.score)
        if self._open is not None and self._open.end <= until:
            found += self._finish_open()
        reach = until - 2 * self._longest
        self._won = [c for c in self._won if c.end > reach]
        done = set(map(id, self._won))
        self._pending = [c for c in self._pending if c.end > until and id(c) not in done]
        return found

    def _compete(self) -> list[_Candidate]:
        """Greedy suppression: the pending windows that win, given those that have won for good."""
        chosen = list(self._won)
        winners = []
        for candidate in sorted(self._pending, key=lambda c: (-c.rank, c.start, c.end)):
            if not any(self._compare(candidate, other) for other in chosen):
                chosen.append(candidate)
                winners.append(candidate)
        return winners

    def _compare(self, one: _Candidate, other: _Candidate) -> bool:
        shared = min(one.end, other.end) - max(one.start, other.start)
        if shared <= 0:
            return False
        lengths = one.end - one.start, other.end - other.start
        union = sum(lengths) - shared
        return shared > self._rule.overlap * union or shared > self._rule.inside * min(lengths)

    def _joins(self, winner: _Candidate) -> bool:
        """Whether the open segment goes on with ``winner``."""
        if self._open is None or self._names[winner.label] != self._open.label:
            return False
        if winner.start > self._open.end + self._stride / 2:
            return False
        border = (winner.start + self._open.end) / 2
        near = [
            float(window.probabilities[winner.label])
            for window in self._seen
            if abs(window.start + window.end - 2 * border) <= self._stride
        ]
        least = self._rule.bridge * min(winner.score, self._open.score)
        return bool(near) and sum(near) / len(near) >= least

    def _finish_open(self) -> list[Segment]:
        if self._open is None:
            return []
        segment, self._open = self._open, None
        self._doubt = self._fold(lambda time: time < segment.start)
        found = [*self._unknown(segment.start), segment]
        while self._doubts and self._doubts[0][0] < segment.end:
            self._doubts.popleft()
        self._cursor = segment.end
        return found

    def _unknown(self, end: float) -> list[Segment]:
        """The stretch before ``end`` in which nothing was found, if it is long enough to be judged."""
        assert self._cursor is not None
        (total, count), self._doubt = self._doubt, (0.0, 0)
        if not count or end - self._cursor < self._shortest:
            return []
        return [Segment(self._cursor, end, UNKNOWN, total / count, known=False)]

    def _fold(self, old: Any) -> tuple[float, int]:
        """Sum and number of the doubts at the front that are ``old`` and before any open segment."""
        total, count = self._doubt
        while self._doubts and old(self._doubts[0][0]):
            time, doubt = self._doubts.popleft()
            if self._open is None or time < self._open.start:
                total, count = total + doubt, count + 1
        return total, count


def _known(window: Window, score: float, rule: Rule) -> bool:
    """Whether a window shows one of the classes, given the probability ``score`` of its best one."""
    return score >= rule.reject_below
