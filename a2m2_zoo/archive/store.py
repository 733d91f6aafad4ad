"""The archive's tables in LanceDB: what is read of them and what is written, each in one piece.

``record`` says what the archive is, ``bases`` holds what turns summaries into search vectors, ``clips`` what
is there, ``windows`` the rest. A clip is in the archive once it is in ``clips``, which is written after its
windows: windows without a clip are what a run that was ended has left, and are passed over and removed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo._utils.arguments import path_text
from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.words import counted
from a2m2_zoo.archive.faults import damaged, lancedb_or_say, quiet, reported
from a2m2_zoo.archive.schemas import (
    CLIP_COLUMNS,
    among,
    bases_schema,
    clips_schema,
    record_table,
    windows_schema,
    windows_table,
)
from a2m2_zoo.archive.vectors import Basis
from a2m2_zoo.errors import ArchiveError

if TYPE_CHECKING:
    import pyarrow as pa

    from a2m2_zoo.archive.rows import ClipRows, Window

_log = logging.getLogger("a2m2_zoo")
#: Of the tables; another number is another form.
VERSION = 2
_TABLES = frozenset({"record", "bases", "clips", "windows"})
#: Lists of the index that are searched, of as many as the root of the windows: at least twenty thousand
#: windows, far more than anybody asks for.
_LISTS = 64


class Store:
    """An archive's tables. Made by ``open_store``.

    Attributes:
        uri: Where they are.
        record: What the archive is, plain values.
    """

    def __init__(self, uri: str, database: Any, record: dict[str, Any]) -> None:
        self.uri, self.record = uri, record
        self._database = database
        self._tables: dict[str, Any] = {}
        self._bases: dict[int, Basis] = {}

    # Reading -----------------------------------------------------------------------------------------

    def table(self, name: str) -> Any:
        """One of the tables, as it is now."""
        with reported(self.uri):
            if name not in self._tables:
                self._tables[name] = self._database.open_table(name)
            self._tables[name].checkout_latest()
            return self._tables[name]

    def rows(
        self, name: str, columns: Sequence[str], *, where: str | None = None, ids: bool = False
    ) -> pa.Table:
        """Some columns of a table."""
        with reported(self.uri):
            query = self.table(name).search().select(list(columns))
            query = query.where(where) if where else query
            return (query.with_row_id(True) if ids else query).limit(None).to_arrow()

    def batches(self, columns: Sequence[str], size: int) -> Iterator[pa.RecordBatch]:
        """The windows, so many at a time."""
        with reported(self.uri):
            found = self.table("windows").search().select(list(columns)).limit(None)
            yield from found.to_batches(size)

    def taken(self, ids: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Windows by their row ids, in that order."""
        with reported(self.uri):
            wanted = [*columns, "_rowid"]
            found = self.table("windows").take_row_ids(list(ids)).with_row_id()
            rows = found.select(list(columns)).to_arrow().select(wanted)
        place = {row: at for at, row in enumerate(rows["_rowid"].to_pylist())}
        return rows.take([place[row] for row in ids])

    def at(self, offsets: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Windows by their places from 0 to ``count`` - 1, in the table's order."""
        with reported(self.uri):
            found = self.table("windows").take_offsets(list(offsets)).with_row_id()
            return found.select(list(columns)).to_arrow().sort_by("_rowid")

    def nearest(self, vector: np.ndarray[Any, Any], count: int) -> list[int]:
        """Row ids of the windows whose inner product with ``vector`` is largest, best first."""
        with reported(self.uri):
            query = self.table("windows").search(vector.astype(np.float32))
            query = query.distance_type("dot").select(["start", "_distance"]).with_row_id(True)
            rows = query.nprobes(_LISTS).limit(count).to_arrow()
        found: list[int] = rows["_rowid"].to_pylist()
        return found

    def indexed(self) -> bool:
        """Whether the search vectors have an index."""
        return any("vector" in index.columns for index in self.table("windows").list_indices())

    def clips(self, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Key → the other facts of a clip; of all clips, or of those asked for."""
        wanted = None if keys is None else sorted(set(keys))
        found: dict[str, dict[str, Any]] = {}
        for where in [None] if wanted is None else among("key", wanted):
            for row in self.rows("clips", CLIP_COLUMNS, where=where).to_pylist():
                found[row.pop("key")] = {**row, "uri": os.fsdecode(row["uri"])}
        return found

    def unfinished(self) -> set[str]:
        """Keys of windows whose clip is not there."""
        import pyarrow.compute as pc

        keys = pc.unique(self.rows("windows", ["key"])["key"]).to_pylist()
        return set(keys) - set(self.rows("clips", ["key"])["key"].to_pylist())

    @property
    def count(self) -> int:
        """Windows that are there."""
        with reported(self.uri):
            return int(self.table("windows").count_rows())

    @property
    def fitted(self) -> int:
        """Windows that the basis was fitted to."""
        known = self.rows("bases", ["number", "windows"]).to_pylist()
        return max(((row["number"], int(row["windows"])) for row in known), default=(0, 0))[1]

    @property
    def basis(self) -> Basis | None:
        """What made the search vectors; None as long as there are none."""
        with reported(self.uri):
            marks = self.table("windows").schema.metadata or {}
        number = int(marks.get(b"basis", b"0"))
        if number and number not in self._bases:
            rows = self.rows("bases", ["axes"], where=f"number = {number}")
            try:
                self._bases[number] = Basis.from_bytes(rows["axes"][0].as_py())
            except (IndexError, ValueError) as error:
                raise damaged(self.uri, "its search vectors have no basis") from error
        return self._bases.get(number)

    # Writing -----------------------------------------------------------------------------------------

    def note(self, **facts: Any) -> None:
        """Change the record."""
        self.record = {**self.record, **facts}
        with reported(self.uri, writing=True):
            self._tables.pop("record", None)
            self._database.create_table("record", record_table(self.record), mode="overwrite")

    def add_windows(self, rows: Sequence[tuple[str, Window]], vectors: Any) -> None:
        """Append windows, given with their clips' keys."""
        with reported(self.uri, writing=True):
            self.table("windows").add(windows_table(rows, vectors))

    def add_clips(self, clips: Sequence[ClipRows], counts: Sequence[int]) -> None:
        """Say of clips that all their windows are there."""
        import pyarrow as pa

        made = [
            {
                "key": clip.key,
                "uri": os.fsencode(clip.uri),
                "stamp": clip.stamp,
                "windows": count,
                "seconds": clip.seconds,
                "warnings": printable("; ".join(clip.warnings)),
            }
            for clip, count in zip(clips, counts, strict=True)
        ]
        with reported(self.uri, writing=True):
            self.table("clips").add(pa.Table.from_pylist(made, schema=clips_schema()))

    def move(self, places: Mapping[str, tuple[str, str]]) -> None:
        """Write down where clips lie now: key → uri and stamp."""
        import pyarrow as pa

        kept = self.clips(places)
        rows = [
            {**facts, "key": key, "uri": os.fsencode(places[key][0]), "stamp": places[key][1]}
            for key, facts in kept.items()
        ]
        with reported(self.uri, writing=True):
            made = pa.Table.from_pylist(rows, schema=clips_schema())
            self.table("clips").merge_insert("key").when_matched_update_all().execute(made)

    def remove(self, keys: Iterable[str]) -> None:
        """Take clips out, and then their windows."""
        for where in among("key", sorted(keys)):
            with reported(self.uri, writing=True):
                self.table("clips").delete(where)
                self.table("windows").delete(where)

    def rebase(self, basis: Basis, rows: pa.Table | None, *, windows: int) -> None:
        """Give all windows vectors of another basis: all at once, or none.

        Args:
            basis: The new one.
            windows: How many it was fitted to.
            rows: All windows with their new vectors; None where there are none yet.
        """
        import pyarrow as pa

        with reported(self.uri, writing=True):
            numbers = self.rows("bases", ["number"])["number"].to_pylist()
            number = max(numbers, default=0) + 1
            row = {"number": number, "windows": windows, "axes": basis.to_bytes()}
            self.table("bases").add(pa.Table.from_pylist([row], schema=bases_schema()))
            schema = windows_schema(basis.axes.shape[1], number)
            made = schema.empty_table() if rows is None else rows.select(schema.names).cast(schema)
            self._tables.pop("windows", None)
            self._database.create_table("windows", made, schema=schema, mode="overwrite")
            self._bases[number] = basis
            self.table("bases").delete(f"number < {number}")

    def index(self) -> None:
        """Make or renew the index of search vectors."""
        from lancedb.index import IvfFlat

        windows, began = f"the index of {counted(self.count, 'window')}", time.monotonic()
        _log.info("making %s of %r; a million take minutes", windows, self.uri)
        # Lists of whole vectors: codes that stand for them rank the best windows among each other badly.
        with reported(self.uri, writing=True), quiet():
            config = IvfFlat(distance_type="dot", max_iterations=20, sample_rate=64)
            self.table("windows").create_index("vector", config=config, replace=True)
        _log.info("made %s in %.0f s", windows, time.monotonic() - began)

    def tidy(self) -> None:
        """Join small pieces, take new windows into the index, drop what no version of now needs."""
        from datetime import timedelta

        with reported(self.uri, writing=True), quiet():
            for name in sorted(_TABLES):
                self.table(name).optimize(cleanup_older_than=timedelta(0))


def open_store(uri: str | os.PathLike[str]) -> Store:
    """The tables of an archive that is there.

    Raises:
        ArchiveError: Nothing is there, or something else.
        DependencyError: LanceDB is not installed.
    """
    text = path_text("the archive", uri, "its folder or its address")
    local = "://" not in text
    if local and not os.path.lexists(text):
        raise ArchiveError(f"there is no archive {text!r}; make one with `a2m2 archive build`")
    if local and not Path(text).is_dir():
        raise ArchiveError(
            f"{text!r} is a file; expected the folder that `a2m2 archive build` made"
        )
    database = _connected(text)
    missing = _TABLES - set(_names(text, database))
    kept = None if "record" in missing else _record(text, database)
    if kept is None:
        raise ArchiveError(
            f"{text!r} is no archive; expected the folder that `a2m2 archive build` made"
        )
    if missing:
        raise damaged(text, f"it has no table {', '.join(sorted(missing))}")
    with reported(text):
        rows = kept.to_arrow()
    try:
        record = json.loads(rows["json"][0].as_py())
        version = record["version"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise damaged(text, "its record cannot be read") from error
    if version != VERSION:
        raise ArchiveError(
            f"the archive {text!r} has the form {version!r}, this package reads {VERSION}; update a2m2_zoo, "
            "or build the archive again"
        )
    return Store(text, database, record)


def make_store(uri: str | os.PathLike[str], record: Mapping[str, Any]) -> Store:
    """New, empty tables.

    Raises:
        ArchiveError: Something is there.
        SaveError: They cannot be written.
        DependencyError: LanceDB is not installed.
    """
    text = path_text("the archive", uri, "a folder or an address")
    if "://" not in text and os.path.lexists(text):
        there = Path(text)
        if not there.is_dir():
            raise ArchiveError(f"{text!r} is a file; name a new folder for the archive")
        if any(not entry.name.endswith(".lance") for entry in there.iterdir()):
            raise ArchiveError(f"{text!r} holds something else; name a new folder for the archive")
    database = _connected(text, writing=True)
    if "record" in _names(text, database) and _record(text, database) is not None:
        raise ArchiveError(
            f"there is an archive {text!r} already; go on with it with `a2m2 archive add` or `sync`"
        )
    record = {"version": VERSION, **record}
    with reported(text, writing=True):
        for name, schema in (
            ("bases", bases_schema()),
            ("clips", clips_schema()),
            ("windows", windows_schema(1, 0)),
        ):
            table = database.create_table(name, schema=schema, exist_ok=True)
            if table.count_rows():  # a making that is ended before its record is there has none
                raise damaged(text, "it has no record of what its rows are")
        # Last, for it says that the others are there.
        database.create_table("record", record_table(record))
    return Store(text, database, record)


def _connected(uri: str, *, writing: bool = False) -> Any:
    library = lancedb_or_say()
    with reported(uri, writing=writing):
        return library.connect(uri)


def _record(uri: str, database: Any) -> Any:
    """The table that says what the archive is; None where its making was ended on the way to it."""
    with reported(uri):
        try:
            return database.open_table("record")
        except (ValueError, FileNotFoundError) as error:
            if "not found" in str(error):
                return None
            raise


def _names(uri: str, database: Any) -> list[str]:
    with reported(uri), quiet():
        return list(database.table_names(limit=1000))
