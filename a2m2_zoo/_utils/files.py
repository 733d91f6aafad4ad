"""Reading files that may be anything, and writing files so that a reader never sees half of one.

What is being written lies beside its place until it is whole and on the disk, see ``_scratch``. Where a path
is an address, this is where it becomes what ``_utils.remote`` reads or writes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo._utils.scratch import prove, scratch_file, scratch_folder, sweep
from a2m2_zoo.errors import A2M2Error, SaveError

_WAIT_SECONDS = 60.0
_QUIET_SECONDS = 1.0
_NEW_FOLDER = "name a folder inside one that exists, is writable and has room"
_NEW_FILE = "name a file in a folder that exists, is writable and has room"


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether there is something; False for a name that can be none, where ``Path.exists`` raises."""
    return path.exists() if isinstance(path, RemotePath) else os.path.exists(path)  # noqa: PTH110


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether it is a folder; False for a name that can be none, where ``Path.is_dir`` raises."""
    return path.is_dir() if isinstance(path, RemotePath) else os.path.isdir(path)  # noqa: PTH112


def open_regular(path: str | os.PathLike[str], *, most: int | None = None) -> BinaryIO:
    """Open a file for reading if it is a regular one; links are followed.

    A pipe, a device or a socket is refused at once: reading it could wait or go on for ever.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        OSError: It is not there, not readable, not a regular file, or too large; ``strerror`` says which.
    """
    if isinstance(path, RemotePath):
        from a2m2_zoo._utils.remote.reading import fetch

        return fetch(path, most=most).open()
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        if most is not None and state.st_size > most:
            raise OSError(
                errno.EFBIG,
                f"it has {state.st_size:,} bytes; the limit is {most:,} bytes",
                os.fspath(path),
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike[str], *, most: int) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes.

    Raises:
        OSError: As for :func:`open_regular`.
    """
    with open_regular(path, most=most) as file:
        data = file.read(most + 1)
    if len(data) > most:  # It grew, or its size is not told (/proc).
        raise OSError(errno.EFBIG, f"the limit is {most:,} bytes", os.fspath(path))
    return data


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse early what ``write_atomically`` would refuse after the work is done.

    Raises:
        SaveError: Its folder is not there or cannot be written, or what is at ``path`` is no regular file.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        from a2m2_zoo._utils.remote.writing import check_writable

        return check_writable(path)
    try:
        target, _ = _file_to_write(path)
        prove(target)
    except OSError as error:
        raise _no_file(path, error) from error


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the sha256 of a regular file, read in pieces.

    Raises:
        OSError: As for :func:`open_regular`.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then rename it over ``path``.

    Whatever goes wrong, full disk and Ctrl-C included, the temporary file is removed and a file that
    was there before is left as it was. A link is followed: the file behind it is replaced. A file that is
    replaced keeps its mode and, where the system allows it, its owner. When this returns the content is on
    the disk and not only on its way there. At an address it is written when it is whole, too.

    Args:
        path: The file to write; its folder must exist.
        write: Called once with the path of the temporary file, which is there, is empty and has the suffix
            of ``path``.

    Returns:
        ``path``.

    Raises:
        SaveError: The folder is missing or not writable, the disk is full, or there is something at ``path``
            that is no regular file, such as a device or a pipe.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        from a2m2_zoo._utils.remote.writing import write_remote

        return write_remote(path, write)
    try:
        target, old = _file_to_write(path)
        sweep(target.parent)
        with scratch_file(target, private=old is not None) as scratch:
            write(scratch)
            _sync(scratch)
            if old is not None:
                _like(scratch, old)
            scratch.replace(target)
        _sync_folder(target.parent)
    except A2M2Error:
        raise
    except OSError as error:
        raise _no_file(path, error) from error
    return path


