"""Which clips a folder holds: one folder per class, one file or one folder of frames per clip."""

from __future__ import annotations

import glob
import logging
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from a2m2_zoo._utils.arguments import remote
from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo.errors import EpisodeError, VideoNotFoundError
from a2m2_zoo.video.folders import (
    AGAIN,
    CIRCLE,
    DEPTH,
    INNER,
    NO_CLASS,
    PICTURE,
    THUMBNAILS,
    TOO_DEEP,
    UNREADABLE,
    VIDEO_SUFFIXES,
    LeftOut,
    Reader,
    is_folder,
    is_frame_folder,
)
from a2m2_zoo.video.ignored_names import is_thumbnail_name

__all__ = [
    "UNREADABLE",
    "VIDEO_SUFFIXES",
    "FoundClips",
    "LeftOut",
    "check_class_names",
    "class_folders",
    "clips_in",
    "find_classes",
    "find_clips",
    "is_frame_folder",
    "name_left_out",
]

#: What this package itself writes beside class folders.
_SHEET = "contact_sheet.png"
_SHOWN = 3  # names of each kind in the line about what was left out

# One line for each folder of which something was left out. Whoever does not listen finds it on stderr.
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundClips:
    """The clips of a folder.

    Attributes:
        clips: Video files and folders of frames, sorted by folder and name.
        left_out: What else is there and is taken for no clip.
    """

    clips: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class FoundClasses:
    """The classes of a folder.

    Attributes:
        classes: Class name → its clips.
        left_out: What else is there and is taken for no clip.
    """

    classes: dict[str, tuple[Path, ...]]
    left_out: tuple[LeftOut, ...] = ()


def find_clips(path: str | os.PathLike[str]) -> FoundClips:
    """All clips behind a path: those in a folder at any depth, or the path itself where it is one clip.

    Each folder and each clip is taken once, whatever links lead to it. The rule is that of the whole package:
    ``a2m2 classify FOLDER`` and ``classify(FOLDER, ...)`` answer these clips in this order.

    Args:
        path: A folder of clips, the address of one, or a pattern of paths with ``*``, ``?`` or ``[...]``
            (``**`` for any depth) that stands for what it matches, by name. Of a video file, a folder of
            frames or something that is not there, it is the only clip.

    Raises:
        VideoNotFoundError: The folder cannot be listed, or the pattern matches nothing.
    """
    root = place(path)
    if (matches := _matches(root)) is None:
        return _behind(root)
    inside = [_behind(match) for match in matches]
    once = _once(list(dict.fromkeys(clip for found in inside for clip in found.clips)))
    left_out = [one for found in inside for one in found.left_out]
    return FoundClips(once.clips, (*left_out, *once.left_out))


def _behind(root: Path) -> FoundClips:
    """The clips in a folder at any depth, or the path itself where it is one clip."""
    reader = Reader()
    if not is_folder(root) or reader.is_frame_folder(root):
        return FoundClips((root,))
    return _walk(root, reader)


def class_folders(root: str | os.PathLike[str]) -> dict[str, tuple[Path, ...]]:
    """Clips of every class under ``root``, in an order that is the same on every machine.

    What is left out is named in one line of the log ``a2m2_zoo.data.index``, which goes to stderr where
    nobody listens; ``find_classes`` returns it.

    Args:
        root: A folder that holds one folder per class. A clip is a video file, or a folder of image
            frames. Hidden files, what other programs keep there and files of other kinds are left out.

    Returns:
        Class name → its clips, classes and clips sorted by name.

    Raises:
        VideoNotFoundError: ``root`` is not a folder.
        EpisodeError: It holds no class, a class has no clip, or two classes share a name.
    """
    found = find_classes(root)
    name_left_out(root, found.left_out)
    for name, clips in found.classes.items():
        if not clips:
            raise EpisodeError(
                f"class {name!r} in {str(root)!r} has no clip; add a video (.mp4, .mkv, .avi, .mov, ...) or "
                "a folder of frames, or remove the folder"
            )
    return found.classes


