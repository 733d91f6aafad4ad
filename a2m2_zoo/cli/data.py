"""`a2m2 data`: data to try things with. `synth` draws clips of moving figures."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import options, output
from a2m2_zoo.errors import ArgumentError

app = typer.Typer(no_args_is_help=True, help="Data to try things with: generated clips.")

_CLASSES = 20
_WAY, _SHOTS = 5, 5  # what `a2m2 evaluate` asks for by itself


@app.command()
def synth(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder for the clips."),
    ],
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes", min=1, help="Kinds of movement.", show_default="20, or all with --named"
        ),
    ] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Clips of each class.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other classes.")] = 0,
    named: Annotated[
        bool, typer.Option("--named", help="Wave, jump, squat, walk, kick instead of drawn kinds.")
    ] = False,
    style: Annotated[
        str | None,
        typer.Option("--style", help="scene, capsule or stick.", show_default="mixed"),
    ] = None,
    studio: Annotated[
        int | None,
        typer.Option(
            "--studio",
            metavar="N",
            help="Film all clips with camera N in one place.",
            show_default="each clip anywhere",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", help="Side of the pictures, even.")] = 224,
    frames: Annotated[int, typer.Option("--frames", min=1, help="Frames of each clip.")] = 32,
    fps: Annotated[int, typer.Option("--fps", min=1, help="Frames a second.")] = 16,
    json: options.JsonOption = False,
) -> None:
    """Draw a data set of moving figures: one folder per class, real video files, a contact sheet.

    The same options give the same clips. The folder appears whole or not at all.
    """
    from a2m2_zoo.synthetic import NAMED_ACTIONS, STYLES, ClipFormat, write_dataset

    if style is not None and style not in STYLES:
        raise ArgumentError(f"--style is {style!r}; expected one of {', '.join(STYLES)}")
    count = classes or (len(NAMED_ACTIONS) if named else _CLASSES)
    with output.progress("drawing clips", count * clips) as bar:
        written = write_dataset(
            out,
            classes=count,
            clips=clips,
            seed=seed,
            named=named,
            style=style,
            studio=studio,
            form=ClipFormat(frames=frames, fps=fps, size=size),
            progress=lambda done, _: bar.update(bar.task_ids[0], completed=done),
        )
    if json:
        output.write_json({"folder": str(out), "classes": count, "clips": len(written)})
        return
    size_mb = sum(path.stat().st_size for path in written) / 1e6
    output.say(
        f"{counted(len(written), 'clip')} of {counted(count, 'class')}, {size_mb:.1f} MB, in {out}",
        f"all at a glance: {out / 'contact_sheet.png'}",
        f"now try: {_next(out, clips=clips, classes=count)}",
        whole=True,
    )


def _next(out: Path, *, clips: int, classes: int) -> str:
    """A command that makes something of what was drawn."""
    if clips == 1 or classes == 1:
        return f"a2m2 classify YOUR.mp4 --supports {quote(str(out))}"
    way = f" --way {classes}" if classes < _WAY else ""
    shot = " --shot 1" if clips <= _SHOTS else ""
    return f"a2m2 evaluate {quote(str(out))}{way}{shot}"
