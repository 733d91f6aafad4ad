"""Objects behind addresses as files that can be read and sought in.

Small objects are fetched whole and once into a temporary file, large ones are read by ranges; where a server
gives no ranges, into a temporary file too, within bounds. Whatever is read is of one version: an object that
changes meanwhile is an error. Transfers are tried again; secrets are in no message.
"""

from __future__ import annotations

import errno
import io
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO

from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.remote.systems import (
    PIECE,
    Facts,
    NoRanges,
    changed,
    check_version,
    facts_of,
    pieces_of,
    tried,
)
from a2m2_zoo.errors import A2M2Error, RemoteError

#: Most bytes that are fetched where nobody says.
MOST = 4 << 30
_WHOLE = 32 << 20  # bytes up to which an object is fetched whole
_HELD = 256 << 20  # bytes of such objects that are kept for the next who asks
_BLOCK = 4 << 20
_BLOCKS = 4


class Fetched:
    """One version of an object, to be read as often as is wanted; made by ``fetch``.

    Attributes:
        path: Its address.
        fault: What went wrong while it was read by somebody who cannot be told, see ``played``.
    """

    def __init__(self, path: RemotePath, source: _Held | _Ranges) -> None:
        self.path, self._source = path, source
        self.fault: A2M2Error | None = None

    def open(self) -> BinaryIO:
        """A file that reads it from its start."""
        return io.BufferedReader(_Reader(self._source), 1 << 16)

    def played(self) -> IO[bytes]:
        """The same for FFmpeg, for which it ends where something goes wrong: then look at ``fault``."""
        return _Played(_Reader(self._source), self)

    def check(self) -> None:
        """Raise what went wrong in ``played``.

        Raises:
            A2M2Error: That.
        """
        if self.fault is not None:
            raise self.fault


def fetch(
    path: RemotePath,
    *,
    most: int | None = None,
    long: bool = False,
    check: Callable[[], object] = lambda: None,
) -> Fetched:
    """Make an object ready to be read.

    Args:
        path: Its address.
        most: Bytes that it may have.
        long: It may have more if it is read by ranges.
        check: Called now and then, also while it is read; what it raises ends the reading.

    Raises:
        RemoteError: It cannot be had, or is too large.
        DependencyError: What such addresses need is not installed.
    """
    most = MOST if most is None else most
    facts = facts_of(path, check)
    if facts.folder:
        raise RemoteError(errno.EISDIR, "a folder: give a file in it", str(path))
    large = facts.size is not None and facts.size > most
    if large and not (long and facts.ranges):
        raise _too_large(path, facts.size or 0, most)
    if facts.ranges and facts.size is not None and facts.size > _WHOLE:
        source = _Ranges(path, facts, check)
        try:
            source.read_at(0, 1)
        except NoRanges:
            if large:
                raise _too_large(path, facts.size, most) from None
        else:
            return Fetched(path, source)
    return Fetched(path, _hold(path, facts, most, check))


@contextmanager
def local_copy(path: Path, *, most: int = MOST) -> Iterator[Path]:
    """A file of this machine with the content of ``path``, which is that file where it is one.

    Raises:
        RemoteError: It cannot be had.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="a2m2-") as folder:
        copy = Path(folder, path.name)
        with fetch(path, most=most).open() as file, copy.open("wb") as out:
            while piece := file.read(PIECE):
                out.write(piece)
        yield copy


class _Held:
    """Bytes in a temporary file that goes when nobody needs it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._lock = file, Lock()
        self.size = file.seek(0, io.SEEK_END)
        weakref.finalize(self, file.close)

    def read_at(self, start: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(count)


class _Ranges:
    """Bytes that are asked for in blocks, of which the last few are kept."""

    def __init__(self, path: RemotePath, facts: Facts, check: Callable[[], object]) -> None:
        self._path, self._facts, self._check = path, facts, check
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()
        self.size = facts.size or 0

    def read_at(self, start: int, count: int) -> bytes:
        with self._lock:
            number, offset = divmod(start, _BLOCK)
            if number not in self._blocks:
                self._blocks[number] = self._block(number)
                if len(self._blocks) > _BLOCKS:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return self._blocks[number][offset : offset + count]

    def _block(self, number: int) -> bytes:
        begin = number * _BLOCK
        count = min(_BLOCK, self.size - begin)

        def ask() -> bytes:
            parts, left = [], count
            with closing(pieces_of(self._path, self._facts, begin, count)) as coming:
                for piece in coming:
                    self._check()
                    parts.append(piece[:left])
                    left -= len(parts[-1])
                    if not left:
                        return b"".join(parts)
            raise _cut_off(self._path)

        found = tried(self._path, ask, self._check)
        check_version(self._path, self._facts, self._check)
        return found


class _Reader(io.RawIOBase):
    """A position in bytes."""

    def __init__(self, source: _Held | _Ranges) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "before the start")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), max(self._source.size - self._at, 0))
        found = self._source.read_at(self._at, count) if count else b""
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


class _Played(io.BufferedReader):
    """What PyAV reads from: it ends where something goes wrong."""

    def __init__(self, raw: _Reader, fetched: Fetched) -> None:
        super().__init__(raw, 1 << 16)
        self._fetched = fetched

    @property
    def name(self) -> str:
        """What FFmpeg looks at for the suffix; never an address that it could open."""
        return self._fetched.path.name

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except A2M2Error as fault:
            self._fetched.fault = self._fetched.fault or fault
            return b""


_held: OrderedDict[tuple[str, tuple[str, ...]], _Held] = OrderedDict()
_held_lock = Lock()


def _hold(path: RemotePath, facts: Facts, most: int, check: Callable[[], object]) -> _Held:
    """The whole object, fetched unless this version of it is at hand."""
    key = (str(path), facts.version)
    with _held_lock:
        if (there := _held.get(key)) is not None:
            _held.move_to_end(key)
            return there
    found = _Held(_whole(path, facts, most, check))
    if facts.version and found.size <= _WHOLE:
        with _held_lock:
            _held[key] = found
            while sum(one.size for one in _held.values()) > _HELD:
                _held.popitem(last=False)
    return found


def _whole(path: RemotePath, facts: Facts, most: int, check: Callable[[], object]) -> IO[bytes]:
    """An open temporary file with the object; an attempt goes on where the one before broke off."""
    file = tempfile.TemporaryFile(prefix="a2m2-")  # noqa: SIM115  # closed by who holds it
    ranges = facts.ranges

    def pour() -> None:
        nonlocal ranges
        start = file.tell() if ranges else 0
        file.seek(start)
        file.truncate()
        try:
            with closing(pieces_of(path, facts, start)) as coming:
                for piece in coming:
                    check()
                    file.write(piece)
                    if facts.size is not None and file.tell() > facts.size:
                        raise changed(path)
                    if file.tell() > most:
                        raise _too_large(path, file.tell(), most)
        except NoRanges:
            ranges = False
            pour()
        if facts.size is not None and file.tell() < facts.size:
            raise _cut_off(path)

    try:
        tried(path, pour, check, lambda: file.tell() if ranges else 0)
        check_version(path, facts, check)
    except BaseException:
        file.close()
        raise
    return file


def _too_large(path: RemotePath, size: int, most: int) -> RemoteError:
    return RemoteError(
        errno.EFBIG, f"it has {size:,} bytes or more; the limit is {most:,} bytes", str(path)
    )


def _cut_off(path: RemotePath) -> RemoteError:
    return RemoteError(
        errno.ECONNRESET, "it broke off before its end, again and again: try later", str(path)
    )
