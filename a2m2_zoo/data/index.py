"""Which clips a folder holds: one folder per class, one file or one folder of frames per clip."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

from a2m2_zoo.errors import EpisodeError, VideoNotFoundError
from a2m2_zoo.video.images import SUFFIXES

# fmt: off
VIDEO_SUFFIXES = frozenset([
    ".mp4", ".m4v", ".avi", ".mkv", ".webm", ".mov", ".ts", ".mts",
    ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".gif",
])
# fmt: on


def class_folders(root: str | Path) -> dict[str, tuple[Path, ...]]:
    """Clips of every class under ``root``, in an order that is the same on every machine.

    Args:
        root: A folder that holds one folder per class. A clip is a video file, or a folder of image
            frames. Hidden files and files of other kinds are passed over.

    Returns:
        Class name → its clips, classes and clips sorted by name.

    Raises:
        VideoNotFoundError: ``root`` is not a folder.
        EpisodeError: It holds no class, a class has no clip, or two classes share a name.
    """
    root = Path(root)
    if not root.is_dir():
        raise VideoNotFoundError(
            f"{str(root)!r} is not a folder; expected one folder per class with its clips inside"
        )
    folders = sorted((p for p in _visible(root) if p.is_dir()), key=lambda p: p.name)
    if not folders:
        raise EpisodeError(
            f"{str(root)!r} holds no class folder; expected one folder per class with its clips inside"
        )
    check_class_names(p.name for p in folders)
    found = {folder.name: clips_in(folder) for folder in folders}
    for name, clips in found.items():
        if not clips:
            raise EpisodeError(
                f"class {name!r} in {str(root)!r} has no clip; add a video "
                f"({', '.join(sorted(VIDEO_SUFFIXES)[:4])}, ...) or a folder of frames, "
                "or remove the folder"
            )
    return found


def clips_in(folder: Path) -> tuple[Path, ...]:
    """Video files and frame folders directly inside ``folder``, sorted by name."""
    return tuple(sorted((p for p in _visible(folder) if _is_clip(p)), key=lambda p: p.name))


def is_frame_folder(path: Path) -> bool:
    """Whether ``path`` is a folder with image frames directly inside.

    A folder that holds a clip or folders with clips is none, whatever pictures lie beside them.
    """
    if not path.is_dir():
        return False
    inside = _visible(path)
    pictures = any(p.suffix.lower() in SUFFIXES for p in inside)
    return pictures and not any(_is_clip(p) or _holds_clips(p) for p in inside)


def check_class_names(names: Iterable[str]) -> None:
    """Refuse empty names and names that a person could not tell apart.

    Raises:
        EpisodeError: Two names are equal up to case, surrounding space and Unicode composition.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFKC", name).strip().casefold()
        if not key:
            raise EpisodeError(f"a class is named {name!r}; give every class a name")
        if key in seen:
            raise EpisodeError(
                f"two classes have the same name: {seen[key]!r} and {name!r}; rename or merge one"
            )
        seen[key] = name


def _visible(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if not p.name.startswith(".")]


def _holds_clips(path: Path) -> bool:
    return path.is_dir() and any(_is_clip(p) for p in _visible(path))


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return is_frame_folder(path)
    return path.suffix.lower() in VIDEO_SUFFIXES
