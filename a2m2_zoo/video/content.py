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
from a2m2_zoo._utils.machine import unseen
from a2m2_zoo._utils.remote.addresses import RemotePath, place, without_secrets
from a2m2_zoo._utils.remote.reading import fetch
from a2m2_zoo._utils.remote.systems import Facts, facts_of, listed
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.video.clip import Limits, Watch
from a2m2_zoo.video.images import SUFFIXES

_PIECE = 1 << 20

#: A file of a clip: its name (empty for a video file), its path, what is known of it without reading it.
Part: TypeAlias = tuple[str, Path, "os.stat_result | Facts"]


def content_hash(clip: str | os.PathLike[str], *, limits: Limits | None = None) -> str:
    """sha256 of a video file's bytes, or of the names and contents of a folder's pictures.

    Args:
        clip: A file or a folder, or the address of one.
        limits: What may be fetched of an address, and how long that may take; files of this machine are read
            whole.

    Raises:
        VideoNotFoundError: There is no such file or folder.
        VideoError: It cannot be read.
    """
    with reading(clip):
        parts, _, folder = survey(place(clip))
        return digest(parts, folder=folder, limits=limits)


def content_or_none(clip: str | os.PathLike[str], limits: Limits | None = None) -> str | None:
    """A clip's hash; None of one that cannot be read, or is beyond the limits for what is fetched."""
    try:
        return content_hash(clip, limits=limits)
    except VideoError:
        return None


@contextmanager
def reading(clip: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system become the package's."""
    name = without_secrets(os.fspath(clip))
    try:
        yield
    except VideoError:
        raise
    except FileNotFoundError:
        raise VideoNotFoundError(f"{name!r}: {unseen()}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoError(
            f"{name!r} cannot be read ({reason}): give a video file or a folder of pictures"
        ) from None


def survey(path: Path) -> tuple[list[Part], int | None, bool]:
    """The files of a clip, when the last changed, and whether it is a folder.

    Of what lies at an address the version stands for the time of change, which is None where there is none.
    """
    if isinstance(path, RemotePath):
        return _survey_remote(path)
    facts = os.stat(path)  # noqa: PTH116 - one call for all that is asked; a set may have 67,000 clips
    if stat.S_ISREG(facts.st_mode):
        return [("", path, facts)], facts.st_mtime_ns, False
    if not stat.S_ISDIR(facts.st_mode):
        raise OSError(0, "neither file nor folder")
    with os.scandir(path) as entries:
        found = sorted(
            (entry.name, Path(entry.path), entry.stat())
            for entry in entries
            if _is_picture(entry.name)
        )
    return [*found], max((part[2].st_mtime_ns for part in found), default=facts.st_mtime_ns), True


def _survey_remote(path: RemotePath) -> tuple[list[Part], int | None, bool]:
    facts = facts_of(path)
    if not facts.folder:
        return [("", path, facts)], 0 if facts.version else None, False
    names = [name for name, is_folder in listed(path) if _is_picture(name) and not is_folder]
    parts: list[Part] = []
    changed: int | None = 0
    for name in names:
        part = path / name
        facts = facts_of(part)
        changed = changed if facts.version else None
        parts.append((name, part, facts))
    return parts, changed, True


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def stamp(parts: list[Part]) -> str:
    """Changes, as far as can be seen without reading, whenever the content does.

    The time of an entry's own change is in it: of two files of one size and age that swap their names it is
    all that tells.
    """
    stamps = [
        (name, facts.size, str(facts.version))
        if isinstance(facts, Facts)
        else (name, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        for name, _, facts in parts
    ]
    if len(stamps) == 1 and not stamps[0][0]:
        return " ".join(map(str, stamps[0][1:]))
    return hashlib.sha256(repr(stamps).encode()).hexdigest()


def size_of(clip: Path) -> str:
    """Bytes of a clip's files: what is known of it without reading.

    Raises:
        VideoError: It cannot be looked at.
    """
    with reading(clip):
        found = [facts for _, _, facts in survey(clip)[0]]
    sizes = [facts.size if isinstance(facts, Facts) else facts.st_size for facts in found]
    return str(sum(size or 0 for size in sizes))


def digest(parts: list[Part], *, folder: bool, limits: Limits | None = None) -> str:
    """The hash of the content of what ``survey`` found."""
    if not folder:
        return file_digest(parts[0][1], limits=limits)
    # Every part has a fixed length, so that no other folder writes the same.
    whole = hashlib.sha256(b"folder")
    for name, path, _ in parts:
        whole.update(hashlib.sha256(os.fsencode(name)).digest())
        whole.update(bytes.fromhex(file_digest(path, limits=limits)))
    return whole.hexdigest()


def file_digest(path: Path, *, limits: Limits | None = None) -> str:
    """sha256 of a file, read in pieces."""
    if not isinstance(path, RemotePath):
        return sha256_of(path)
    limits = limits or Limits()
    check = Watch(str(path), limits).check
    whole = hashlib.sha256()
    with fetch(path, most=limits.bytes, check=check).open() as file:
        while piece := file.read(_PIECE):
            check()
            whole.update(piece)
    return whole.hexdigest()
