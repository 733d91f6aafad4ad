"""Options that several commands share."""

from __future__ import annotations

import enum
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.bounded_json import read
from a2m2_zoo._utils.files import exists, is_folder
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.recognition.options import TextOptions
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
#: Of commands that take a bank, which names its model.
BankModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A model's name (see `a2m2 models list`) or a checkpoint's path.",
        show_default="the bank's own, else a2m2-lite0",
    ),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps ... where it is computed.")
]


class Runtime(str, enum.Enum):
    """What computes backbones."""

    AUTO = "auto"
    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"


RuntimeOption = Annotated[
    Runtime,
    typer.Option(
        "--runtime",
        help="torch, onnxruntime or auto: what computes the embedded backbone and looks for people on CPUs; "
        "onnxruntime (extra fast) takes half the time, auto takes it where it is installed.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Clips decoded in parallel.", show_default="auto"),
]


def _choose_threads(count: int | None) -> int | None:
    from a2m2_zoo._utils.cores import set_threads

    set_threads(count)
    return count


ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        callback=_choose_threads,
        help="Cores to compute on; changes speed only.",
        show_default="all that may be used",
    ),
]


def _import(files: list[Path] | None) -> list[Path] | None:
    from a2m2_zoo._utils.plugins import import_files

    import_files(files or [])
    return files


ImportOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--import",
        metavar="FILE.py",
        callback=_import,
        help="A Python file that adds methods or backbones of your own; repeatable.",
    ),
]


def with_imports(command: str, imports: list[Path] | None) -> str:
    """A command to copy, with the files that this one was given too."""
    return " ".join([command, *(f"--import {shlex.quote(str(file))}" for file in imports or ())])


PoseOption = Annotated[
    bool,
    typer.Option(
        "--pose/--no-pose",
        help="Look for people and compare how they move, where the model does; without, it is faster.",
    ),
]


def seed_option(text: str) -> Any:
    """``--seed`` with the bounds that training has: a negative one would draw as its positive does."""
    return typer.Option("--seed", min=0, max=2**53, help=text)


JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
MegapixelsOption = Annotated[
    float,
    typer.Option(
        "--max-megapixels",
        min=0.01,
        help="Refuse clips with larger frames.",
        rich_help_panel="Limits",
    ),
]
ReconnectOption = Annotated[
    float,
    typer.Option(
        "--reconnect",
        metavar="SECONDS",
        min=0,
        help="Open a stream again that breaks off, until nothing came for so long; 0: end there.",
    ),
]
SupportsOption = Annotated[
    Path,
    typer.Option(
        "--supports", "-s", help="A folder with one folder of clips per class, or a saved bank."
    ),
]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where it is computed."""

    device: DeviceOption = "auto"
    runtime: RuntimeOption = Runtime.TORCH
    threads: ThreadsOption = None
    imports: ImportOption = None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one clip may cost."""

    max_megapixels: MegapixelsOption = 16.0
    max_frames: Annotated[
        int,
        typer.Option(
            "--max-frames", min=1, help="Refuse clips with more frames.", rich_help_panel="Limits"
        ),
    ] = 20_000
    max_seconds: Annotated[
        float,
        typer.Option(
            "--max-seconds",
            min=0.1,
            help="Give up a clip that takes longer to decode.",
            rich_help_panel="Limits",
        ),
    ] = 60.0
    max_megabytes: Annotated[
        float,
        typer.Option(
            "--max-megabytes",
            min=0.001,
            help="Fetch no clip that is larger; files of this machine may be.",
            rich_help_panel="Limits",
        ),
    ] = 4000.0

    @property
    def limits(self) -> Limits:
        """The same for the package's functions."""
        from a2m2_zoo.video import Limits

        return Limits(
            megapixels=self.max_megapixels,
            frames=self.max_frames,
            seconds=self.max_seconds,
            megabytes=self.max_megabytes,
        )


