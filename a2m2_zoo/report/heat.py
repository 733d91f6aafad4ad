"""A confusion matrix as SVG. It has a width of its own, so a narrow page lets it scroll."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from a2m2_zoo.report.markup import esc, short

#: With more classes the cells are too small for numbers and those under 1 % are not drawn.
MOST_NUMBERED = 30
#: Pixels. A matrix up to this width is shrunk to a phone's.
_PHONE = 480


def heat(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The matrix with true classes as rows and answers as columns, each row in percent of its queries.

    Args:
        names: The C classes.
        counts: C rows of C counts of queries; a class that was never asked has an empty row.
    """
    size = len(names)
    cell = min(30, max(9, 800 // size))
    font = min(12, cell)
    rows, columns = [short(n, 22) for n in names], [short(n, 16) for n in names]
    left, top = (round(14 + 0.66 * font * max(map(_width, words))) for words in (rows, columns))
    width, height = left + size * cell + 2, top + size * cell + 2
    side = size * cell
    body = [f'<rect class="ground" x="{left}" y="{top}" width="{side}" height="{side}"/>']
    for i, row in enumerate(counts):
        x, y = left + i * cell, top + i * cell
        base = cell / 2 + 0.35 * font
        across, down = _titled(rows[i], names[i]), _titled(columns[i], names[i])
        turned = f"translate({x + base:.1f} {top - 6}) rotate(-90)"
        body.append(f'<text x="{left - 6}" y="{y + base:.1f}" text-anchor="end">{across}</text>')
        body.append(f'<text transform="{turned}">{down}</text>')
        body += [
            _cell(names[i], names[j], count, sum(row), (left + j * cell, y, cell), size)
            for j, count in enumerate(row)
            if count and (size <= MOST_NUMBERED or 100 * count >= sum(row))
        ]
    look = "heat narrow" if width <= _PHONE else "heat"
    return (
        f'<svg class="{look}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-size="{font}" aria-hidden="true">{"".join(body)}</svg>'
    )


def _cell(
    truth: str, answer: str, count: int, total: int, place: tuple[int, int, int], size: int
) -> str:
    x, y, side = place
    share = count / total
    look = "right" if truth == answer else "wrong"
    # The root lets few mistakes show; no cell is so dark that its number would be hard to read.
    opacity = f"{0.75 * math.sqrt(share):.2f}"
    title = f"{short(truth, 30)} answered as {short(answer, 30)}: {100 * share:.1f} % ({count})"
    drawn = (
        f'<rect class="{look}" x="{x}" y="{y}" width="{side}" height="{side}" '
        f'fill-opacity="{opacity}"><title>{esc(title)}</title></rect>'
    )
    if size <= MOST_NUMBERED and share >= 0.005:
        drawn += (
            f'<text x="{x + side / 2:g}" y="{y + side / 2 + 4:g}" text-anchor="middle" '
            f'pointer-events="none">{100 * share:.0f}</text>'
        )
    return drawn


def _titled(shown: str, name: str) -> str:
    return f"{esc(shown)}<title>{esc(name)}</title>"


def _width(text: str) -> int:
    """Columns that ``text`` takes, letters of some scripts being twice as wide as others."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
