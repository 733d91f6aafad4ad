"""From windows that were scored to segments.

At every moment the windows of all lengths that hold it are averaged, class by class, as the root of the mean
of their squares: a window that lies over an action, and is sure, counts for more than those that begin in
one and end in another. The class that leads has the moment, if it is probable enough. Neighbouring moments
of one class are a segment. So windows of several lengths and classes compete moment by moment, segments
cannot overlap, and borders lie where one class overtakes another. A moment is settled once no later window
can hold it, so a file and a live stream give the same segments.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.arguments import real
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.spotting.windows import Grid, Window, together, weighed

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: Label of a stretch in which no class fits.
UNKNOWN = "unknown"
#: ``Rule.reject_below`` for models that tell known actions from unknown ones, and for those that do not.
#: Chosen on generated clips.
REJECT_OPEN_SET, REJECT_CLOSED_SET = 0.05, 0.35


@dataclass(frozen=True)
class Segment:
    """A stretch of time and what happens in it.

    Attributes:
        start: In seconds on the stream's clock; for a file from its first frame.
        end: In seconds.
        label: The class, or ``UNKNOWN``.
        probability: That the class is right, the mean over the segment, unknown actions included where the
            model can tell; of an unknown stretch, how far the best class was from certain, on average.
        known: Whether ``label`` is one of the classes.
    """

    start: float
    end: float
    label: str
    probability: float
    known: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The segment as plain JSON values."""
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "label": self.label,
            "probability": round(self.probability, 4),
            "known": self.known,
        }


@dataclass(frozen=True)
class Rule:
    """How windows become segments. The defaults were chosen on generated clips.

    Attributes:
        reject_below: Where the best class is less probable than this, no class fits. None:
            ``REJECT_OPEN_SET`` or ``REJECT_CLOSED_SET``, as the model is.
        hold: Part of a window, around its middle, for which it speaks.
        shortest: Seconds; a class that leads for less makes no segment.
        known_share: Part of the time in which any of the classes happens, as far as one knows beforehand. The
            rest of a long video is mostly something else, and the less there is of the classes, the more a
            window must look like one of them. ``classify`` takes it as a half.

    Raises:
        ArgumentError: A value is out of range.
    """

    reject_below: float | None = None
    hold: float = 0.8
    shortest: float = 0.5
    known_share: float = 0.2

    def __post_init__(self) -> None:
        real("reject_below", self.reject_below, "a probability, 0 to 1", least=0, most=1)
        if not 0 < self.hold <= 1:
            raise ArgumentError(f"hold is {self.hold}; expected a part above 0 and at most 1")
        if not self.shortest >= 0:
            raise ArgumentError(f"shortest is {self.shortest}; expected seconds, 0 or more")
        if not 0 < self.known_share < 1:
            raise ArgumentError(
                f"known_share is {self.known_share}; expected a part of the time between 0 and 1"
            )


@dataclass
class _Run:
    """Moments of one class (None: of none) that follow each other."""

    label: int | None
    start: float
    end: float
    score: float = 0.0  # the sum over the moments
    moments: int = 0

    def add(self, other: _Run) -> None:
        """Take the moments of the run that follows."""
        self.end = other.end
        self.score += other.score
        self.moments += other.moments

    @property
    def mean(self) -> float:
        """Mean over the moments of the best class's probability."""
        return self.score / self.moments


