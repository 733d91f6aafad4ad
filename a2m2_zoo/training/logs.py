"""What a run tells: JSON lines for programs, TensorBoard for curves, a table for who watches."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.files import read_regular, write_atomically
from a2m2_zoo._utils.notebooks import Bar, in_notebook
from a2m2_zoo.errors import CheckpointError, DependencyError, SaveError

#: One row: ``step`` and what was measured there; ``validation`` maps shots to percent.
Row = Mapping[str, Any]

FILE = "log.jsonl"
_MOST_BYTES = 1 << 30


class Log:
    """Rows on disk: ``log.jsonl``, and events for TensorBoard where it is installed.

    Args:
        out: Folder of the run.
        after: Rows of later steps are cut off: a resumed run writes them again.
        tensorboard: True asks for it, False does without, None takes it where it is installed.

    Raises:
        DependencyError: TensorBoard was asked for and is not installed.
        SaveError: The log cannot be written.
    """

    def __init__(self, out: Path, *, after: int, tensorboard: bool | None) -> None:
        self._path = out / FILE
        kept = [
            json.dumps(row, allow_nan=False) for row in read_log(self._path) if row["step"] <= after
        ]
        text = "".join(f"{line}\n" for line in kept)
        write_atomically(self._path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
        there = importlib.util.find_spec("tensorboard") is not None
        if tensorboard and not there:
            raise DependencyError(
                "tensorboard is not installed; pip install 'a2m2_zoo[train]', or leave it out: "
                f"{FILE} holds the same figures"
            )
        self._board = _writer(out, after) if there and tensorboard is not False else None

    def write(self, row: Row) -> None:
        """Add one row; it is on disk when this returns.

        Raises:
            SaveError: It cannot be written.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")
        except OSError as error:
            raise SaveError(
                f"cannot write {str(self._path)!r}: {error.strerror or error}; make room and resume"
            ) from error
        if self._board is not None:
            for name, value in _scalars(row):
                self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Write what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a ``log.jsonl``; a last line that was cut short is passed over.

    Args:
        path: It may be missing.

    Raises:
        CheckpointError: It cannot be read, or is no regular file.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        text = read_regular(path, most=_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise CheckpointError(
            f"cannot read {str(path)!r}: {error.strerror or error}; move it away"
        ) from error
    rows = []
    for line in text.splitlines():
        try:
            row = parse(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            rows.append(row)
    return rows


def _writer(out: Path, after: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"), purge_step=after + 1 if after else None)


def _scalars(row: Row) -> list[tuple[str, float]]:
    found = []
    for name, value in row.items():
        if isinstance(value, Mapping):
            found += [(f"{name}/{key}", float(part)) for key, part in value.items()]
        elif name != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((name, float(value)))
    return found


class LiveTable:
    """A table on stderr that keeps itself up to date; call it with every row.

    Args:
        steps: Steps of the run.

    Where stderr is no terminal, nothing is drawn; but a notebook gets a bar.
    """

    def __init__(self, steps: int) -> None:
        from rich.live import Live

        from a2m2_zoo._utils.console import SafeConsole

        self._steps, self._at = steps, 0
        self._facts: dict[str, str] = {}
        console = SafeConsole(stderr=True)
        shown = console.is_terminal and not in_notebook()  # whose streams claim to be terminals
        self._bar = Bar()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if shown else None

    def __enter__(self) -> LiveTable:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, row: Row) -> None:
        """Take the figures of a row on and draw."""
        self._facts.pop("note", None)
        self._facts.update(_shown(row, self._steps))
        self._at = row.get("step", self._at)
        if self._live is not None:
            self._live.update(self._table())
        else:
            words = ", ".join(f"{name} {value}" for name, value in self._facts.items())
            self._bar.show(words, self._at / self._steps)

    def _table(self) -> Any:
        from rich.table import Table

        made = Table.grid(padding=(0, 2))
        for name, value in self._facts.items():
            made.add_row(name, value)
        return made


def _shown(row: Row, steps: int) -> dict[str, str]:
    """What a person reads of a row."""
    found = {"step": f"{row['step']} of {steps}"} if "step" in row else {}
    if "loss" in row:
        parts = ", ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
        found["loss"] = f"{row['loss']:.4f} ({parts})"
        found["learning rate"] = f"{row['lr']:.2e}"
        found["gradient"] = f"{row['grad_norm']:.2f}"
        found["speed"] = f"{row['clips_per_second']:.0f} clips/s"
    if "validation" in row:
        parts = ", ".join(f"{shot}-shot {value:.1f} %" for shot, value in row["validation"].items())
        found["held out"] = f"{parts} at step {row['step']}"
        found["best"] = f"{row['best']:.1f} % at step {row['best_step']}"
    if "note" in row:
        found["note"] = str(row["note"])
    return found
