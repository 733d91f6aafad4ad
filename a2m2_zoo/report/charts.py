"""Charts as inline SVG inside HTML rows: they follow the page's width, its colours and its font size.

Places along an axis are percentages of the drawing's width, so text keeps its size on a phone. All words
that carry meaning stand in the HTML beside a drawing, hence the drawings are hidden from screen readers
and the rows are read instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from a2m2_zoo.report.markup import esc, span

#: Referred to by the bars of untrained heads; belongs once into every page.
DEFINITIONS = (
    '<svg class="defs" width="0" height="0" aria-hidden="true"><defs>'
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path class="hatch" d="M0 0V5" fill="none"/></pattern>'
    "</defs></svg>"
)


# Upright lines reach beyond their drawing, so that they join from row to row; each row clips what is over.
_THROUGH = (-150, 180)


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` with ``ticks``, drawn over 100 % of a width."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @property
    def digits(self) -> int:
        """Digits behind the point that tell the ticks apart."""
        return 0 if all(tick == round(tick) for tick in self.ticks) else 1

    def at(self, value: float) -> str:
        """Where ``value`` lies, as an SVG percentage; what lies outside is put on the edge."""
        share = (value - self.low) / (self.high - self.low)
        return f"{100 * min(max(share, 0.0), 1.0):.2f}%"

    def scale(self, labels: Sequence[str]) -> str:
        """The row of tick labels."""
        words = "".join(
            f'<text x="{self.at(tick)}" y="14" text-anchor="{_anchor(i, len(labels))}">{esc(word)}</text>'
            for i, (tick, word) in enumerate(zip(self.ticks, labels, strict=True))
        )
        return (
            '<div class="row axis" aria-hidden="true"><span class="who"></span>'
            f'<svg class="track" height="20">{words}</svg><span class="value"></span></div>'
        )

    def track(self, body: str, height: int = 30) -> str:
        """A row's drawing over the axis' grid."""
        grid = "".join(_line("grid", self.at(t), self.at(t), *_THROUGH) for t in self.ticks)
        return f'<svg class="track" height="{height}" aria-hidden="true">{grid}{body}</svg>'


PERCENT = Axis(0, 100, (0, 20, 40, 60, 80, 100))


def nice_axis(low: float, high: float, *, steps: int = 5) -> Axis:
    """An axis that holds ``low`` and ``high``, with ticks at round values.

    >>> nice_axis(-3.2, 1.1).ticks
    (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0)
    """
    width = max(high - low, 1e-6 * max(abs(low), abs(high), 1))
    power = 10 ** math.floor(math.log10(width / steps))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= 0.999 * width / steps)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 10) for i in range(first, max(last, first + 1) + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def bar(
    value: float, interval: float, class_interval: float | None, *, chance: float, muted: bool
) -> str:
    """One bar, its two intervals over it, the chance level behind.

    Args:
        value: Percent, as everything here.
        interval: Half width, drawn thick.
        class_interval: Half width, drawn thin; None draws none.
        chance: Where the dashed line stands.
        muted: Hatched instead of filled.
    """
    end = PERCENT.at(value)
    fill = ' fill="url(#hatch)" stroke="var(--other)"'
    look = fill if muted else ' class="bar"'
    body = f'<rect x="0" y="6" width="{end}" height="18"{look}/>'
    body += _line("chance", PERCENT.at(chance), PERCENT.at(chance), *_THROUGH)
    for half, width in ((class_interval, 1.5), (interval, 5)):
        if half is not None:
            ends = PERCENT.at(value - half), PERCENT.at(value + half)
            body += _line("halo", *ends, 15, 15, width + 2.5) + _line(
                "whisker", *ends, 15, 15, width
            )
    return PERCENT.track(body)


def strip(value: float) -> str:
    """A plain bar, for a probability in percent."""
    return PERCENT.track(
        f'<rect class="bar" x="0" y="6" width="{PERCENT.at(value)}" height="12"/>', 24
    )


def forest(axis: Axis, mean: float, interval: float, class_interval: float | None) -> str:
    """One difference with both of its intervals around the zero line; coloured by its row."""
    body = _line("zero", axis.at(0), axis.at(0), *_THROUGH)
    if class_interval is not None:
        body += _line(
            "thin", axis.at(mean - class_interval), axis.at(mean + class_interval), 15, 15
        )
    body += _line("thick", axis.at(mean - interval), axis.at(mean + interval), 15, 15)
    return axis.track(f'{body}<circle class="mark" cx="{axis.at(mean)}" cy="15" r="5"/>')


def forest_axis(reach: Sequence[float]) -> Axis:
    """An axis for differences that holds zero and every value of ``reach``."""
    return nice_axis(min(0.0, *reach), max(0.0, *reach)) if reach else nice_axis(-1, 1)


def dots(first: float | None, second: float | None) -> str:
    """Two accuracies of one class on one line: the first filled, the second hollow."""
    known = [value for value in (first, second) if value is not None]
    body = _line("link", PERCENT.at(min(known)), PERCENT.at(max(known)), 12, 12) if known else ""
    if second is not None:
        body += f'<circle class="dot-other" cx="{PERCENT.at(second)}" cy="12" r="5"/>'
    if first is not None:
        body += f'<circle class="dot-ref" cx="{PERCENT.at(first)}" cy="12" r="6"/>'
    return PERCENT.track(body, 24)


@dataclass(frozen=True)
class Point:
    """A method in the scatter plot: ``number`` is printed beside it, ``look`` is its CSS class."""

    number: int
    name: str
    accuracy: float
    milliseconds: float
    look: str


def scatter(points: Sequence[Point], *, height: int = 320) -> str:
    """Accuracy against time per episode on a logarithmic axis; numbers refer to the key below it."""
    times = [_log(point.milliseconds) for point in points]
    low, high = min(times) - 0.08, max(times) + 0.08
    across = Axis(low, high, _log_ticks(low, high))
    up = nice_axis(min(p.accuracy for p in points) - 1, max(p.accuracy for p in points) + 1)
    body = ""
    for tick in across.ticks:
        x = across.at(tick)
        body += _line("grid", x, x, 0, height)
        body += f'<text x="{x}" y="{height + 16}" text-anchor="middle">{10**tick:g}</text>'
    for tick in up.ticks:
        y = _height(up, tick, height)
        body += _line("grid", "0", "100%", y, y)
        body += f'<text x="-8" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    body += f'<text x="50%" y="{height + 36}" text-anchor="middle">milliseconds per episode</text>'
    places = _beside(
        [
            (_share(across, t), _height(up, p.accuracy, height))
            for p, t in zip(points, times, strict=True)
        ]
    )
    marks = ""
    for point, when, (dx, dy) in zip(points, times, places, strict=True):
        x, y = across.at(when), _height(up, point.accuracy, height)
        label = f"{point.name}: {point.accuracy:.1f} %, {span(point.milliseconds)} ms"
        marks += (
            f'<g><title>{esc(label)}</title><circle class="point {point.look}" cx="{x}" cy="{y:.1f}" '
            f'r="6"/><svg x="{x}" y="{y:.1f}" overflow="visible"><text x="{dx}" y="{dy}" '
            f'text-anchor="middle">{point.number}</text></svg></g>'
        )
    return (
        f'<div class="plot" aria-hidden="true"><svg height="{height}">{body}'
        f'<g class="points">{marks}</g></svg></div>'
    )


def _line(look: str, x1: str, x2: str, y1: object, y2: object, width: float | None = None) -> str:
    stroke = "" if width is None else f' stroke-width="{width}"'
    return f'<line class="{look}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"{stroke}/>'


def _anchor(i: int, count: int) -> str:
    return "start" if i == 0 else "end" if i == count - 1 else "middle"


def _height(axis: Axis, value: float, height: int) -> float:
    return round(height * (1 - (value - axis.low) / (axis.high - axis.low)), 1)


def _share(axis: Axis, value: float) -> float:
    return (value - axis.low) / (axis.high - axis.low)


def _log(milliseconds: float) -> float:
    return math.log10(max(milliseconds, 1e-4))


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Logarithms of 1, 2 and 5 times powers of ten between ``low`` and ``high``; powers alone if many."""
    whole = range(math.floor(low), math.ceil(high) + 1)
    fine = [p + math.log10(m) for p in whole for m in (1, 2, 5)]
    inside = [t for t in fine if low <= t <= high]
    if len(inside) > 7:
        inside = [float(p) for p in whole if low <= p <= high]
    return tuple(inside) or ((low + high) / 2,)


def _beside(places: Sequence[tuple[float, float]]) -> list[tuple[int, int]]:
    """Where each number stands next to its point, in pixels, so that few cover each other.

    Args:
        places: Share of the width and height in pixels of every point.
    """
    width = 600  # a middling screen; on a phone some numbers come closer
    used = [(x * width, y) for x, y in places]
    found = []
    for x, y in places:
        options = [(0, -10), (13, 4), (-13, 4), (0, 19), (15, -8), (-15, -8), (15, 16), (-15, 16)]
        free = [
            sum(abs(x * width + dx - tx) < 14 and abs(y + dy - 4 - ty) < 12 for tx, ty in used)
            for dx, dy in options
        ]
        best = options[free.index(min(free))]
        used.append((x * width + best[0], y + best[1] - 4))
        found.append(best)
    return found
