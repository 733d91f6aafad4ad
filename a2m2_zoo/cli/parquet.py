"""Answers as a Parquet file: a row per clip, the columns of CSV with their types."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.bounded_json import MAX_BYTES, parse
from a2m2_zoo._utils.files import check_file, exists, open_regular, write_atomically
from a2m2_zoo.cli.files import check_ending
from a2m2_zoo.errors import ArgumentError, DependencyError

_GROUP = 4096  # rows that are written together

#: Answers, as JSON has them, from the first again at each call.
Rows = Callable[[], Iterable[Mapping[str, Any]]]


def check_ready(path: Path, *, beside: Iterable[str | Path | None]) -> None:
    """Refuse early what ``write`` would refuse after the work is done, or should not do.

    Args:
        path: The file.
        beside: The files of lines that it is made of.

    Raises:
        ArgumentError: It is named as a file of another kind, or is one of those.
        DependencyError: pyarrow is not installed.
        SaveError: ``path`` cannot be written.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f'--parquet needs pyarrow, which is not installed ({error}): pip install "a2m2_zoo[archive]"'
        ) from error
    check_ending("--parquet", path, ".parquet", ".pq")
    if os.path.realpath(path) in [os.path.realpath(other) for other in beside if other is not None]:
        raise ArgumentError(f"--parquet {str(path)!r} is the file of lines, too; name another")
    check_file(path)


def write(path: Path, rows: Rows) -> None:
    """Write answers, whole or not at all; of several for one query the last counts.

    Args:
        path: The file; one that is there is replaced.
        rows: Answers and failures; gone through twice, so that they need not be in memory.

    Raises:
        SaveError: It cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    last: dict[int, int] = {}
    names: set[str] = set()
    for place, row in enumerate(rows()):
        last[hash(row["query"])] = place
        names.update(map(_text, row.get("probabilities", ())))
    text, number, whole = pa.string(), pa.float64(), pa.int64()
    columns = {
        **dict.fromkeys(("query", "label", "error"), text),
        **dict.fromkeys(("probability", "margin", "known", "confidence"), number),
        "rejected": pa.bool_(),
        "model": text,
        "frames": pa.list_(whole),
        "pose_frames": whole,
        "seconds": number,
        "warnings": pa.list_(text),
        "text_weight": number,
        **dict.fromkeys(("sha256", "made_by"), text),
        **{f"probability:{name}": number for name in sorted(names)},
    }
    schema = pa.schema(list(columns.items()))

    def fill(scratch: Path) -> None:
        kept = (
            _flat(row, columns)
            for place, row in enumerate(rows())
            if last[hash(row["query"])] == place
        )
        with parquet.ParquetWriter(scratch, schema) as writer:
            while group := list(islice(kept, _GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))

    write_atomically(path, fill)


def records(
    paths: Iterable[Path | None], keep: Callable[[Mapping[str, Any]], bool]
) -> Iterator[Mapping[str, Any]]:
    """The records of files of JSON lines that are to be kept; what is none is passed over."""
    for path in dict.fromkeys(paths):
        if path is None or not exists(path):
            continue
        with open_regular(path) as file:
            while line := file.readline(MAX_BYTES):
                with suppress(ValueError):
                    record = parse(line)
                    sound = isinstance(record, dict) and isinstance(record.get("query"), str)
                    if sound and keep(record):
                        yield record


def _flat(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    found = {name: row.get(name) for name in columns}
    found |= {
        f"probability:{_text(name)}": value for name, value in row.get("probabilities", {}).items()
    }
    if row.get("made_by") is not None:
        found["made_by"] = json.dumps(row["made_by"], sort_keys=True)
    found["warnings"] = [_text(said) for said in row.get("warnings", ())]
    return {name: _text(v) if isinstance(v, str) else v for name, v in found.items()}


def _text(text: str) -> str:
    """Text that UTF-8 can hold; half a character becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()
