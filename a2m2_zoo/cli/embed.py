"""`a2m2 embed`: clips as what a model keeps of them, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.files import check_file, write_atomically
from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.classify import expand
from a2m2_zoo.cli.files import check_ending, check_kind
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import A2M2Error, VideoError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.recognition.embeddings import Embeddings

_FORMATS = (".safetensors", ".npz")


@grouped
def embed(
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIPS", help="Clips, or folders of clips.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write: .safetensors, which Embeddings.load reads, or NumPy's .npz.",
        ),
    ],
    *,
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    reading: options.Reading,
    json: options.JsonOption = False,
) -> None:
    """Write what a model keeps of CLIPS: the descriptors that it compares, and a vector for each clip.

    Both formats hold the clips' names, the model's and its hash. Exit code 0: all clips are in; 1: some
    failed, the others are in; 2: the call is wrong.
    """
    check_ending("--out", out, *_FORMATS)
    check_file(out)
    if out.suffix.lower() == ".safetensors":
        check_kind("--out", out, "embeddings")
    found, failures = expand(clips)
    for failure in failures:
        output.complain(failure)
    if not found:
        raise typer.Exit(FAILED)
    recogniser = options.open_model(model, reading, pose=pose)
    with output.progress("embedding", len(found)) as bar:

        def advance(_: object, failure: A2M2Error | None) -> None:
            if failure is not None:
                failures.append(failure)
                output.complain(failure)
            bar.advance(bar.task_ids[0])

        try:
            made = recogniser.embed(
                found, workers=reading.workers, limits=reading.limits, on_clip=advance
            )
        except VideoError as error:  # none could be read
            output.complain(error)
            raise typer.Exit(FAILED) from error
    _write(made, out)
    if json:
        facts = {"file": str(out), "clips": len(made), "failed": len(failures)}
        sizes = {name: list(t.shape[1:]) for name, t in made.descriptors.items()}
        sizes["pooled"] = list(made.pooled.shape[1:])
        output.write_json(
            {**facts, "model": made.model, "weights_hash": made.weights_hash, "shapes": sizes}
        )
    else:
        said = f"{counted(len(made), 'clip')} by {made.model}, {len(failures)} failed"
        output.say(f"{out}: {said}", whole=True)
    if failures:
        raise typer.Exit(FAILED)


def _write(made: Embeddings, out: Path) -> None:
    if out.suffix.lower() == ".safetensors":
        made.save(out)
        return
    import numpy as np

    arrays = {f"descriptor.{name}": t.numpy() for name, t in made.descriptors.items()}
    facts = {"sources": made.sources, "model": made.model, "weights_hash": made.weights_hash}
    texts = {name: np.array(value, dtype=np.str_) for name, value in facts.items()}

    def write(scratch: Path) -> None:
        with scratch.open("wb") as file:
            np.savez_compressed(file, pooled=made.numpy(), **arrays, **texts)  # type: ignore[arg-type]

    write_atomically(out, write)