class Segmenter:
    """Takes the windows of each moment, gives segments that are final, in the order of time.

    Args:
        class_names: The classes, in the order of the windows' probabilities.
        grid: Where the windows lie.
        rule: How they become segments.
    """

    def __init__(self, class_names: Sequence[str], grid: Grid, rule: Rule) -> None:
        self._names, self._rule, self._step = tuple(class_names), rule, grid.step
        self._least = REJECT_CLOSED_SET if rule.reject_below is None else rule.reject_below
        # From the end of the latest windows back to the first moment that the next ones may speak for.
        self._reach = grid.seconds[-1] * (1 + rule.hold) / 2 - grid.stride * grid.step
        self._begin()

    def _begin(self) -> None:
        self._zero: float | None = None
        self._settled = 0  # moments
        # Sums of squares of those that are not; the last entry counts.
        self._sums: deque[NDArray[np.float64]] = deque()
        self._latest: NDArray[np.float64] | None = None
        self._run: _Run | None = None
        self._nothing: _Run | None = None

    def push(self, windows: Sequence[Window], *, begun: float | None = None) -> list[Segment]:
        """Take the windows that end at one moment.

        Args:
            windows: The windows.
            begun: When the stream began, counted the first time; the start of the first window if None.

        Returns:
            The segments that no later window can change, each once.
        """
        if not windows:
            return []
        if self._zero is None:
            self._zero = min(w.start for w in windows) if begun is None else begun
        for window in windows:
            self._add(window, self._zero)
        now = max(window.end for window in windows)
        return self._settle(math.ceil((now - self._reach - self._zero) / self._step - 1e-6))

    def close(self) -> list[Segment]:
        """The segments that are left, now that nothing more comes; then it can be used anew."""
        if self._zero is None:
            return []
        found = self._settle(self._settled + len(self._sums)) + self._finish_run(last=True)
        found += self._finish_nothing(last=True)
        self._begin()
        return found

    def _add(self, window: Window, zero: float) -> None:
        """Let a window speak for the moments around its middle."""
        middle, half = (window.start + window.end) / 2, (window.end - window.start) / 2
        first = math.ceil((middle - self._rule.hold * half - zero) / self._step - 1e-6)
        last = math.floor((middle + self._rule.hold * half - zero) / self._step + 1e-6)
        # The last moments of all, for which no window speaks yet, are there to be settled at the end.
        behind = math.floor((window.end - zero) / self._step - 0.5 + 1e-6)
        while self._settled + len(self._sums) <= max(last, behind):
            self._sums.append(np.zeros(len(self._names) + 1))
        said = weighed(window.chances)
        for moment in range(max(first, self._settled), last + 1):
            self._sums[moment - self._settled] += said

    def _settle(self, until: int) -> list[Segment]:
        """Give every moment before ``until`` its class."""
        found: list[Segment] = []
        while self._sums and self._settled < until:
            sums = self._sums.popleft()
            # Moments for which no window speaks are like those before them, the very first like the next.
            first = self._settled
            if sums[-1]:
                first = 0 if self._latest is None else first
                self._latest = together(sums)
            if self._latest is not None:
                for moment in range(first, self._settled + 1):
                    found += self._extend(moment, self._latest)
            self._settled += 1
        return found

    def _extend(self, moment: int, chances: NDArray[np.float64]) -> list[Segment]:
        """Add a moment to the run it goes on with, or begin another."""
        assert self._zero is not None
        best = int(chances.argmax())
        score = float(chances[best])
        label = best if score >= self._least else None
        at = self._zero + moment * self._step
        found: list[Segment] = []
        if self._run is None or self._run.label != label:
            found = self._finish_run()
            start = max(at - self._step / 2, self._zero)
            self._run = _Run(label, start, start)
        self._run.add(_Run(label, at, at + self._step / 2, score, 1))
        return found

    def _finish_run(self, *, last: bool = False) -> list[Segment]:
        """End the run: a segment if a class led for long enough, else part of a stretch of nothing."""
        run, self._run = self._run, None
        if run is None:
            return []
        if run.label is not None and run.end - run.start >= self._shortest(run, last=last) - 1e-6:
            segment = Segment(run.start, run.end, self._names[run.label], run.mean)
            return [*self._finish_nothing(), segment]
        if self._nothing is None:
            self._nothing = run
        else:
            self._nothing.add(run)
        return []

    def _shortest(self, run: _Run, *, last: bool) -> float:
        """Seconds that a run needs: what fills a whole stream is a segment, however short."""
        return 0.0 if last and run.start == self._zero else self._rule.shortest

    def _finish_nothing(self, *, last: bool = False) -> list[Segment]:
        run, self._nothing = self._nothing, None
        if run is None or run.end - run.start < self._shortest(run, last=last) - 1e-6:
            return []
        return [Segment(run.start, run.end, UNKNOWN, 1 - run.mean, known=False)]
