"""A file of records that is only ever appended to: of a run that was killed at most the last line is half."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from a2m2_zoo._utils.files import check_file, exists, locked
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.recognition.records import Known

_WAIT_SECONDS = 1.0
_SYNC_SECONDS = 5.0


class RecordFile:
    """A file of records that this process alone writes; made by ``open_records``.

    Attributes:
        path: The file.
        known: What is in it.
    """

    def __init__(self, path: Path, known: Known) -> None:
        self.path, self.known = path, known

    @contextmanager
    def writing(self) -> Iterator[Callable[[str], None]]:
        """Gives a function that appends a line, which is in the file, whole, when it returns.

        Whatever kills the process loses no line. What a power failure may lose is the lines of the last
        seconds: so often what was written is put on the disk, and when the block ends.

        Raises:
            SaveError: The file cannot be written, or the disk is full. No half line is left.
        """
        with self._reported():
            # Without a buffer, so that a line is there before the next clip is begun.
            file = self.path.open("r+b" if exists(self.path) else "xb", buffering=0)
        with file:
            with self._reported():
                file.truncate(self.known.sound)
                end = file.seek(0, os.SEEK_END)
                if self.known.open_ended:
                    end += file.write(b"\n")

            synced = time.monotonic()

            def append(line: str) -> None:
                nonlocal end, synced
                rest = memoryview(line.encode() + b"\n")
                size = len(rest)
                try:
                    with self._reported():
                        while rest:
                            rest = rest[file.write(rest) :]
                except BaseException:
                    with suppress(OSError):
                        file.truncate(end)
                    raise
                end += size
                if time.monotonic() - synced >= _SYNC_SECONDS:
                    with self._reported():
                        os.fsync(file.fileno())
                    synced = time.monotonic()

            yield append
            with self._reported():
                os.fsync(file.fileno())

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SaveError(
                f"cannot write {str(self.path)!r}: {error.strerror or error}; the answers before are in it: "
                "make room, and go on with --resume"
            ) from error


@contextmanager
def open_records(
    path: str | os.PathLike[str], *, resume: str | os.PathLike[str] | None = None
) -> Iterator[RecordFile]:
    """A file to write records to, which no other process writes meanwhile.

    Args:
        path: The file. Unless ``resume`` is given, it must not hold anything yet.
        resume: Go on after what is in ``path``, and in this file, which may be the same.

    Raises:
        ArgumentError: What is there is no file of records, or was not to be gone on with.
        SaveError: It cannot be written, or another process does it.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        raise SaveError(
            f"lines cannot be added at {str(path)!r}; write them to a file of this machine and copy it "
            "there, or pipe them: --jsonl -"
        )
    resume = None if resume is None else place(resume)
    check_file(path)
    with locked(path, wait=_WAIT_SECONDS):
        known = Known()
        if resume is not None and exists(resume) and not _same(path, resume):
            known.read(resume)
        known.sound, known.open_ended = 0, False
        if exists(path) and resume is not None:
            known.read(path)
        elif exists(path) and Path(path).stat().st_size:
            raise ArgumentError(
                f"{os.fspath(path)!r} holds something already; go on with it with --resume, remove it, or "
                "name another file"
            )
        yield RecordFile(Path(path), known)


def _same(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    if isinstance(other, RemotePath):
        return False
    return os.path.realpath(one) == os.path.realpath(other)
