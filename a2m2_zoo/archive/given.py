"""What callers give: videos, supports, where an archive lies, how many answers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.arguments import kind, path_text, whole
from a2m2_zoo._utils.files import exists, locked
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.data.index import find_clips
from a2m2_zoo.engine import Engine, Ray, as_engine
from a2m2_zoo.engine.connect import check_installed
from a2m2_zoo.errors import ArgumentError, EpisodeError, VideoNotFoundError
from a2m2_zoo.video.inputs import is_path

_WAIT_SECONDS = 1.0

#: Videos as they are named: one path or several, folders standing for the clips in them at any depth.
Videos = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def listed(videos: Videos) -> list[Path]:
    """The clips behind paths.

    Raises:
        VideoNotFoundError: A path leads nowhere, or to no clip.
    """
    clips: dict[Path, None] = {}
    for path in paths_of(videos):
        found = find_clips(path).clips
        if not found:
            raise VideoNotFoundError(f"the folder {str(path)!r} holds no clip")
        if found == (path,) and not exists(path):
            raise VideoNotFoundError(f"there is no {str(path)!r}; give videos, or folders of them")
        clips |= dict.fromkeys(found)
    return list(clips)


def paths_of(videos: Videos) -> list[Path]:
    """Paths as they were given."""
    given: Any = [videos] if is_path(videos) else videos
    if not isinstance(given, Iterable):
        raise ArgumentError(f"videos is {kind(videos)}; expected paths of videos and of folders")
    return [place(path_text("a video", path, "its path")) for path in given]


def one_class(folder: Path) -> dict[str, list[Path]] | None:
    """A folder of clips as one class; None where it is something else, class folders above all."""
    from a2m2_zoo.data.index import find_classes

    if not folder.is_dir():
        return None
    try:
        if find_classes(folder).classes:
            return None
    except EpisodeError:  # no class folder is there
        pass
    found = [clip for clip in find_clips(folder).clips if clip.parent == folder]
    return {folder.resolve().name: found} if found else None


def as_cluster(engine: Engine) -> Ray | None:
    """The cluster that is meant, see ``a2m2_zoo.engine``; None for this process.

    Raises:
        ArgumentError: It is neither.
        DependencyError: Ray is not installed.
    """
    where = as_engine(engine)
    if where is not None:
        check_installed()
    return where


@contextmanager
def alone(uri: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other writers of this machine out; of a bucket nobody can be kept."""
    text = os.fspath(uri)
    with nullcontext() if "://" in text else locked(text.rstrip(os.sep), wait=_WAIT_SECONDS):
        yield


def counted(k: int) -> int:
    """How many answers are wanted."""
    found = whole("k", k)
    if found is None:
        raise ArgumentError("k is None; expected an integer of 1 or more")
    return found
