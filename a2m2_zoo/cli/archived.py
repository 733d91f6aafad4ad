"""`a2m2 classify --archive`: every window of an archive labelled, no frame decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from a2m2_zoo._utils.files import check_file, exists, write_atomically
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.archive import ArchiveModel, opened
from a2m2_zoo.cli.classify import Wanted, read_supports, show
from a2m2_zoo.cli.lines import Lines
from a2m2_zoo.errors import ArgumentError

if TYPE_CHECKING:
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.video import Limits

_STDOUT = "-"


def label_all(
    archive: str,
    supports: Path,
    model: str | None,
    *,
    wanted: Wanted,
    machine: options.Machine,
    answers: Lines,
    limits: Limits,
    pose: bool,
) -> None:
    """Label every window, in the order in which they were added."""
    for name, given in (
        ("--explain", wanted.explain),
        ("--transductive", wanted.transductive),
        ("--resume", answers.resume),
        ("--shard", answers.shard),
        ("--parquet", answers.parquet),
        ("--no-pose: it holds people as they were seen", not pose),
    ):
        if given:
            raise typer.BadParameter(f"--archive does not go with {name}; leave it out")
    target = answers.jsonl
    if target not in (None, _STDOUT):
        check_file(target)
        if exists(target):
            raise ArgumentError(f"{target!r} is there already; name another file, or remove it")
    place = ArchiveModel(
        device=machine.device, runtime=machine.runtime, threads=machine.threads, model=model
    )
    found = opened(archive, place)
    bank, broken = read_supports(supports, found.model, workers=None, limits=limits)
    labelled = found.classify(bank, top_k=wanted.top_k, reject_below=wanted.reject_below)
    with output.progress("classifying", len(found)) as bar:

        def told() -> Iterator[Prediction]:
            for answer in labelled:
                bar.advance(bar.task_ids[0])
                yield answer

        if target is None:
            rows = [(answer.query, answer) for answer in told()]
        elif target == _STDOUT:
            _put(told(), lambda line: output.put(line))
        else:
            write_atomically(target, lambda file: _written(file, told()))
    if target is None:
        show(rows, answers.form)
    if broken:
        raise typer.Exit(FAILED)


def _written(file: Path, answers: Iterator[Prediction]) -> None:
    with file.open("w", encoding="utf-8") as lines:
        _put(answers, lines.write)


def _put(answers: Iterator[Prediction], put: Callable[[str], object]) -> None:
    for answer in answers:
        put(output.json_text(output.answer_row(answer.query, answer), indent=None) + "\n")
