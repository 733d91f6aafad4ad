"""`a2m2 train`: a head, or a head and its backbone, on clips of one's own."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.files import check_file, exists, is_folder
from a2m2_zoo.cli import compare as shared
from a2m2_zoo.cli import options, output, signals
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    import torch

    from a2m2_zoo.training.dataset import Split
    from a2m2_zoo.training.loop import Trained
    from a2m2_zoo.training.start import Start

_TUNED = 0.1  # the backbone's learning rate as a share of the head's, if nobody says


def train(
    data: shared.DataArgument,
    out: Annotated[Path, typer.Option("--out", help="A folder for the run and its model.")],
    method: Annotated[
        str | None,
        typer.Option("--method", help="A method's name.", show_default="the model's own"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="A published recipe, such as molo-resnet50-ssv2-small."),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option("--validation", help="A folder like DATA with other classes."),
    ] = None,
    share: Annotated[
        float,
        typer.Option("--hold-out", min=0, max=0.9, help="Share of DATA's classes to validate on."),
    ] = 0.2,
    model: Annotated[
        str,
        typer.Option("--model", help="Gives backbone and preprocessing, and a head to start from."),
    ] = DEFAULT_MODEL,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Start from random weights, not the model's head."),
    ] = False,
    tune_backbone: Annotated[
        bool, typer.Option("--tune-backbone", help="Train the backbone too, from videos.")
    ] = False,
    backbone_weights: Annotated[
        Path | None,
        typer.Option("--backbone-weights", help="A recipe's backbone, as safetensors."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of the optimiser.", show_default="2000")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="A setting, such as lr=3e-4 or method.eps=0.1."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, to the last bit.")
    ] = False,
    list_file: shared.ListOption = None,
    benchmark: shared.BenchmarkOption = None,
    cache: shared.CacheOption = None,
    half: Annotated[
        bool, typer.Option("--half", help="Keep features in float16: half the memory.")
    ] = False,
    device: options.DeviceOption = "auto",
    threads: options.ThreadsOption = None,
    workers: options.WorkersOption = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Insist on TensorBoard's files.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the receipt; - is stdout.")
    ] = None,
) -> None:
    """Train a method episode by episode and keep what is best on classes it never saw.

    One Ctrl-C finishes the step and saves; --resume goes on. Several GPUs: torchrun -m a2m2_zoo train ...

    Exit code 0: trained; 2: the call is wrong; 130: stopped by Ctrl-C, saved; 143: the same by SIGTERM.
    """
    given = _settings(settings or [], steps=steps)
    if recipe is not None and (method is not None or from_scratch):
        raise ArgumentError(
            "--recipe names its own method and starts from scratch; leave those out"
        )
    if json is not None and json != Path("-"):
        if not is_folder(json.parent):
            raise SaveError(f"cannot write {str(json)!r}: its folder does not exist; make it first")
        check_file(json)
    split = _split(data, validation, share, list_file, benchmark, seed=given.get("seed", 0))
    start = _start(model, device, method, recipe, backbone_weights, from_scratch, given)
    if tune_backbone and not start.config.backbone_lr:
        start = _tuned(start)
    from a2m2_zoo.training.distributed import joined

    place = next(start.backbone.parameters()).device
    if threads is not None:
        import torch

        torch.set_num_threads(threads)  # gradients are PyTorch's own, and so are its threads
    from a2m2_zoo.features import default_cache
    from a2m2_zoo.training.session import Session
    from a2m2_zoo.video import Limits

    with joined(place) as ranks, _table(start.config.steps, quiet=not ranks.first) as table:
        session = Session(
            start,
            split,
            out,
            default_cache() if cache is None else cache,
            videos=start.augment is not None or start.config.backbone_lr > 0,
            half=half,
            workers=workers,
            limits=Limits(),
            complain=output.complain if ranks.first else lambda line: None,
            tell=lambda label, done, total: table({"note": f"{label}: {done} of {total}"}),
        )
        found = session.run(
            ranks,
            name=out.resolve().name,
            resume=resume,
            progress=table,
            tensorboard=tensorboard or None,
        )
    if not ranks.first:
        return
    if found.stopped == "interrupted":
        output.complain(
            f"stopped after step {found.step} and saved in {str(out)!r}; the same command with --resume "
            "goes on from there"
        )
        if found.signal:
            signals.note(found.signal)
        raise typer.Exit(signals.exit_code())
    if json is not None:
        shared.write_result(json, (out / "receipt.json").read_text(encoding="utf-8").rstrip())
    if json != Path("-"):
        _report(found, session.model, validation)


def _settings(pairs: list[str], *, steps: int | None) -> dict[str, Any]:
    from a2m2_zoo.training.start import read_settings

    given = read_settings(pairs)
    if steps is not None:
        given["steps"] = steps
    if isinstance(given.get("steps"), int):  # a warm-up that was not asked for must fit in
        given.setdefault("warmup", min(100, given["steps"] // 10))
    return given


def _split(
    data: Path,
    validation: Path | None,
    share: float,
    list_file: Path | None,
    benchmark: str | None,
    *,
    seed: Any,
) -> Split:
    """Training and held-out classes: of two folders, of a benchmark's splits, or of one folder."""
    from a2m2_zoo.data.lists import Listing, open_dataset
    from a2m2_zoo.training.dataset import Split, hold_out

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
    return hold_out(train, share, seed=seed if isinstance(seed, int) else 0)


def _start(
    model: str,
    device: str,
    method: str | None,
    recipe: str | None,
    weights: Path | None,
    from_scratch: bool,
    settings: dict[str, Any],
) -> Start:
    from a2m2_zoo.training.start import from_model, from_recipe

    chosen = _own_device(device)
    if recipe is not None:
        return from_recipe(recipe, weights=weights, settings=settings).to(chosen)
    if weights is not None:
        raise ArgumentError("--backbone-weights is for --recipe; --model brings its own backbone")
    recogniser = options.open_model(model, str(chosen))
    path = Path(model)
    return from_model(
        recogniser,
        folder=path if is_folder(path) else path.parent,
        method=method,
        from_scratch=from_scratch,
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
    console = output.stdout()
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
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _table(steps: int, *, quiet: bool) -> Iterator[Any]:
    from a2m2_zoo.training.logs import LiveTable

    if quiet:
        yield lambda row: None
        return
    with LiveTable(steps) as table:
        yield table
