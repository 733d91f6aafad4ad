"""What a clip is, whatever it is called: the hash of its content."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from a2m2_zoo._utils.files import sha256_of
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.video.images import SUFFIXES

#: A file of a clip: its name (empty for a video file), its path, what the system says of it.
Part: TypeAlias = tuple[str, str, os.stat_result]


def content_hash(clip: str | os.PathLike[str]) -> str:
    """sha256 of a video file's bytes, or of the names and contents of a folder's pictures.

    Raises:
        VideoNotFoundError: There is no such file or folder.
        VideoError: It cannot be read.
    """
    with reading(clip):
        parts, _, folder = survey(os.fspath(clip))
        return digest(parts, folder=folder)


@contextmanager
def reading(clip: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system become the package's."""
    try:
        yield
    except FileNotFoundError:
        raise VideoNotFoundError(
            f"{os.fspath(clip)!r}: no such file or folder: check the path"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(
            f"{os.fspath(clip)!r} cannot be read ({reason}): give a video file or a folder of pictures"
        ) from None


def survey(path: str) -> tuple[list[Part], int, bool]:
    """The files of a clip, when the last changed, and whether it is a folder."""
    facts = os.stat(path)  # noqa: PTH116 - one call for all that is asked; a set may have 67,000 clips
    if stat.S_ISREG(facts.st_mode):
        return [("", path, facts)], facts.st_mtime_ns, False
    if not stat.S_ISDIR(facts.st_mode):
        raise OSError(0, "neither file nor folder")
    with os.scandir(path) as entries:
        parts = sorted(
            (entry.name, entry.path, entry.stat())
            for entry in entries
            if Path(entry.name).suffix.lower() in SUFFIXES and not entry.name.startswith(".")
        )
    return parts, max((part[2].st_mtime_ns for part in parts), default=facts.st_mtime_ns), True


def digest(parts: list[Part], *, folder: bool) -> str:
    """The hash of the content of what ``survey`` found."""
    if not folder:
        return file_digest(Path(parts[0][1]))
    # Every part has a fixed length, so that no other folder writes the same.
    whole = hashlib.sha256(b"folder")
    for name, path, _ in parts:
        whole.update(hashlib.sha256(os.fsencode(name)).digest())
        whole.update(bytes.fromhex(file_digest(Path(path))))
    return whole.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    return sha256_of(path)
