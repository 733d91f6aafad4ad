"""Answers on stdout, progress and complaints on stderr."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from a2m2_zoo.episode import Prediction

stderr = Console(stderr=True)


def stdout() -> Console:
    """The console for answers: as wide as it needs to be where nobody looks."""
    return Console(width=None if sys.stdout.isatty() else 200, soft_wrap=False)


__all__ = [
    "complain",
    "escape",
    "prediction_rows",
    "predictions_table",
    "progress",
    "stderr",
    "stdout",
    "table",
    "write_csv",
    "write_json",
]


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """An empty table in the house's style; columns named in ``right`` align to the right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return made


def complain(line: object) -> None:
    """One line on stderr."""
    print(f"a2m2: {line}", file=sys.stderr, flush=True)


def write_json(value: Any) -> None:
    """JSON on stdout."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    print(flush=True)


def write_csv(rows: Sequence[dict[str, Any]]) -> None:
    """Rows as CSV on stdout; columns in the order they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    sys.stdout.flush()


@contextmanager
def progress(label: str, total: int) -> Iterator[Progress]:
    """A bar on stderr with one task; nothing is drawn where stderr is not a terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        bar.add_task(label, total=total)
        yield bar


def predictions_table(
    predictions: Sequence[Prediction], truths: Sequence[str] | None = None
) -> Table:
    """One row per query; with ``truths`` a column that says whether the answer is right."""
    notes = any(p.warnings for p in predictions)
    judged = any(p.known is not None for p in predictions)
    columns = ["query", *(["truth"] if truths else []), "answer", "probability", "margin"]
    columns[-1:-1] = ["confidence"] if judged else []
    columns += ["runner-up", *(["note"] if notes else [])]
    made = table(*columns, right=("probability", "confidence", "margin"))
    for i, p in enumerate(predictions):
        ranked = list(p.probabilities.items())
        runner_up = f"{escape(ranked[1][0])} {ranked[1][1]:.2f}" if len(ranked) > 1 else ""
        name = escape(p.label)
        answer = f"[yellow]unknown[/] ({name}?)" if p.rejected else f"[bold]{name}[/]"
        if truths:
            answer = f"[{'green' if p.label == truths[i] else 'red'}]{answer}[/]"
        made.add_row(
            escape(_short(p.query)),
            *([escape(truths[i])] if truths else []),
            answer,
            f"{p.probability:.2f}",
            *([f"{p.confidence:.2f}"] if judged else []),
            f"{p.margin:.2f}",
            runner_up,
            *([escape("; ".join(p.warnings))] if notes else []),
        )
    return made


def prediction_rows(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Predictions as flat rows for CSV, one column per class."""
    rows = []
    for prediction in predictions:
        row = prediction.to_dict()
        scores = row.pop("scores")
        row.pop("prompts", None)
        row["frames"] = " ".join(map(str, row["frames"]))
        row["warnings"] = "; ".join(row["warnings"])
        row.update({f"score:{name}": scores[name] for name in sorted(scores)})
        rows.append(row)
    return rows


def _short(path: str, width: int = 48) -> str:
    """The end of a long path, which tells more than its start."""
    return path if len(path) <= width else "..." + path[-(width - 3) :].lstrip(os.sep)
