"""Reading files that may be anything, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from a2m2_zoo.errors import SaveError


def open_regular(path: str | os.PathLike[str], *, most: int | None = None) -> BinaryIO:
    """Open a file for reading if it is a regular one; links are followed.

    A pipe, a device or a socket is refused at once: reading it could wait or go on for ever.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        OSError: It is not there, not readable, not a regular file, or too large; ``strerror`` says which.
    """
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
            raise OSError(errno.EFBIG, f"{state.st_size} bytes, more than {most}", os.fspath(path))
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
        raise OSError(errno.EFBIG, f"more than {most} bytes", os.fspath(path))
    return data


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then rename it over ``path``.

    Whatever goes wrong, full disk and Ctrl-C included, the temporary file is removed and a file that
    was there before is left as it was.

    Args:
        path: The file to write; its folder must exist.
        write: Called once with the path of the temporary file, which has the suffix of ``path``.

    Returns:
        The path written.

    Raises:
        SaveError: The folder is missing or not writable, or the disk is full.
    """
    target = Path(path)
    scratch = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
    try:
        write(scratch)
        scratch.replace(target)
    except OSError as error:
        raise SaveError(
            f"cannot write {str(target)!r}: {error.strerror or error}; name a file in a folder that "
            "exists, is writable and has room"
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return target
