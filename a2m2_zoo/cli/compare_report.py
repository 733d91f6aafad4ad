"""What `a2m2 compare` shows: tables that fit the terminal, and how to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from a2m2_zoo.evaluation.results import Comparison, MethodResult

# Columns from which on a terminal holds the intervals over classes and what heads are, and the costs.
_MIDDLE, _WIDE = 115, 130
_FEW = 100  # episodes: the sign test that stands in for few can hardly say anything


def show(found: Comparison) -> None:
    """A table for each number of shots, and how to read them."""
    console = output.stdout()
    output.say(found.title)
    for shot in found.shots:
        console.print(_block(found, shot, width=console.width))
    show_open(found)
    output.say(*_notes(found))


def show_open(found: Comparison) -> None:
    """What rejection is worth and how to read it, where it was measured."""
    if any(result.open for result in found.results):
        output.stdout().print(_open_table(found))
        output.say(*_open_notes(found))


def _block(found: Comparison, shot: int, *, width: int) -> Table:
    """The results at one number of shots, with as many columns as fit: no cell breaks at 80."""
    figures = ("accuracy %", "± classes", f"to {found.reference}", "± classes")
    costs = ("ms/episode", "ms/clip", "parameters")
    columns = ("method", *figures, "verdict", "head", *costs)
    shown: Iterable[int] = (0, 1, 3, 5)
    if width >= _MIDDLE:
        shown = range(len(columns) if width >= _WIDE else len(columns) - len(costs))
    right = (*figures, *costs)
    title = f"{found.way}-way {shot}-shot"
    made = output.table(*(columns[i] for i in shown), right=right, title=title)
    for result in found.of_shot(shot):
        row = _row(found, result)
        made.add_row(*(row[i] for i in shown))
    return made


def _open_table(found: Comparison) -> Table:
    """What rejection is worth, by method and shots."""
    figures = ("AUROC", "AUROC, one threshold", "accuracy %", "accuracy % of 80 % answered")
    made = output.table("shot", "method", *figures, right=("shot", *figures), title="open set")
    for result in found.results:
        if result.open is not None:
            made.add_row(
                str(result.shot),
                output.escape(result.method),
                f"{result.open.auroc:.3f} ± {result.open.auroc_interval:.3f}",
                f"{result.open.auroc_pooled:.3f}",
                f"{result.open.accuracy:.1f}",
                f"{result.open.accuracy_answered:.1f}",
            )
    return made


def _open_notes(found: Comparison) -> Iterator[str]:
    """How to read ``_open_table``."""
    yield "AUROC: how often a clip of a known class scores above one of an unknown class; 0.5 is guessing."
    others = [r for r in found.results if r.open is not None and r.open.calibration_error is None]
    if others:
        yield (
            "Best raw score where no probability of being right is fitted: "
            f"{', '.join(dict.fromkeys(r.method for r in others))}"
        )


def _row(found: Comparison, result: MethodResult) -> tuple[str, ...]:
    difference, untrained = result.difference, result.status == "untrained"
    apart = ("", "", "reference")
    if difference is not None:
        mean = _between(f"{difference.mean:+.1f}", difference.interval, found)
        verdict = difference.verdict if untrained else _coloured(difference.verdict)
        apart = (mean, _half(difference.class_interval), verdict)
    name = output.escape(result.method)
    return (
        f"[dim]{name}[/]" if untrained else f"[bold]{name}[/]",
        accuracy(found, result),
        _half(result.class_interval),
        *apart,
        f"[yellow]{result.status}[/]" if untrained else result.status,
        f"{result.score_ms:.2f}",
        f"{result.encode_ms:.2f}",
        f"{result.parameters:,}",
    )


def accuracy(found: Comparison, result: MethodResult) -> str:
    """Percent, with the interval where there is one."""
    return _between(f"{result.accuracy:.1f}", result.interval, found)


def few(found: Comparison, *, also: str = "") -> Iterator[str]:
    """That the intervals say little, where there are few episodes.

    Args:
        found: What was measured.
        also: What else they say little of.
    """
    if found.episodes < _FEW:
        rough = "± is rough" if found.episodes > 1 else "no ± follows from it"
        said = f"{also} and {rough}" if also else rough
        yield f"{counted(found.episodes, 'episode')} only: {said}; take 1,000 or more."


def _between(mean: str, half: float, found: Comparison) -> str:
    """A mean over episodes with its interval; of one episode there is none."""
    return f"{mean} ± {half:.1f}" if found.episodes > 1 else mean


def _half(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _coloured(verdict: str) -> str:
    colour = {"better": "green", "worse": "red"}.get(verdict.split()[0])
    return f"[{colour}]{verdict}[/]" if colour else verdict


def _notes(found: Comparison) -> Iterator[str]:
    yield f"Guessing gives {found.chance:.0f} %. ±: 95 % intervals, over episodes and over classes."
    yield "better, worse: p is below 0.05 on the same episodes, and the interval over"
    yield "               classes leaves out 0; on these classes: the first alone."
    yield from few(found, also="differences may stay unfound,")
    if untrained := dict.fromkeys(r.method for r in found.results if r.status == "untrained"):
        yield (
            f"untrained: random weights, not the published method's result: {', '.join(untrained)}"
        )
