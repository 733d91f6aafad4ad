"""`a2m2 models export`: a model as graphs that run without this package."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import options, output


def export(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model's name, or a checkpoint's path.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder for the graphs.")
    ],
    to: Annotated[str, typer.Option("--to", help="onnx or torch-export.")] = "onnx",
    clip: Annotated[
        list[Path] | None,
        typer.Option("--clip", metavar="VIDEO", help="Also compare on this clip; repeatable."),
    ] = None,
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """Write a model as two graphs, of its backbone and M², and of A², and compare them with it.

    The graphs are compared on noise, a still picture, drawn clips and those of --clip, in several batch
    sizes and episodes; graphs that differ by more than 1e-4 are not kept. Takes one to four minutes.
    Exit code 0: written and equal; 1: it differs or cannot be written; 2: the call is wrong.
    """
    with output.stderr.status("loading"):
        from a2m2_zoo.video import read_clip
        from a2m2_zoo.zoo.export.folder import check_ready, export_model

        check_ready(out, to)
    model = options.open_model(name, options.Machine(device="cpu"))
    with output.stderr.status("reading clips") as spinner:
        clips = [read_clip(path, model.preprocess) for path in clip or ()]
        made = export_model(model, out, to=to, clips=clips, tell=spinner.update)
    if json:
        output.write_json({**asdict(made), "folder": str(made.folder)})
        return
    facts = output.table("file", "bytes", "largest difference from the model", right=("bytes",))
    for file in made.sha256:
        differences = made.differences.get(Path(file).stem, {})
        shown = ", ".join(f"{what} {value:.1e}" for what, value in differences.items())
        facts.add_row(output.escape(file), f"{(made.folder / file).stat().st_size:,}", shown)
    output.stdout().print(facts)
    rules = made.folder / "config.json"
    output.say(
        f"compared on {counted(made.clips, 'clip')}; inputs, outputs and rules: {rules}", whole=True
    )
