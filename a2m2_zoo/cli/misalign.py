"""``a2m2 misalign``: how much of its accuracy each alignment keeps when queries are out of step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.compare import progress_bars, write_result
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Which episodes it is measured on."""

    way: Annotated[int, typer.Option(help="Classes per episode.")] = 5
    shot: Annotated[int, typer.Option(help="Supports per class.")] = 1
    episodes: Annotated[int, typer.Option(help="How many.")] = 2000
    seed: Annotated[int, typer.Option(help="Of the episodes and the misalignments.")] = 0


@grouped
def misalign(
    data: Annotated[Path, typer.Argument(help="A folder with one folder of clips per class.")],
    *,
    model: Annotated[str, typer.Option(help="A model with an A2M2 head.")] = "a2m2-lite0",
    kinds: Annotated[str, typer.Option(help="shift, trim, idle, speed.")] = "shift,trim,idle,speed",
    amounts: Annotated[str, typer.Option(help="Percent of the clip.")] = "0,10,20,30,40,50,60",
    episodes: Episodes,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the receipt here.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture here (.png, .svg, ...).")
    ] = None,
) -> None:
    """Accuracy against a known temporal misalignment of the queries, for every alignment.

    Supports stay as they are. All alignments see the same descriptors and the same episodes.
    """
    from a2m2_zoo.data.plans import EpisodeForm
    from a2m2_zoo.evaluation.misalignment import measure_misalignment
    from a2m2_zoo.report.explain import check_ready

    if plot is not None:
        check_ready(plot)
    recogniser = options.open_model(model, "auto")
    with progress_bars() as tell:
        found = measure_misalignment(
            recogniser,
            data,
            kinds=_names(kinds),
            amounts=[_percent(text) for text in _names(amounts)],
            form=EpisodeForm(**asdict(episodes)),
            cache=cache,
            workers=workers,
            progress=tell,
        )
    for kind in dict.fromkeys(curve.kind for curve in found.curves):
        curves = [curve for curve in found.curves if curve.kind == kind]
        heads = [f"{100 * amount:.0f} %" for amount in curves[0].amounts]
        table = output.table("alignment", *heads, right=heads, title=f"{kind}: accuracy, %")
        for curve in curves:
            cells = zip(curve.accuracy, curve.interval, strict=True)
            table.add_row(curve.method, *(f"{mean:.1f} ±{half:.1f}" for mean, half in cells))
        output.stdout().print(table)
    if json is not None:
        written = [asdict(curve) for curve in found.curves]
        write_result(json, dumps({**found.receipt, "curves": written}, indent=2))
    if plot is not None:
        from a2m2_zoo.report.misalignment import draw_curves

        draw_curves(found.curves, plot, title=found.title)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _percent(text: str) -> float:
    try:
        return float(text) / 100
    except ValueError:
        raise ArgumentError(f"amounts hold {text!r}; give percents such as 0,20,40") from None
