"""`a2m2 models`: what there is, what was measured, and what can be made of official checkpoints."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.files import exists, is_folder
from a2m2_zoo.cli import export, options, output, publish, pull
from a2m2_zoo.errors import ArgumentError

if TYPE_CHECKING:
    from a2m2_zoo.hub.manifest import Manifest

_WIDE = 100  # columns from which on a terminal holds what a model's name says too

app = typer.Typer(help="The models, and how to get more.", no_args_is_help=True)
app.command("pull")(pull.pull)
app.command("verify")(pull.verify)
app.command("publish")(publish.publish)
app.command("export")(export.export)


@app.command("list")
def list_(
    benchmark: Annotated[
        str | None, typer.Option("--benchmark", help="Of this benchmark only, such as ssv2-full.")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="Of this method only.")] = None,
    released: Annotated[
        bool, typer.Option("--released", help="Only what can be used now, not what is planned.")
    ] = False,
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """List the models.

    embedded: in the package. released: on the Hugging Face Hub. computed: training-free, made from its
    backbone on first use. planned: nobody has trained it yet; `show` gives the command that would.
    """
    from msgspec import to_builtins

    from a2m2_zoo.hub.manifest import read_manifest

    manifest = read_manifest()
    entries = [
        entry
        for entry in manifest.models.values()
        if (benchmark is None or entry.benchmark == _known(benchmark, "benchmark", manifest))
        and (method is None or entry.method == _known(method, "method", manifest))
        and not (released and entry.status == "planned")
    ]
    if json:
        output.write_json(to_builtins(entries))
        return
    console = output.stdout()
    names = ("method", "benchmark") if console.width >= _WIDE else ()
    made = output.table("model", "status", *names, "backbone", "MB", right=("MB",))
    for entry in entries:
        size = manifest.backbones[entry.backbone].size
        megabytes = f"{((entry.size or 0) + size) / 1e6:.1f}" if size else ""
        said = [getattr(entry, name) or "" for name in names]
        made.add_row(entry.id, entry.status, *said, entry.backbone, megabytes)
    console.print(made)
    if added := list(_added()):
        output.say(*added)


def _added() -> Iterator[str]:
    """Methods and backbones of plugins, a line each."""
    from a2m2_zoo._utils.plugins import imported_files, installed

    if not installed() and not imported_files():
        return  # nothing heavy for those who have none
    from a2m2_zoo.backbones import BACKBONES
    from a2m2_zoo.methods import METHODS

    for what, table, how in (
        ("method", METHODS, "--method "),
        ("backbone", BACKBONES, "--model backbone:"),
    ):
        usable, packages = table.usable(), table.origins()
        for name in filter(usable.__contains__, table.added()):
            yield f"{what} {name} of {packages.get(name, 'a file')}: {how}{name}"


def _known(value: str, field: str, manifest: Manifest) -> str:
    """The value as the manifest writes it; a model must have it."""
    key = value.lower().replace("_", "-")
    values = {getattr(entry, field) for entry in manifest.models.values()} - {None}
    if key not in values:
        raise ArgumentError(
            f"no model has the {field} {value!r}; known: {', '.join(sorted(values))}"
        )
    return key


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A model as --model takes it: a name, a checkpoint, a run's folder.",
        ),
    ],
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """Show one model: figures and where they are from, then origin, preprocessing and configuration."""
    from msgspec import to_builtins

    from a2m2_zoo.hub.manifest import read_manifest

    if ":" in name or Path(name).suffix == ".safetensors" or exists(name):
        shown = _own(name)
    else:
        manifest = read_manifest()
        entry = manifest.model(name)
        shown = {**to_builtins(entry), "backbone": to_builtins(manifest.backbones[entry.backbone])}
    if json:
        output.write_json(shown)
        return
    if shown["metrics"]:
        _show_figures(shown["metrics"])
    facts = output.table("fact", "value")
    for key, value in _flat(shown):
        if key != "metrics" and value is not None:
            facts.add_row(key, output.escape(str(value)))
    output.stdout().print(facts)


def _show_figures(metrics: list[dict[str, Any]]) -> None:
    """A row each; how they were measured stands below where it is the same of all."""
    rows = [
        {
            **{key: str(metric.get(key, "")) for key in ("data", "way", "shot")},
            "accuracy %": f"{metric['accuracy']:.1f}"
            + (f" ± {metric['interval']:.1f}" if "interval" in metric else ""),
            "episodes": str(metric.get("episodes", "")),
            "from": metric.get("receipt") or f"paper: {metric['citation']}",
        }
        for metric in metrics
    ]
    alike = {key for key in ("episodes", "from") if len({row[key] for row in rows}) == 1}
    columns = [key for key in rows[0] if key not in alike]
    made = output.table(*columns, right=("way", "shot", "episodes"), whole=("accuracy %",))
    for row in rows:
        made.add_row(*(output.escape(row[key]) for key in columns))
    output.stdout().print(made)
    notes = {
        "episodes": f"{rows[0]['episodes']} episodes each",
        "interval": "± is a 95 % interval",
        "from": f"from {rows[0]['from']}",
    }
    shown = alike - {key for key in alike if not rows[0][key]}
    if any("interval" in metric for metric in metrics):
        shown.add("interval")
    output.say(", ".join(said for key, said in notes.items() if key in shown))


def _own(name: str) -> dict[str, Any]:
    """What is to be said of a model that is not listed; its own figures if a receipt lies beside it."""
    from a2m2_zoo._utils.bounded_json import read

    model, path = options.open_model(name, options.Machine(device="cpu")), Path(name)
    receipt = (path if is_folder(path) else path.parent) / "receipt.json"
    metrics: list[dict[str, Any]] = []
    if exists(receipt):
        try:
            metrics = list(_validated(read(receipt), str(receipt)))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            output.complain(f"{str(receipt)!r} cannot be read as a receipt: {error}")
    record = {key: value for key, value in model.record().items() if key != "rejection"}
    confidence = "fitted" if model.table is not None else "none: answers have probabilities alone"
    return {
        "name" if model.opened_as else "path": name,
        "weights_hash": model.weights_hash,
        "origin": model.origin,
        **record,
        "confidence": confidence,
        "metrics": metrics,
    }


def _validated(receipt: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The figures of the head that a training run has kept: its verdict's, else of its best validation."""
    config, result = receipt["config"], receipt["result"]
    if verdict := receipt.get("verdict"):
        kept = receipt.get("kept", True)
        yield {
            "data": "held-out clips" if kept else "held-out clips, by the head it started from",
            "way": verdict["way"],
            "shot": ", ".join(map(str, verdict["shots"])),
            "accuracy": float(verdict["after" if kept else "before"]),
            "receipt": name,
        }
        return
    best = [row for row in result["curve"] if row["step"] == result["best_step"]]
    for shot, accuracy in best[-1].items() if best else ():
        if shot != "step":
            sizes = {"way": config["way"], "shot": shot, "episodes": config["validate_episodes"]}
            yield {
                "data": "held-out classes",
                **sizes,
                "accuracy": float(accuracy),
                "receipt": name,
            }