def _no_file(path: str | os.PathLike[str], error: OSError) -> SaveError:
    return SaveError(f"cannot write {str(path)!r}: {error.strerror or error}; {_NEW_FILE}")


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder beside ``path`` that takes its place at the end, if all went well: whole or not at all.

    Args:
        path: It must not exist yet, or be an empty folder, whose mode is kept.

    Yields:
        The folder to fill.

    Raises:
        SaveError: ``path`` is there already, or it cannot be written. Of what goes wrong while it is filled,
            errors of the operating system become this one; all others pass.
    """
    try:
        target, old = folder_to_make(path)
        sweep(target.parent)
        with scratch_folder(target) as scratch:
            yield scratch
            _sync_tree(scratch)
            if old is not None:
                _like(scratch, old)
            if (
                os.name == "nt" and target.exists()
            ):  # pragma: no cover - a rename replaces none there
                target.rmdir()
            scratch.replace(target)
        _sync_folder(target.parent)
    except SaveError as error:
        if type(error) is not SaveError or error.__cause__ is None:
            raise
        raise _no_folder(path, error.__cause__) from error
    except A2M2Error:
        raise
    except OSError as error:
        raise _no_folder(path, error) from error


def _no_folder(path: str | os.PathLike[str], why: BaseException) -> SaveError:
    reason = getattr(why, "strerror", None) or why
    return SaveError(f"cannot write {str(path)!r}: {reason}; {_NEW_FOLDER}")


def folder_to_make(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """Where ``path`` leads, and the facts of the empty folder that is there, if one is.

    Raises:
        SaveError: Something else is there, or nothing can be made there.
    """
    path = place(path)
    if isinstance(path, RemotePath):
        raise SaveError(
            f"{str(path)!r} is an address; give a folder of this machine and copy it there"
        )
    try:
        target = _real(path)
        if not os.path.lexists(target):
            if target.parent.is_dir():
                prove(target)
            return target, None
        sweep(target)
        there = not target.is_dir() or any(target.iterdir())
    except OSError as error:
        raise _no_folder(path, error) from error
    if there:
        raise SaveError(f"{str(path)!r} exists; give a new folder, or remove it first")
    if target == Path(os.path.realpath(os.curdir)):
        raise SaveError(f"{str(path)!r} is the folder you are in; give a new one inside it")
    return target, target.stat()


@contextmanager
def locked(
    path: str | os.PathLike[str],
    *,
    tell: Callable[[str], object] = lambda line: None,
    wait: float = _WAIT_SECONDS,
) -> Iterator[None]:
    """Keep every other process out that asks the same, from reading a file until the changed one is there.

    The lock is an empty file beside ``path`` that is removed in the end. It ends with the process that holds
    it, however that ends. Not to be entered twice.

    Args:
        path: The file that will be read and written anew; links are followed.
        tell: Called with one line if somebody else holds it for longer than a second.
        wait: Seconds until it is given up.

    Raises:
        SaveError: It is held for too long, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path = place(path)
    if isinstance(path, RemotePath):
        raise SaveError(
            f"{str(path)!r} cannot be kept from others while it is changed; change a file of this machine "
            "and copy it there"
        )
    try:
        target = _real(path)
    except OSError as error:
        raise _no_file(path, error) from error
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    beside = target.with_name(f".a2m2-{name}.lock")
    lock = FileLock(beside)
    try:
        target.parent.stat()  # or the library would make the folder
        try:
            lock.acquire(timeout=min(_QUIET_SECONDS, wait))
        except Timeout:
            tell(f"another process is changing {str(path)!r}; waiting for it")
            lock.acquire(timeout=max(wait - _QUIET_SECONDS, 0))
    except Timeout:
        raise SaveError(
            f"another process has been changing {str(path)!r} for {wait:.0f} s; wait until it is done, "
            "or end it, and try again"
        ) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SaveError(f"cannot lock {str(path)!r}: {reason}; {_NEW_FILE}") from error
    try:
        yield
    finally:
        # Removed while it is held: who waits for it sees that it is gone, and makes a new one.
        with suppress(OSError):
            beside.unlink()
        lock.release()


def _file_to_write(path: Path) -> tuple[Path, os.stat_result | None]:
    """Where ``path`` leads, and the facts of the file that is there, if one is."""
    target = _real(path)
    try:
        facts = target.lstat()
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file that is there is read-only")
    return target, facts


def _real(path: str | os.PathLike[str]) -> Path:
    """Where a path leads.

    Raises:
        OSError: It can lead nowhere.
    """
    if "\0" in os.fspath(path):
        raise OSError(errno.EINVAL, "its name holds a zero byte")
    return Path(os.path.realpath(path))


def _like(path: Path, old: os.stat_result) -> None:
    """Give a new file the owner and the mode of the old one."""
    new = path.stat()
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with suppress(OSError):  # Only the superuser gives files away.
            os.chown(path, old.st_uid, old.st_gid)
    path.chmod(stat.S_IMODE(old.st_mode))


def _sync(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    handle = os.open(path, (os.O_RDWR if os.name == "nt" else os.O_RDONLY))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """Wait until a folder's names are on the disk, where the system can say so of a folder."""
    with suppress(OSError):
        _sync(path)


def _sync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root, name))
        _sync_folder(Path(root))
