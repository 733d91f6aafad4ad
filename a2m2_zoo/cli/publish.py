"""`a2m2 models publish`: a checkpoint to the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import ArgumentError


@dataclass(frozen=True, kw_only=True)
class About:
    """What the card says of the model."""

    license_: Annotated[
        str | None, typer.Option("--license", help="The head's licence, such as apache-2.0.")
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="TEXT", help="What it was made from, and on which terms."),
    ] = None
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", metavar="ORG/NAME", help="The same on the Hub; repeatable."),
    ] = None
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", help="The benchmark it was trained for.")
    ] = None
    metrics: Annotated[
        list[Path] | None,
        typer.Option(
            "--metrics",
            metavar="RECEIPT.json",
            help="What `a2m2 evaluate --out FILE` wrote of it; repeatable.",
        ),
    ] = None
    trained_with: Annotated[
        str | None,
        typer.Option("--trained-with", metavar="COMMAND", help="The command that made it."),
    ] = None


@grouped
def publish(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a run's folder."),
    ],
    repo: Annotated[str, typer.Option("--repo", metavar="ORG/NAME", help="The repository.")],
    *,
    about: About,
    dry_run: Annotated[
        Path | None,
        typer.Option("--dry-run", metavar="DIR", help="Write the files there, upload nothing."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    message: Annotated[str | None, typer.Option("--message", help="Of the commit.")] = None,
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """Publish a checkpoint with its model card, read it back, and print its entry for a manifest.

    The token is the one of `hf auth login`, or HF_TOKEN.

    Exit code 0: published and read back, or shown; 1: it failed, the line says what is on the Hub;
    2: the call is wrong.
    """
    if about.license_ is None:
        raise ArgumentError("a model is published under a licence; give --license, e.g. apache-2.0")
    with output.stderr.status("loading"):
        from a2m2_zoo.zoo.publish import Description
        from a2m2_zoo.zoo.publish import publish as run

    made = run(
        checkpoint,
        repo,
        Description(
            license=about.license_,
            data=about.data,
            datasets=about.dataset or [],
            benchmark=about.benchmark,
            trained_with=about.trained_with,
            metrics=about.metrics or [],
        ),
        dry_run=dry_run,
        private=private,
        message=message,
    )
    for note in made.notes:
        output.complain(note)
    if json:
        output.write_json(asdict(made))
        return
    if dry_run is not None:
        print(made.difference)
        output.complain(f"nothing was uploaded; the files are in {dry_run}")
        return
    output.complain(f"published and read back: {made.url}")
    command = f"a2m2 classify QUERY --supports SUPPORTS --model {made.name}"
    output.complain(f"use it: {options.with_imports(command, imports)}")
    output.write_json(made.manifest, indent=1)
