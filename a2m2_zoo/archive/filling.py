"""One run of clips into an archive: those that are new, here or on a cluster; a kill costs little."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.notebooks import counted
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.archive.encoding import ClipEncoder, End, Made, MakeWindows
from a2m2_zoo.archive.rows import ClipRows, Window, stamp_of, uri_of
from a2m2_zoo.archive.store import Store
from a2m2_zoo.archive.writing import Writer
from a2m2_zoo.engine import Ray, run_keyed
from a2m2_zoo.engine.keyed import Keyed
from a2m2_zoo.errors import A2M2Error, VideoError
from a2m2_zoo.video.content import content_hash

#: Called after each clip with its path and None, or why it is not in the archive.
OnClip: TypeAlias = "Callable[[Path, A2M2Error | None], object]"


@dataclass
class Changes:
    """What a run did to an archive.

    Attributes:
        added: Clips that were encoded.
        windows: Their windows.
        known: Clips that were there, by their content; copies of others too.
        moved: Those of them that lie elsewhere now.
        removed: Clips that were taken out since they are gone or changed.
        failed: Why each clip that could not be read is not there.
        left: Half-written clips of an earlier run, which were encoded again.
    """

    added: int = 0
    windows: int = 0
    known: int = 0
    moved: int = 0
    removed: int = 0
    left: int = 0
    failed: list[tuple[Path, A2M2Error]] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """A clip that may be new; ``stamp`` was taken before anything of it was read."""

    path: Path
    uri: str
    stamp: str
    key: str = ""


def fill(
    store: Store,
    encoder: ClipEncoder,
    paths: Sequence[Path],
    *,
    engine: Ray | None,
    on_clip: OnClip | None,
    roots: Sequence[Path] | None,
) -> Changes:
    """Put into an archive what of the clips is not there yet.

    Args:
        store: The archive's tables; its lock is held by the caller.
        encoder: Makes windows of clips.
        paths: The clips.
        engine: The cluster whose machines encode; None for this process.
        on_clip: Told of each clip.
        roots: Take out what lay under these paths and is gone. What lay at a path and was replaced there is
            taken out in any case.
    """
    if left := store.unfinished():
        store.remove(left)
    if not store.record.get("writing"):
        store.note(writing=True)
    run = Filling(store, encoder, on_clip=on_clip)
    run.changes.left = len(left)
    if engine is None:
        run.here(paths)
    else:
        run.far(paths, engine)
    run.gone(roots or ())
    store.note(writing=False)
    return run.changes


class Filling:
    """One run over clips.

    Args:
        store: The archive's tables.
        encoder: Makes windows of clips.
        on_clip: Told of each clip.
    """

    def __init__(self, store: Store, encoder: ClipEncoder, *, on_clip: OnClip | None) -> None:
        self._store, self._encoder = store, encoder
        self._tell: OnClip = on_clip or counted("encoding clips")
        self.changes = Changes()
        self._known = store.clips()
        self._at = {facts["uri"]: key for key, facts in self._known.items()}
        self._moved: dict[str, tuple[str, str]] = {}
        self._seen: dict[str, str] = {}  # uri → key of what was found there in this run
        self._elsewhere: dict[str, _Source] = {}  # key → the first other place where it was found
        self._copies: dict[str, list[_Source]] = {}  # key → others of the content that is encoded

    def here(self, paths: Iterable[Path]) -> None:
        """Encode what of the clips is not there yet."""
        waiting: deque[_Source] = deque()  # in order

        def new() -> Iterator[Path]:
            for path in paths:
                source = self._hashed(path)
                if source is not None:
                    waiting.append(source)
                    yield source.path

        total, length = 0, 0.0
        encoded = cast("Generator[Window | End, None, None]", self._encoder.pieces(new()))
        with self._writing() as writer, closing(encoded) as pieces:
            for piece in pieces:
                if isinstance(piece, Window):
                    writer.window(waiting[0].key, piece)
                    total, length = total + 1, max(length, piece.end)
                    continue
                source = waiting.popleft()
                if piece.error is None:
                    facts = (source.key, source.uri, source.stamp, (), length, piece.warnings)
                    writer.end_clip(ClipRows(*facts), total)
                    self._added(source.path, total)
                else:
                    self._failed(source.path, piece.error)
                    del self._known[source.key]
                self._ended(source.key, piece.error)
                total, length = 0, 0.0

    def far(self, paths: Iterable[Path], engine: Ray) -> None:
        """The same on a cluster, whose machines read, hash, cut and encode; rows are written here."""
        sources = [source for path in paths if (source := self._stamped(path)) is not None]
        known = frozenset(bytes.fromhex(key) for key in self._known)
        first: dict[str, int] = {}  # key → the place among the sources of what the archive calls it
        found = run_keyed(
            [source.path for source in sources],
            MakeWindows.of(self._encoder),
            known=known,
            engine=engine,
        )
        with self._writing() as writer:
            for at, one in found:
                self._take(writer, sources, at, one, first)

    def _take(
        self,
        writer: Writer,
        sources: list[_Source],
        at: int,
        found: Keyed[Made],
        first: dict[str, int],
    ) -> None:
        """One clip that a machine has hashed, and encoded where its content was not known."""
        source, key, made = sources[at], found.key, found.result
        self._seen[source.uri] = key or self._at.get(source.uri, "")
        if isinstance(made, A2M2Error) or key is None:
            changed = VideoError(f"{str(source.path)!r} changed while it was read: add it again")
            self._failed(source.path, made if isinstance(made, A2M2Error) else changed)
        elif key in self._known:  # before this run, or by a copy meanwhile
            if at < first.get(key, 0):  # a clip goes by the first of its names, as in one process
                first[key] = at
                self._call(source, key)
            self._there(source, key)
        else:
            assert made is not None
            first[key], self._known[key] = at, {"uri": source.uri, "stamp": source.stamp}
            writer.put(ClipRows.of(source.path, key, source.stamp, *made))
            self._added(source.path, len(made[0]))

    def gone(self, roots: Iterable[Path]) -> None:
        """Take out what is something else now, and what lay under the roots and is not there any more."""
        inside = tuple(uri_of(root).rstrip(os.sep) for root in roots)
        out = [
            key
            for key, facts in self._known.items()
            if key not in self._moved
            and (found := self._seen.get(facts["uri"], "")) != key
            and (
                found
                or any(
                    facts["uri"] == root or facts["uri"].startswith(root + os.sep)
                    for root in inside
                )
            )
        ]
        self._store.remove(out)
        self.changes.removed = len(out)

    @contextmanager
    def _writing(self) -> Iterator[Writer]:
        """A writer; what it was given is written however the run ends."""
        writer = Writer(self._store, self._encoder.model, self._encoder.codec)
        try:
            yield writer
        finally:
            writer.flush()
        self._settle()
        if self._moved:
            self._store.move(self._moved)

    def _settle(self) -> None:
        """Say where contents lie that are not any more where they were.

        In the end, when it is known what lies where: clips may have got each other's names.
        """
        for key, source in self._elsewhere.items():
            if not self._still_there(key):
                self.changes.moved += 1
                self._call(source, key)

    def _still_there(self, key: str) -> bool:
        """Whether a content lies where the archive says, as far as that can be known."""
        facts = self._known[key]
        if (found := self._seen.get(facts["uri"])) is not None:
            return found == key
        if not _lies_at(facts["uri"]):
            return False
        try:
            return bool(stamp_of(facts["uri"]) == facts["stamp"])
        except A2M2Error:
            return True

    def _stamped(self, path: Path) -> _Source | None:
        """A clip that may be new; None where it is there unchanged, or cannot be read."""
        uri = uri_of(path)
        try:
            source = _Source(path, uri, stamp_of(path))
        except VideoError as error:
            self._unreadable(path, uri, error)
            return None
        at = self._at.get(uri)
        if at is not None and self._known.get(at, {}).get("stamp") == source.stamp:
            self._there(source, at)
            return None
        return source

    def _hashed(self, path: Path) -> _Source | None:
        """A clip that is new; None where it is there, or cannot be read."""
        source = self._stamped(path)
        if source is None:
            return None
        uri, stamp = source.uri, source.stamp
        try:
            key = content_hash(path)
        except VideoError as error:
            self._unreadable(path, uri, error)
            return None
        self._seen[uri] = key
        if key in self._copies:  # nobody knows yet whether it can be read
            self._copies[key].append(source)
            return None
        if key in self._known:
            self._there(source, key)
            return None
        self._known[key], self._copies[key] = {"uri": uri, "stamp": stamp}, []
        return _Source(path, uri, stamp, key)

    def _ended(self, key: str, error: A2M2Error | None) -> None:
        """A content was encoded, or cannot be: so were its copies."""
        for copy in self._copies.pop(key):
            if error is None:
                self._there(copy, key)
            else:
                said = f"{str(copy.path)!r} is a copy of a clip that failed ({error})"
                self._failed(copy.path, VideoError(said))

    def _there(self, source: _Source, key: str) -> None:
        """A clip whose content is in the archive, from here or from elsewhere."""
        if self._known[key]["uri"] == source.uri:
            self._call(source, key)
        else:
            self._elsewhere.setdefault(key, source)
        self._seen[source.uri] = key
        self.changes.known += 1
        self._tell(source.path, None)

    def _call(self, source: _Source, key: str) -> None:
        """Say where a clip lies now."""
        now = {"uri": source.uri, "stamp": source.stamp}
        if not now.items() <= self._known[key].items():
            self._known[key] = {**self._known[key], **now}
            self._moved[key] = source.uri, source.stamp

    def _unreadable(self, path: Path, uri: str, error: A2M2Error) -> None:
        self._seen[uri] = self._at.get(uri, "")  # it stays as long as nobody knows better
        self._failed(path, error)

    def _failed(self, path: Path, error: A2M2Error) -> None:
        self.changes.failed.append((path, error))
        self._tell(path, error)

    def _added(self, path: Path, windows: int) -> None:
        self.changes.added += 1
        self.changes.windows += windows
        self._tell(path, None)


def _lies_at(uri: str) -> bool:
    """Whether something lies there, as far as that can be known."""
    try:
        return exists(place(uri)) if "://" in uri else os.path.lexists(uri)
    except A2M2Error:
        return True
