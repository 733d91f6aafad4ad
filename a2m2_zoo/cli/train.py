"""`a2m2 train`: a head, or a head and its backbone, on clips of one's own."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.files import is_folder
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo.cli import compare as shared
from a2m2_zoo.cli import options, output, signals
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.cli.train_data import check, chosen
from a2m2_zoo.cli.train_report import complain, report
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from a2m2_zoo.training.dataset import Split
    from a2m2_zoo.training.loop import Trained
    from a2m2_zoo.training.start import Start

_MODEL = "model.safetensors"  # what a run's folder gets in the end
_TUNED = 0.1  # the backbone's learning rate as a share of the head's, if nobody says


class HoldOut(str, enum.Enum):
    """What is held out."""

    CLASSES = "classes"
    CLIPS = "clips"


@dataclass(frozen=True, kw_only=True)
class Clips:
    """What is trained on."""

    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder of clips per class, or a list's videos. The recipe a2m2-lite0 "
            "draws its own where there is none.",
            show_default=False,
        ),
    ] = None
    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="A folder like DATA with other classes."),
    ] = None
    share: Annotated[
        float | None,
        typer.Option(
            "--hold-out",
            min=0,
            max=0.9,
            help="Share of DATA's classes to validate on.",
            show_default="0.2; 0.4 with the recipe small",
        ),
    ] = None
    by: Annotated[
        HoldOut | None,
        typer.Option(
            "--hold-out-by",
            metavar="classes|clips",
            help="With the recipe small: hold out some classes (is it better for new actions?) or some clips "
            "of every class (for these?).",
            show_default="classes, from 8 on",
        ),
    ] = None
    list_file: shared.ListOption = None
    benchmark: shared.BenchmarkOption = None
    cache: shared.CacheOption = None
    half: Annotated[
        bool, typer.Option("--half", help="Keep features in float16: half the memory.")
    ] = False
    workers: options.WorkersOption = None


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What is trained, from what start, and how."""

    method: Annotated[
        str | None,
        typer.Option("--method", help="A method's name.", show_default="the model's own"),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="A recipe, such as small, a2m2-lite0 or molo-resnet50-ssv2-small.",
            show_default="small, if DATA is and nothing else is asked for",
        ),
    ] = None
    model: Annotated[
        str,
        typer.Option("--model", help="Gives backbone and preprocessing, and a head to start from."),
    ] = DEFAULT_MODEL
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Start from random weights, not the model's head."),
    ] = False
    tune_backbone: Annotated[
        bool, typer.Option("--tune-backbone", help="Train the backbone too, from videos.")
    ] = False
    backbone_weights: Annotated[
        Path | None,
        typer.Option("--backbone-weights", help="A recipe's backbone, as safetensors."),
    ] = None
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of the optimiser.", show_default="2000")
    ] = None
    way: Annotated[
        int | None, typer.Option("--way", min=2, help="Classes per episode.", show_default="5")
    ] = None
    shot: Annotated[
        int | None, typer.Option("--shot", min=1, help="Supports per class.", show_default="1")
    ] = None
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same run.", show_default="0")
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A setting, such as lr=3e-4 or method.a2.time_cost=0.3.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it is computed, and where it goes."""

    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="A folder for the run and its model."),
    ]
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, to the last bit.")
    ] = False
    device: options.DeviceOption = "auto"
    runtime: options.RuntimeOption = options.Runtime.TORCH
    threads: options.ThreadsOption = None
    imports: options.ImportOption = None
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Insist on TensorBoard's files.")
    ] = False
    json: options.JsonOption = False


@grouped
def train(clips: Clips, beginning: Beginning, place: Place) -> None:
    """Train a method episode by episode and keep what is best on classes it never saw.

    One Ctrl-C finishes the step and saves; --resume goes on. Several GPUs: torchrun -m a2m2_zoo train ...

    Exit code 0: trained; 2: the call is wrong; 130: stopped by Ctrl-C, saved; 143: the same by SIGTERM.
    """
    check(clips, beginning)
    beginning, given, split = chosen(clips, beginning, _settings(beginning))
    start = _start(beginning, place.device, given)
    if beginning.tune_backbone and not start.config.backbone_lr:
        start = _tuned(start)
    start = _on_runtime(start, place.runtime, drawn=split is None)
    if place.threads is not None:
        import torch

        torch.set_num_threads(place.threads)  # gradients are PyTorch's own, and so are its threads
    found, first = _run(start, split, clips, place)
    if not first:
        return
    if found.stopped == "interrupted":
        output.complain(
            f"stopped after step {found.step} and saved in {str(place.out)!r}; the same command with "
            "--resume goes on from there"
        )
        if found.signal:
            signals.note(found.signal)
        raise typer.Exit(signals.exit_code())
    what: dict[str, Any] = {"held": "clips", "apart": bool(split and split.judged)}
    if split is None or not split.same:
        what["held"] = "classes"
    complain(found, place.out / _MODEL, cautious=start.cautious, **what)
    if place.json:
        receipt = (place.out / "receipt.json").read_text(encoding="utf-8")
        output.put(escaped_json(receipt.rstrip()) + "\n")
    else:
        what |= {"validation": clips.validation, "imports": place.imports}
        report(found, place.out / _MODEL, **what)


def _run(start: Start, split: Split | None, clips: Clips, place: Place) -> tuple[Trained, bool]:
    """Train; how it ended, and whether this process is the one that tells."""
    from a2m2_zoo.features import default_cache
    from a2m2_zoo.training.distributed import joined
    from a2m2_zoo.training.session import Session
    from a2m2_zoo.video import Limits

    device = next(start.backbone.parameters()).device
    own = place.out / "generated" if split is None else default_cache()
    with joined(device) as ranks, _table(start.config.steps, quiet=not ranks.first) as table:
        session = Session(
            start,
            split,
            place.out,
            clips.cache or own,
            videos=start.augment is not None or start.config.backbone_lr > 0,
            half=clips.half,
            workers=clips.workers,
            limits=Limits(),
            complain=output.complain if ranks.first else lambda line: None,
            tell=lambda label, done, total: table({"note": f"{label}: {done} of {total}"}),
        )
        found = session.run(
            ranks,
            name=place.out.resolve().name,
            resume=place.resume,
            progress=table,
            tensorboard=place.tensorboard or None,
        )
        return found, ranks.first


def _settings(beginning: Beginning) -> dict[str, Any]:
    from a2m2_zoo.training.start import read_settings

    given = read_settings(beginning.settings or [])
    for name in ("steps", "way", "shot", "seed"):
        value = getattr(beginning, name)
        if value is not None and given.setdefault(name, value) != value:
            raise ArgumentError(f"--{name} {value} and --set {name}={given[name]}; give one")
    if isinstance(given.get("steps"), int):  # a warm-up that was not asked for must fit in
        given.setdefault("warmup", min(100, given["steps"] // 10))
    return given


def _start(given: Beginning, device: str, settings: dict[str, Any]) -> Start:
    from a2m2_zoo.training.recipes import recipe as find_recipe
    from a2m2_zoo.training.start import from_model, from_recipe

    chosen = _own_device(device)
    weights = given.backbone_weights
    if given.recipe is not None and (weights is not None or not find_recipe(given.recipe).cautious):
        return from_recipe(given.recipe, weights=weights, settings=settings).to(chosen)
    recogniser = options.open_model(given.model, options.Machine(device=str(chosen)))
    path = Path(given.model)
    return from_model(
        recogniser,
        folder=path if is_folder(path) else path.parent,
        method=given.method,
        from_scratch=given.from_scratch,
        recipe=given.recipe,
        settings=settings,
    ).to(chosen)


def _on_runtime(start: Start, runtime: options.Runtime, *, drawn: bool) -> Start:
    """With what computes the backbone, where clips go through it once."""
    from a2m2_zoo.backbones.onnx_run import with_runtime

    reason = (
        "the classes are drawn"
        if drawn
        else "the backbone is tuned"
        if start.config.backbone_lr > 0
        else "clips are augmented"
        if start.augment is not None
        else None
    )
    if reason is None:
        return replace(start, backbone=with_runtime(start.backbone, runtime.value))
    if runtime is options.Runtime.ONNXRUNTIME:
        raise ArgumentError(
            f"--runtime onnxruntime encodes each clip of DATA once, for a backbone that stays as it is, and "
            f"{reason}; leave it out"
        )
    return start


def _own_device(device: str) -> torch.device:
    """This process's device: of several on one machine each takes its own GPU."""
    from a2m2_zoo.zoo.load import find_device

    if device in ("auto", "cuda") and (local := os.environ.get("LOCAL_RANK")):
        import torch

        if torch.cuda.is_available():
            return find_device(f"cuda:{local}")
    return find_device(device)


def _tuned(start: Start) -> Start:
    config = replace(start.config, backbone_lr=start.config.lr * _TUNED)
    return replace(start, config=config)


@contextmanager
def _table(steps: int, *, quiet: bool) -> Iterator[Any]:
    from a2m2_zoo.training.logs import LiveTable

    if quiet:
        yield lambda row: None
        return
    with LiveTable(steps) as table:
        yield table
