"""Columns of the archive's tables, and conditions on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from a2m2_zoo.archive.rows import Window

CLIP_COLUMNS = ("key", "uri", "stamp", "windows", "seconds", "warnings")
_ASKED = 500  # keys in one question


def record_table(record: Mapping[str, Any]) -> pa.Table:
    """The record as a table of one row."""
    import pyarrow as pa

    return pa.table({"json": [json.dumps(record)]})


def bases_schema() -> pa.Schema:
    """Of what makes search vectors, and of how many windows it was fitted to."""
    import pyarrow as pa

    return pa.schema([("number", pa.int32()), ("windows", pa.int32()), ("axes", pa.binary())])


def clips_schema() -> pa.Schema:
    """Of the clips."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    kinds = (text, pa.binary(), text, pa.int32(), number, text)  # a path is bytes
    return pa.schema(list(zip(CLIP_COLUMNS, kinds, strict=True)))


def windows_schema(dims: int, basis: int) -> pa.Schema:
    """Of the windows; the number of the basis stands in its metadata, so that both change at once."""
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.string()),
            ("start", pa.float64()),
            ("end", pa.float64()),
            ("rate", pa.float32()),
            ("vector", pa.list_(pa.float16(), dims)),
            ("descriptors", pa.binary()),
            ("poster", pa.binary()),
        ],
        metadata={"basis": str(basis)},
    )


def vector_column(vectors: np.ndarray[Any, Any]) -> pa.Array:
    """Search vectors as a column."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def windows_table(rows: Sequence[tuple[str, Window]], vectors: np.ndarray[Any, Any]) -> pa.Table:
    """Windows, given with their clips' keys, as a table."""
    import pyarrow as pa

    columns = {
        "key": [key for key, _ in rows],
        **{
            name: [getattr(window, name) for _, window in rows]
            for name in ("start", "end", "rate", "descriptors", "poster")
        },
        "vector": vector_column(vectors),
    }
    schema = windows_schema(vectors.shape[1], 0).remove_metadata()
    return pa.table([columns[name] for name in schema.names], schema=schema)


def among(column: str, values: Sequence[str]) -> Iterator[str]:
    """Conditions that hold for some of the values each."""
    for start in range(0, len(values), _ASKED):
        some = ", ".join(f"'{value}'" for value in values[start : start + _ASKED])
        yield f"{column} IN ({some})"
