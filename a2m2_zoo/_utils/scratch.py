"""Names for what is being written, and what becomes of it if the writer is killed.

Such a name begins with ``.a2m2-``. The writer holds a lock of the operating system on it, which ends with
the process: what nobody holds was left by a run that was killed, and the next writer in that folder removes
it. Readers pass all of them over.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POSIX = os.name == "posix"  # elsewhere there is no flock, and nothing that is open can be renamed
_NAME = re.compile(r"\.a2m2-[0-9a-f]{16}(\..*)?", re.DOTALL)
# Where the file system has no locks, what nobody has touched for so long belongs to nobody.
_ABANDONED_SECONDS = 24 * 3600


def is_scratch(name: str) -> bool:
    """Whether a file of that name is one that is being written, or was left by a run that was killed.

    >>> is_scratch(".a2m2-0123456789abcdef.safetensors"), is_scratch("bank.safetensors")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; what a living one writes stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if is_scratch(entry.name)]:
            with suppress(OSError):
                _remove_abandoned(Path(entry.path))


def _remove_abandoned(path: Path) -> None:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags)
    try:
        facts = os.fstat(handle)
        held = _lock(handle, wait=False)
        if held is None:
            held = time.time() - facts.st_mtime > _ABANDONED_SECONDS
        # A lock's file may have made place for a new one since it was opened.
        if held and os.path.samestat(facts, path.lstat()):
            _remove(path, folder=stat.S_ISDIR(facts.st_mode))
    finally:
        os.close(handle)


def _remove(path: Path, *, folder: bool) -> None:
    if folder:
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _lock(handle: int, *, wait: bool) -> bool | None:
    """Whether the open file is now held by this process alone; None where there are no locks."""
    if not _POSIX:
        return None
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def scratch_file(target: Path, *, private: bool) -> Iterator[Path]:
    """An empty file beside ``target``, held until the end and then removed if it is still there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL

    def make(path: Path) -> int:
        # Nobody else may read what will replace a file that nobody else may read.
        return os.open(path, flags, 0o600 if private else 0o666)

    suffix = target.suffix if len(os.fsencode(target.suffix)) < 200 else ""
    with _held(target.parent, suffix, make, folder=False) as path:
        yield path


def prove(target: Path) -> None:
    """Make a file beside ``target`` and remove it: modes do not tell on every system whether it can be done.

    Raises:
        OSError: It cannot.
    """
    with scratch_file(target, private=True):
        pass


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, the same way."""

    def make(path: Path) -> int:
        path.mkdir()
        return os.open(path, os.O_RDONLY) if _POSIX else -1

    with _held(target.parent, "", make, folder=True) as path:
        yield path


@contextmanager
def _held(
    parent: Path, suffix: str, make: Callable[[Path], int], *, folder: bool
) -> Iterator[Path]:
    handle, path = -1, parent
    try:
        while True:
            path = parent / f".a2m2-{os.urandom(8).hex()}{suffix}"
            handle = make(path)
            if _POSIX:
                _lock(handle, wait=True)
            elif handle >= 0:
                os.close(handle)
                handle = -1
            if path.exists():
                break
            os.close(handle)  # A sweep came between making and locking.
        yield path
    finally:
        if is_scratch(path.name):
            with suppress(OSError):
                _remove(path, folder=folder)
        if handle >= 0:
            os.close(handle)