@dataclass(frozen=True, kw_only=True)
class Reading(Bounds, Machine):
    """How clips are read and where they are encoded."""

    workers: WorkersOption = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How answers are written."""

    json: JsonOption = False
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV to stdout.")] = False

    @property
    def form(self) -> Form:
        """The form that the two switches ask for."""
        if self.json and self.csv:
            raise typer.BadParameter("--json and --csv exclude each other")
        return Form.JSON if self.json else Form.CSV if self.csv else Form.TABLE


@dataclass(frozen=True, kw_only=True)
class Text:
    """How class names take part."""

    text_weight: Annotated[
        float | None,
        typer.Option(
            "--text-weight",
            min=0,
            max=1,
            help="Share of the class names in the answer, for models on CLIP; 0 is the clips alone.",
            show_default="0",
            rich_help_panel="Text",
        ),
    ] = None
    class_names: Annotated[
        list[str] | None,
        typer.Option(
            "--class-names",
            metavar="FILE.json|CLASS=NAME",
            help="What a class is called in words, repeatable; or a JSON file with names or lists of "
            "prompts.",
            rich_help_panel="Text",
        ),
    ] = None
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="What a name is put into, repeatable.",
            show_default="a photo of {}",
            rich_help_panel="Text",
        ),
    ] = None

    @property
    def options(self) -> TextOptions:
        """The same for the package's functions."""
        if self.text_weight is None and (self.class_names or self.template):
            raise typer.BadParameter("--class-names and --template need --text-weight")
        return {
            "text_weight": self.text_weight or 0.0,
            "class_names": _class_names(self.class_names or []),
            "templates": self.template or None,
        }


def open_model(name: str, machine: Machine, *, pose: bool = True) -> Model:
    """The model that the options name: fetched with the client's bar, then loaded with a spinner."""
    from a2m2_zoo.cli.output import detail, stderr

    with stderr.status("loading the model"):
        from a2m2_zoo.zoo.load import load_model
        from a2m2_zoo.zoo.pull import fetch_missing
    started = time.perf_counter()
    fetch_missing(name)
    with stderr.status("loading the model") as spinner:

        def tell(done: int, total: int) -> None:
            spinner.update(f"computing the head of {name}, this once: clip {done} of {total}")

        runtime = machine.runtime.value
        model = load_model(name, device=machine.device, pose=pose, runtime=runtime, progress=tell)
    detail(f"{model}, loaded in {time.perf_counter() - started:.1f} s")
    return model


def open_model_for(
    name: str | None, supports: Path, machine: Machine, *, pose: bool = True
) -> Model:
    """The model that the options name; without one that of the bank, where ``--supports`` is one."""
    if name is not None or is_folder(supports) or not exists(supports):
        return open_model(name or DEFAULT_MODEL, machine, pose=pose)
    from a2m2_zoo.recognition.bank import SupportBank

    return open_bank_model(SupportBank.load(supports), machine, pose=pose)


def open_bank_model(bank: SupportBank, machine: Machine, *, pose: bool = True) -> Model:
    """The model that a bank names."""
    from a2m2_zoo.zoo.choose import named_by

    with named_by(bank):
        shown = pose and "people" in bank.descriptors
        return open_model(bank.opened_as or bank.model, machine, pose=shown)


def _class_names(given: list[str]) -> dict[str, str | list[str] | None]:
    """Names from JSON files, and over them those from ``CLASS=NAME``."""
    found: dict[str, str | list[str] | None] = {}
    pairs: dict[str, str] = {}
    for item in given:
        name, equals, words = item.partition("=")
        if item.endswith(".json") or not equals:
            found |= _names_file(Path(item))
        elif name in pairs:
            raise typer.BadParameter(
                f"--class-names speaks of {name!r} twice; several prompts go into a JSON file"
            )
        else:
            pairs[name] = words
    return {**found, **pairs}


def _names_file(path: Path) -> dict[str, str | list[str] | None]:
    try:
        found = read(path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(
            f"--class-names {str(path)!r} is neither CLASS=NAME nor a readable JSON file ({error})"
        ) from error
    if not isinstance(found, dict):
        raise typer.BadParameter(
            f"--class-names {str(path)!r} holds no JSON object; expected {{class: name or [prompts]}}"
        )
    return found