@app.command()
def convert(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="molo, clip-fsar, hyrsm, hyrsm++, trx or strm: whose code wrote it.",
        ),
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The checkpoint of the official code.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder for the model.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name.", show_default="the folder's")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of the configuration that the checkpoint does not tell; repeatable.",
        ),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Convert a checkpoint of a method's official code into a model that every command takes.

    No code in FILE is run. A checkpoint with missing or surplus weights is refused, each named.
    """
    from a2m2_zoo.zoo.convert import convert as run

    with output.stderr.status("converting"):
        made = run(method, file, out=out, name=name, settings=_settings(settings or []))
    if json:
        output.write_json({**asdict(made), "folder": str(made.folder)})
        return
    facts = output.table("fact", "value")
    rows = {
        "model": made.id,
        "method": made.method,
        "backbone": made.architecture,
        "weights taken": made.loaded,
        "weights left behind": _some(made.dropped),
        **{f"config.{key}": value for key, value in made.config.items()},
        **{f"sha256 of {file}": digest for file, digest in made.sha256.items()},
    }
    for key, value in rows.items():
        facts.add_row(key, output.escape(str(value)))
    output.stdout().print(facts)
    output.say(
        f"next: a2m2 classify QUERY --supports SUPPORTS --model {shlex.quote(str(made.folder))}",
        whole=True,
    )


def _some(names: tuple[str, ...], most: int = 6) -> str:
    more = f", ... ({len(names)})" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"


def _settings(given: list[str]) -> dict[str, Any]:
    """``FIELD=VALUE`` as values: JSON where it is JSON, else text."""
    found: dict[str, Any] = {}
    for item in given:
        field, equals, value = item.partition("=")
        if not field or not equals:
            raise ArgumentError(f"--set {item!r} is no setting; expected FIELD=VALUE")
        try:
            found[field] = loads(value)
        except ValueError:
            found[field] = value
    return found


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values as rows, the keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
