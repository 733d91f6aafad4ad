"""`a2m2 models`: what there is and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from a2m2_zoo.cli import options, output

app = typer.Typer(help="The models, from the manifest.", no_args_is_help=True)


@app.command("list")
def list_(json: options.JsonOption = False) -> None:
    """List the models."""
    from a2m2_zoo.hub.manifest import read_manifest

    entries = read_manifest().models.values()
    if json:
        output.write_json([asdict(entry) for entry in entries])
        return
    made = output.table("model", "status", "method", "backbone", "MB", "what", right=("MB",))
    for entry in entries:
        backbone = read_manifest().backbones[entry.backbone]
        megabytes = f"{(entry.size + backbone.size) / 1e6:.1f}"
        made.add_row(entry.id, entry.status, entry.method, entry.backbone, megabytes, entry.summary)
    output.stdout().print(made)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model's name.")], json: options.JsonOption = False
) -> None:
    """Show one model: origin, licence, preprocessing, configuration, measured figures."""
    from a2m2_zoo.hub.manifest import read_manifest

    entry = read_manifest().model(name)
    if json:
        output.write_json(asdict(entry))
        return
    facts = output.table("fact", "value")
    for key, value in _flat(asdict(entry)):
        if key != "metrics":
            facts.add_row(key, output.escape(str(value)))
    console = output.stdout()
    console.print(facts)
    if not entry.metrics:
        return
    figures = output.table(
        "data", "way", "shot", "episodes", "accuracy %", "± 95 %", right=("way", "shot", "episodes")
    )
    for metric in entry.metrics:
        figures.add_row(
            *(str(metric[key]) for key in ("data", "way", "shot", "episodes")),
            f"{metric['accuracy']:.1f}",
            f"{metric['interval']:.1f}",
        )
    console.print(figures)


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values as rows, the keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
