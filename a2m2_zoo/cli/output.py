"""Answers on stdout, progress and complaints on stderr."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box, markup
from rich.table import Table

from a2m2_zoo._utils.console import SafeConsole, WholeWords
from a2m2_zoo._utils.notebooks import following, in_notebook
from a2m2_zoo._utils.printable import escaped_json, printable
from a2m2_zoo._utils.streams import Stream
from a2m2_zoo.errors import A2M2Error

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.progress import Progress

    from a2m2_zoo.recognition.episode import Prediction

stderr = SafeConsole(stderr=True)
# What spreadsheets take for a formula; the last four are how some of them read the first.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)

_PERIOD = 60.0  # seconds between lines of progress
_NAMED = 3  # clips below a table; the others are counted


_verbose = False


def speak(*, quiet: bool, verbose: bool) -> None:
    """How much is said beside answers and faults.

    Args:
        quiet: No progress, no notes.
        verbose: Also what ``detail`` is given.
    """
    global _verbose
    stderr.quiet, _verbose = quiet, verbose


def detail(line: object) -> None:
    """One line on stderr for who asked for details."""
    if _verbose:
        complain(line)


def wrote(path: object, what: str = "wrote") -> None:
    """Say on stderr what lies where now."""
    say(f"{what}: {path}", whole=True, to=stderr)


def stdout() -> SafeConsole:
    """The console for answers: as wide as it needs to be where nobody looks."""
    return SafeConsole(width=None if sys.stdout.isatty() else 200, soft_wrap=False)


def escape(text: str) -> str:
    """Text of any origin for a table: neither mark-up nor control characters of it count."""
    return markup.escape(printable(text))


__all__ = [
    "answer_row",
    "answers_alone",
    "complain",
    "detail",
    "escape",
    "flat",
    "json_text",
    "lost",
    "predictions_table",
    "progress",
    "put",
    "say",
    "short",
    "speak",
    "stderr",
    "stdout",
    "table",
    "write_csv",
    "write_json",
    "wrote",
]


def table(
    *columns: str, right: Sequence[str] = (), whole: Sequence[str] = (), title: str | None = None
) -> Table:
    """An empty table in the house's style.

    Columns named in ``right`` align to the right; lines of those in ``whole`` are never broken, since they
    hold what is copied.
    """
    made = WholeWords(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        side: JustifyMethod = "right" if name in right else "left"
        made.add_column(name, justify=side, overflow="fold", no_wrap=name in whole)
    return made


def say(*lines: str, whole: bool = False, to: SafeConsole | None = None) -> None:
    """Plain lines, in which nothing is mark-up.

    Args:
        lines: The lines.
        whole: Do not break them, since they hold what is copied: a path or a command.
        to: Stdout if None.
    """
    console = to or stdout()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=whole)


def complain(line: object) -> None:
    """One line on stderr."""
    # With its end in one piece: a line of progress may come from another thread.
    print(f"a2m2: {printable(str(line))}\n", end="", file=sys.stderr, flush=True)


_held: list[Any] = []  # stdout, while it is kept for answers


@contextmanager
def answers_alone(wanted: bool) -> Iterator[None]:
    """Keep stdout for answers: what a library prints there meanwhile, in whatever thread, is dropped."""
    if not wanted:
        yield
        return
    _held.append(sys.stdout)
    try:
        with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
            yield
    finally:
        _held.pop()


def _answers() -> Any:
    return _held[-1] if _held else sys.stdout


def put(text: str) -> None:
    """Text for programs on stdout: UTF-8 whatever the locale is."""
    stream = _answers()
    if isinstance(stream, Stream):
        stream.put(text, "utf-8" if stream.utf8 else None)
    else:
        stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    stream.flush()


def lost() -> bool:
    """Whether nobody reads stdout any more: its reader left, the disk is full, or it is closed."""
    stream = _answers()
    return isinstance(stream, Stream) and stream.fault is not None


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """JSON that is valid, that UTF-8 can hold and that cannot steer a terminal.

    What is no number becomes null. Half a character, which stands for a byte of a file's name, becomes its
    escape.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return escaped_json(text)


