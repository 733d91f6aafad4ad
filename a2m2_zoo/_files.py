"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from a2m2_zoo.errors import SaveError


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
