"""Writing to addresses: made on this machine, then put there whole, or not at all."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path

from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.remote.systems import facts_of, system_of, tried
from a2m2_zoo.errors import A2M2Error, RemoteError, RemoteNotFoundError, SaveError


def write_remote(path: RemotePath, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file of this machine, then put it at ``path``.

    Raises:
        SaveError: It could not be made or put there; what was there before is as it was.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="a2m2-") as folder:
            scratch = Path(folder, path.name)
            scratch.touch()
            write(scratch)
            _put(scratch, path)
    except A2M2Error:
        raise
    except OSError as error:
        raise SaveError(
            f"cannot write {str(path)!r}: {error.strerror or error}; it is made in the folder for temporary "
            "files first, which needs room"
        ) from error
    return path


def check_writable(path: RemotePath) -> None:
    """Refuse early what ``upload`` would refuse after the work is done.

    Raises:
        SaveError: There is no such bucket, it cannot be reached, or nothing is ever written there.
    """
    if path.scheme in ("http", "https"):
        raise SaveError(
            f"cannot write {str(path)!r}: web servers are read; give s3://, gs:// or hf://"
        )
    if len(path.parts) < 3:
        raise SaveError(f"cannot write {str(path)!r}: a bucket; name a file in it")
    try:
        facts_of(RemotePath(*path.parts[:2]) if path.scheme in ("s3", "gs") else path)
    except RemoteNotFoundError as error:
        if path.scheme in ("s3", "gs"):
            raise SaveError(f"cannot write {str(path)!r}: there is no such bucket") from error
    except RemoteError as error:
        # Who may write need not be allowed to ask.
        if error.errno != errno.EACCES or "no credentials" in str(error.strerror):
            raise SaveError(f"cannot write {str(path)!r}: {error.strerror}") from error


def _put(file: Path, path: RemotePath) -> None:
    """Write a finished file to an address: whole, or not at all.

    Raises:
        SaveError: It could not be written.
    """
    size = file.stat().st_size
    try:
        tried(path, lambda: system_of(path.scheme).put_file(str(file), str(path)))
        there = facts_of(path).size
    except RemoteError as error:
        raise SaveError(f"cannot write {str(path)!r}: {error.strerror}") from error
    if there != size:
        raise SaveError(f"cannot write {str(path)!r}: {there} bytes of {size} are there; try again")
