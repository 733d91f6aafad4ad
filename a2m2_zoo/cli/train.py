"""`a2m2 train`: a head, or a head and its backbone, on clips of one's own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.files import check_file, exists, is_folder
from a2m2_zoo.cli import compare as shared
from a2m2_zoo.cli import options, output, signals
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from a2m2_zoo.training.dataset import Split
    from a2m2_zoo.training.loop import Trained
    from a2m2_zoo.training.start import Start

_MODEL = "model.safetensors"  # what a run's folder gets in the end
_TUNED = 0.1  # the backbone's learning rate as a share of the head's, if nobody says


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
        float,
        typer.Option("--hold-out", min=0, max=0.9, help="Share of DATA's classes to validate on."),
    ] = 0.2
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
        typer.Option("--recipe", help="A recipe, such as molo-resnet50-ssv2-small or a2m2-lite0."),
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
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="A setting, such as lr=3e-4 or method.eps=0.1."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it is computed, and where it goes."""

    out: Annotated[Path, typer.Option("--out", help="A folder for the run and its model.")]
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, to the last bit.")
    ] = False
    device: options.DeviceOption = "auto"
    threads: options.ThreadsOption = None
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Insist on TensorBoard's files.")
    ] = False
    json: Annotated[Path | None, typer.Option("--json", help="Write the receipt; - is stdout.")] = (
        None
    )


@grouped
def train(clips: Clips, beginning: Beginning, place: Place) -> None:
    """Train a method episode by episode and keep what is best on classes it never saw.

    One Ctrl-C finishes the step and saves; --resume goes on. Several GPUs: torchrun -m a2m2_zoo train ...

    Exit code 0: trained; 2: the call is wrong; 130: stopped by Ctrl-C, saved; 143: the same by SIGTERM.
    """
    given = _settings(beginning.settings or [], steps=beginning.steps)
    _check(clips, beginning, place)
    split = None if clips.data is None else _split(clips.data, clips, seed=given.get("seed", 0))
    start = _start(beginning, place.device, given)
    if beginning.tune_backbone and not start.config.backbone_lr:
        start = _tuned(start)
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
    if place.json is not None:
        receipt = (place.out / "receipt.json").read_text(encoding="utf-8")
        shared.write_result(place.json, receipt.rstrip())
    if place.json != Path("-"):
        _report(found, place.out / _MODEL, clips.validation)


def _check(clips: Clips, beginning: Beginning, place: Place) -> None:
    """Refuse options that contradict each other, before anything is read."""
    if beginning.recipe is not None and (beginning.method is not None or beginning.from_scratch):
        raise ArgumentError("--recipe names its own method and its own start; leave those out")
    if beginning.recipe is None and beginning.backbone_weights is not None:
        raise ArgumentError("--backbone-weights is for --recipe; --model brings its own backbone")
    if clips.data is None:
        _check_drawn(clips, beginning.recipe)
    if place.json is not None and place.json != Path("-"):
        if not is_folder(place.json.parent):
            raise SaveError(
                f"cannot write {str(place.json)!r}: its folder does not exist; make it first"
            )
        check_file(place.json)


def _check_drawn(clips: Clips, recipe: str | None) -> None:
    """Refuse to go without DATA, unless the recipe draws its own."""
    from a2m2_zoo.training.recipes import recipe as find_recipe

    if recipe is None or find_recipe(recipe).generated is None:
        raise ArgumentError(
            "DATA is missing; give a folder with one folder of clips per class (--recipe a2m2-lite0 alone "
            "draws its own)"
        )
    if clips.validation or clips.list_file or clips.benchmark:
        raise ArgumentError(
            "--validation, --list and --benchmark go with DATA; give it, or leave them out"
        )


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


def _settings(pairs: list[str], *, steps: int | None) -> dict[str, Any]:
    from a2m2_zoo.training.start import read_settings

    given = read_settings(pairs)
    if steps is not None:
        given["steps"] = steps
    if isinstance(given.get("steps"), int):  # a warm-up that was not asked for must fit in
        given.setdefault("warmup", min(100, given["steps"] // 10))
    return given


def _split(data: Path, clips: Clips, *, seed: Any) -> Split:
    """Training and held-out classes: of two folders, of a benchmark's splits, or of one folder."""
    from a2m2_zoo.data.lists import Listing, open_dataset
    from a2m2_zoo.training.dataset import Split, hold_out

    validation, list_file, benchmark = clips.validation, clips.list_file, clips.benchmark
    official = list_file is not None or benchmark is not None
    one = list_file is not None and exists(list_file) and not is_folder(list_file)
    if one and validation is None:
        raise ArgumentError(
            "--list names one file; give the folder that holds the lists of train and val, or --validation"
        )

    def opened(folder: Path, split: str) -> Listing:
        found = open_dataset(folder, list_file=list_file, benchmark=benchmark, split=split)
        if found.missing:
            output.complain(f"{len(found.missing)} listed {split} videos are not there")
        return found

    train = opened(data, "train").classes
    if validation is not None:
        return Split(train, open_dataset(validation).classes)
    if official:
        return Split(train, opened(data, "val").classes)
    return hold_out(train, clips.share, seed=seed if isinstance(seed, int) else 0)


def _start(given: Beginning, device: str, settings: dict[str, Any]) -> Start:
    from a2m2_zoo.training.start import from_model, from_recipe

    chosen = _own_device(device)
    if given.recipe is not None:
        weights = given.backbone_weights
        return from_recipe(given.recipe, weights=weights, settings=settings).to(chosen)
    recogniser = options.open_model(given.model, str(chosen))
    path = Path(given.model)
    return from_model(
        recogniser,
        folder=path if is_folder(path) else path.parent,
        method=given.method,
        from_scratch=given.from_scratch,
        settings=settings,
    ).to(chosen)


def _own_device(device: str) -> torch.device:
    """This process's device: of several on one machine each takes its own GPU."""
    from a2m2_zoo.zoo.load import find_device

    if device in ("auto", "cuda") and (local := os.environ.get("LOCAL_RANK")):
        import torch

        if torch.cuda.is_available():
            return find_device(f"cuda:{local}")
    return find_device(device)


def _tuned(start: Start) -> Start:
    from dataclasses import replace

    config = replace(start.config, backbone_lr=start.config.lr * _TUNED)
    return replace(start, config=config)


def _report(found: Trained, model: Path, validation: Path | None) -> None:
    if found.best_accuracy is None:
        lines = [f"{found.step} steps, no held-out classes to measure them on"]
    else:
        first = [value for name, value in found.curve[0].items() if name != "step"]
        lines = [
            f"{found.best_accuracy:.1f} % on held-out classes at step {found.best_step} of {found.step} "
            f"(before training {sum(first) / len(first):.1f} %)"
        ]
    if found.skipped:
        lines.append(f"{found.skipped} steps were skipped: a number was not finite")
    seen = "FOLDER_OF_NEW_CLASSES" if validation is None else shlex.quote(str(validation))
    file = shlex.quote(str(model))
    lines += [
        f"saved {model}",
        f"  a2m2 evaluate {seen} --model {file}",
        f"  a2m2 classify CLIP --supports FOLDER --model {file}",
    ]
    output.say(*lines, whole=True)


@contextmanager
def _table(steps: int, *, quiet: bool) -> Iterator[Any]:
    from a2m2_zoo.training.logs import LiveTable

    if quiet:
        yield lambda row: None
        return
    with LiveTable(steps) as table:
        yield table