def find_classes(root: str | os.PathLike[str]) -> FoundClasses:
    """The classes of ``class_folders`` and what is left out; a class may have no clip.

    Raises:
        VideoNotFoundError: ``root`` is not a folder, or one in it cannot be listed.
        EpisodeError: It holds no class, or two classes share a name.
    """
    root, reader = place(root), Reader()
    if not is_folder(root):
        if hint := remote(str(root)):
            raise VideoNotFoundError(f"{str(root)!r}: {hint}")
        if isinstance(root, RemotePath):
            raise VideoNotFoundError(
                f"{str(root)!r} is not a folder of a bucket; expected one folder per class with its clips "
                "inside (web servers have no folders: give a bank, or a mapping {class: [clips]})"
            )
        raise VideoNotFoundError(
            f"{str(root)!r} is not a folder; expected one folder per class with its clips inside"
        )
    entries = reader.entries(root)
    left_out = list(entries.left_out)
    sorted_out = {folder: reader.sort_out(folder) for folder in entries.folders}
    for folder in entries.folders:
        others = any(s.clips for f, s in sorted_out.items() if f != folder)
        named = is_thumbnail_name(folder.name, sure=bool(sorted_out[folder].clips))
        if named and others and not reader.holds_video(folder):
            left_out.append(LeftOut(folder, THUMBNAILS))
            del sorted_out[folder]
    if not sorted_out:
        raise EpisodeError(
            f"{str(root)!r} holds no class folder; expected one folder per class with its clips inside"
        )
    check_class_names(folder.name for folder in sorted_out)
    classes: dict[str, tuple[Path, ...]] = {}
    for folder, inside in sorted_out.items():
        once = _once(inside.clips)
        classes[folder.name] = once.clips
        left_out += (*once.left_out, *inside.left_out)
        left_out += (LeftOut(sub, INNER) for sub in inside.folders if reader.holds_clips(sub))
    left_out += (LeftOut(video, NO_CLASS) for video in entries.videos)
    left_out += (LeftOut(p, PICTURE) for p in entries.pictures if p.name != _SHEET)
    return FoundClasses(classes, tuple(left_out))


def clips_in(folder: Path) -> tuple[Path, ...]:
    """Video files and frame folders directly inside ``folder``, sorted by name."""
    return Reader().sort_out(folder).clips


def name_left_out(root: str | os.PathLike[str], left_out: Sequence[LeftOut]) -> None:
    """Log one line that says what of ``root`` was left out; none where nothing was."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        inside = one.path.relative_to(root) if one.path.is_relative_to(root) else one.path
        by_reason.setdefault(one.reason, []).append(printable(str(inside)))
    parts = []
    for reason, names in by_reason.items():
        shown = ", ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        parts.append(f"{shown}{more} ({reason})")
    if parts:
        _log.warning("left out of %s: %s", printable(os.fspath(root)), "; ".join(parts))


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


def _matches(path: Path) -> list[Path] | None:
    """What a pattern matches, by name; None for a name."""
    text = str(path)
    if isinstance(path, RemotePath) or exists(text):
        return None
    if text == "-":
        raise VideoNotFoundError("-: no clip is read from stdin: give its file")
    if not glob.has_magic(text):
        return None
    found = sorted(glob.iglob(text, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute one
    if not found:
        raise VideoNotFoundError(
            f"{printable(text)}: no such file or folder, and nothing matches it as a pattern: check the path"
        )
    return list(map(Path, found))


def _walk(root: Path, reader: Reader) -> FoundClips:
    """The clips under ``root``, what lies in it by its own path, so where links lead comes last."""
    top, seen = Path(os.path.realpath(root)), set[str]()
    inner, links = [root], list[Path]()
    clips: list[Path] = []
    left_out: list[LeftOut] = []
    while inner or links:
        folder = inner.pop() if inner else links.pop(0)
        real = os.path.realpath(folder)
        if reason := _unread(folder, real, root, top, seen):
            left_out.append(LeftOut(folder, reason))
            continue
        seen.add(real)
        try:
            found = reader.sort_out(folder)
        except VideoNotFoundError:
            if folder == root:
                raise
            left_out.append(LeftOut(folder, UNREADABLE))
            continue
        clips += found.clips
        left_out += found.left_out
        for sub in found.folders:
            (links if sub.is_symlink() else inner).append(sub)
    once = _once(sorted(clips, key=lambda clip: (clip.parent, clip.name)))
    ordered = sorted((*left_out, *once.left_out), key=lambda one: one.path)
    return FoundClips(once.clips, tuple(ordered))


def _unread(folder: Path, real: str, root: Path, top: Path, seen: set[str]) -> str:
    """Why a folder is not read; empty where it is."""
    if real in seen:
        return AGAIN
    if folder != root and top.is_relative_to(real):
        return CIRCLE
    return TOO_DEEP if len(folder.parts) > len(root.parts) + DEPTH else ""


def _once(clips: Sequence[Path]) -> FoundClips:
    """The clips without links to others of them, or to what another link leads to."""
    linked = {clip for clip in clips if clip.is_symlink()}
    if not linked:
        return FoundClips(tuple(clips))
    used = {os.path.realpath(clip) for clip in clips if clip not in linked}
    again: list[LeftOut] = []
    for clip in clips:
        if clip in linked:
            real = os.path.realpath(clip)
            if real in used:
                again.append(LeftOut(clip, AGAIN))
            used.add(real)
    doubled = {one.path for one in again}
    return FoundClips(tuple(clip for clip in clips if clip not in doubled), tuple(again))


def clips_inside(query: object) -> Sequence[Path] | None:
    """The clips of a folder of clips; None for anything else, a single clip included.

    Raises:
        VideoNotFoundError: There are none.
    """
    if not isinstance(query, (str, os.PathLike)) or not os.fspath(query):
        return None
    found = find_clips(query)
    if found.clips == (place(query),):
        return None
    name_left_out(query, found.left_out)
    if not found.clips:
        raise VideoNotFoundError(f"the folder {os.fspath(query)!r} holds no clip")
    return found.clips
