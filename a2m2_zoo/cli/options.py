"""Options that several commands share."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from a2m2_zoo.model import Model
    from a2m2_zoo.video import Limits


class Form(str, enum.Enum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


ModelOption = Annotated[
    str,
    typer.Option("--model", help="A model's name (see `a2m2 models list`) or a checkpoint's path."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps ... where it is computed.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Clips decoded in parallel.", show_default="auto"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Write CSV to stdout.")]
MegapixelsOption = Annotated[
    float,
    typer.Option(
        "--max-megapixels",
        min=0.01,
        help="Refuse clips with larger frames.",
        rich_help_panel="Limits",
    ),
]
FramesOption = Annotated[
    int,
    typer.Option(
        "--max-frames", min=1, help="Refuse clips with more frames.", rich_help_panel="Limits"
    ),
]
SecondsOption = Annotated[
    float,
    typer.Option(
        "--max-seconds",
        min=0.1,
        help="Give up a clip that takes longer to decode.",
        rich_help_panel="Limits",
    ),
]
SupportsOption = Annotated[
    Path,
    typer.Option(
        "--supports", "-s", help="A folder with one folder of clips per class, or a saved bank."
    ),
]


def form(*, json: bool, csv: bool) -> Form:
    """The form that the two switches ask for."""
    if json and csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    return Form.JSON if json else Form.CSV if csv else Form.TABLE


def limits(megapixels: float, frames: int, seconds: float) -> Limits:
    """Limits from the three options."""
    from a2m2_zoo.video import Limits

    return Limits(megapixels=megapixels, frames=frames, seconds=seconds)


def open_model(name: str, device: str) -> Model:
    """The model that the options name, with a spinner while it loads."""
    from a2m2_zoo.cli.output import stderr

    with stderr.status("loading the model"):
        from a2m2_zoo.loading import load_model

        return load_model(name, device=device)