def write_json(value: Any, *, indent: int | None = 2) -> None:
    """JSON on stdout."""
    text = json_text(value, indent=indent)
    stream = _answers()
    if isinstance(stream, Stream) and not stream.utf8:
        text = json.dumps(json.loads(text), indent=indent)
    put(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> None:
    """Rows as CSV on stdout.

    Args:
        rows: Values by name.
        names: The first columns; those of the fullest row follow, then the others.
    """
    fullest = max(rows, key=len, default={})
    columns = list(dict.fromkeys([*names, *fullest, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    put(text.getvalue())


def _cell(value: Any) -> Any:
    """Text that a spreadsheet does not compute, marked by an apostrophe; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    mark = "'" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else ""
    return mark + printable(value)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Progress]:
    """A bar on stderr with one task; in a notebook one below its cell; else a line a minute."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not sys.stderr.isatty() or stderr.quiet or in_notebook(),
    )
    with bar:
        bar.add_task(label, total=total)
        with _beside(bar) if bar.disable and not stderr.quiet else nullcontext():
            yield bar


def _beside(bar: Progress) -> AbstractContextManager[None]:
    """How far it is where a bar of the terminal's has no place: a bar of a notebook's, or lines."""

    def look() -> tuple[str, float, float]:
        (task,) = bar.tasks
        return markup.render(task.description).plain, task.completed, task.total or 0

    return following(look) if in_notebook() else _minutes(bar)


@contextmanager
def _minutes(bar: Progress) -> Iterator[None]:
    """Say how far it is, every minute."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_PERIOD):
            task = bar.tasks[0]
            line = f"{markup.render(task.description).plain}: {task.completed:.0f}"
            if task.total:
                line += f" of {task.total:.0f}"
            complain(f"{line}, {task.elapsed or 0:.0f} s so far")

    teller = threading.Thread(target=tell, name="a2m2-progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def predictions_table(
    predictions: Sequence[Prediction], truths: Sequence[str] | None = None
) -> Table:
    """One row per query, and below what to know of some; with ``truths``, whether the answer is right."""
    open_set = any(p.known is not None for p in predictions)
    columns = ["query", *(["truth"] if truths else []), "answer", "probability", "margin"]
    columns[-1:-1] = ["confidence"] if open_set else []
    made = table(*columns, "runner-up", right=("probability", "confidence", "margin"))
    if notes := _notes(predictions):  # not in a column, which would leave the others no room
        made.caption = "\n".join(map(escape, notes))
        made.caption_justify, made.caption_style = "left", ""
    for i, p in enumerate(predictions):
        ranked = list(p.probabilities.items())
        runner_up = f"{escape(ranked[1][0])} {ranked[1][1]:.2f}" if len(ranked) > 1 else ""
        name = escape(p.label)
        answer = f"[yellow]unknown[/] ({name}?)" if p.rejected else f"[bold]{name}[/]"
        if truths:
            answer = f"[{'green' if p.label == truths[i] else 'red'}]{answer}[/]"
        made.add_row(
            escape(short(p.query)),
            *([escape(truths[i])] if truths else []),
            answer,
            f"{p.probability:.2f}",
            *([f"{p.confidence:.2f}"] if open_set else []),
            f"{p.margin:.2f}",
            runner_up,
        )
    return made


def _notes(predictions: Sequence[Prediction]) -> list[str]:
    """Each warning once, with the clips that it is about."""
    about: dict[str, list[str]] = {}
    for p in predictions:
        for said in p.warnings:
            about.setdefault(said, []).append(short(p.query))
    notes = []
    for said, clips in about.items():
        named = ", ".join(clips[:_NAMED])
        if len(clips) > _NAMED:
            named += f" and {len(clips) - _NAMED} more"
        if 1 < len(clips) == len(predictions):
            named = f"all {len(clips)} clips"
        notes.append(f"{named}: {said}")
    return notes


def answer_row(query: object, answer: Prediction | A2M2Error) -> dict[str, Any]:
    """An answer as plain values, or why there is none; the query by the name that finds it again."""
    if isinstance(answer, A2M2Error):
        return {"query": str(query), "error": str(answer)}
    return {**answer.to_dict(), "query": str(query)}


def flat(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Such rows for CSV: one column per class."""
    from a2m2_zoo.recognition.prediction import flat_row

    return [flat_row(row) for row in rows]


def short(path: str, width: int = 48) -> str:
    """The end of a long path, which tells more than its start."""
    return path if len(path) <= width else "..." + path[-(width - 3) :].lstrip(os.sep)
