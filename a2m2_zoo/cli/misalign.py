"""``a2m2 misalign``: how much of its accuracy each alignment keeps when queries are out of step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.compare import CacheOption, HereWorkersOption, complain, progress_bars
from a2m2_zoo.cli.files import OutOption, check_json_file, write_json_file
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.evaluation.misalignment import Misalignment


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Which episodes it is measured on."""

    way: Annotated[int, typer.Option("--way", min=2, help="Classes per episode.")] = 5
    shot: Annotated[int, typer.Option("--shot", min=1, help="Supports per class.")] = 1
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="How many.")] = 2000
    seed: Annotated[int, options.seed_option("Same seed, same episodes and misalignments.")] = 0


@grouped
def misalign(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder with one folder of clips per class.")
    ],
    *,
    model: Annotated[
        str, typer.Option("--model", help="A model with an A2M2 head.")
    ] = DEFAULT_MODEL,
    kinds: Annotated[
        str, typer.Option("--kinds", help="shift, trim, idle, speed.")
    ] = "shift,trim,idle,speed",
    amounts: Annotated[
        str, typer.Option("--amounts", help="Percent of the clip.")
    ] = "0,10,20,30,40,50,60",
    episodes: Episodes,
    machine: options.Machine,
    cache: CacheOption = None,
    workers: HereWorkersOption = None,
    json: options.JsonOption = False,
    out: OutOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Write a picture here (.png, .svg, ...).")
    ] = None,
) -> None:
    """Accuracy against a known temporal misalignment of the queries, for every alignment.

    Supports stay as they are. All alignments see the same descriptors and the same episodes.

    Exit code 0: measured; 1: a clip could not be read, or a file not be written; 2: the call is wrong.
    """
    from a2m2_zoo.data.plans import EpisodeForm
    from a2m2_zoo.evaluation.misalignment import measure_misalignment
    from a2m2_zoo.report.picture import check_ready

    if plot is not None:
        check_ready(plot)
    check_json_file(out, instead="--plot draws a picture")
    recogniser = options.open_model(model, machine)
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
    written = {
        **found.receipt,
        "copies": None if found.copies is None else asdict(found.copies),
        "curves": [asdict(curve) for curve in found.curves],
    }
    if json:
        output.write_json(written)
    else:
        _show(found)
    if out is not None:
        write_json_file(out, dumps(written, indent=2))
    if plot is not None:
        from a2m2_zoo.report.misalignment import draw_curves

        draw_curves(found.curves, plot, title=found.title)
        output.wrote(plot)
    complain(found)


def _show(found: Misalignment) -> None:
    several = found.receipt["episodes"] > 1  # one has no interval
    for kind in dict.fromkeys(curve.kind for curve in found.curves):
        curves = [curve for curve in found.curves if curve.kind == kind]
        heads = [f"{100 * amount:.0f} %" for amount in curves[0].amounts]
        table = output.table("alignment", *heads, right=heads, title=f"{kind}: accuracy, %")
        for curve in curves:
            halves = [f" ±{half:.1f}" if several else "" for half in curve.interval]
            cells = zip(curve.accuracy, halves, strict=True)
            table.add_row(curve.method, *(f"{mean:.1f}{half}" for mean, half in cells))
        output.stdout().print(table)


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _percent(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 100:
        raise ArgumentError(f"--amounts has {text!r}; give percents below 100 such as 0,20,40")
    return found / 100
