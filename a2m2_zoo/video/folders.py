"""What lies in a folder: which entries are clips, and what else is there. One rule for the whole package.

A clip is a video file, by its suffix, or a folder of pictures that holds no clip itself. What other programs
leave in people's folders is no clip, nor are pictures that stand for the clips beside them. Nothing is left
out in silence: everything is handed on with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from a2m2_zoo._utils import files
from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.remote.systems import listed
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.video.ignored_names import is_ignored_name, is_thumbnail_name, without_thumbnail_name
from a2m2_zoo.video.images import SUFFIXES

# fmt: off
#: Suffixes by which a file in a folder is known as a video: those in use for the containers that are read.
VIDEO_SUFFIXES = frozenset([
    # MP4 and its relatives, QuickTime, cameras that record them
    ".mp4", ".m4v", ".mp4v", ".mpg4", ".mov", ".qt", ".mqv", ".3gp", ".3gpp", ".3g2", ".3gp2", ".f4v", ".mj2",
    ".ismv", ".psp", ".insv", ".360",
    # Matroska, AVI, Windows Media, Flash, Ogg
    ".mkv", ".mk3d", ".webm", ".avi", ".divx", ".xvid", ".wmv", ".asf", ".wm", ".dvr-ms", ".flv",
    ".ogv", ".ogg", ".ogm", ".ogx",
    # MPEG transport streams and program streams
    ".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".mpg", ".mpeg", ".mpe", ".m2p", ".vob", ".evo", ".vro",
    ".mod", ".tod",
    # Bare streams
    ".m1v", ".m2v", ".mpv", ".h263", ".263", ".h264", ".264", ".h26l", ".avc", ".h265", ".265", ".hevc",
    ".obu", ".ivf", ".y4m", ".dv", ".dif",
    # Others
    ".mxf", ".nut", ".gif", ".apng",
])
# fmt: on

#: Folders in folders; deeper is no data set.
DEPTH = 64

#: Why something was left out.
IGNORED = "kept by another program"
HIDDEN = "hidden"
NO_VIDEO = "no video by its name"
PICTURE = "a picture beside clips"
THUMBNAILS = "pictures of the clips beside it"
BROKEN_LINK = "a link to nothing"
CIRCLE = "a link to a folder around it"
AGAIN = "a link to what is read already"
#: Why a folder that cannot be listed is left out.
UNREADABLE = "a folder that cannot be listed"
TOO_DEEP = f"more than {DEPTH} folders deep"
NO_CLASS = "a video in no class folder"
INNER = "a folder inside a class that is no clip"


@dataclass(frozen=True)
class LeftOut:
    """Something that is taken for no clip.

    Attributes:
        path: The file or folder.
        reason: Why, in a few words.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Entries:
    """What lies directly in a folder, each sorted by name.

    Attributes:
        videos: Video files.
        pictures: Picture files.
        folders: Folders, and links to folders that do not lead back.
        left_out: The rest.
    """

    videos: tuple[Path, ...] = ()
    pictures: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class Sorted:
    """A folder, sorted out.

    Attributes:
        clips: Video files and folders of frames directly inside, sorted by name.
        folders: Other folders, in which clips may lie.
        left_out: What is neither.
    """

    clips: tuple[Path, ...]
    folders: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class _Nature:
    """What a folder holds, at any depth: any video, any picture; and whether it is one clip of frames."""

    video: bool = False
    picture: bool = False
    frames: bool = False


class Reader:
    """Reads folders, each once, however often it is asked about."""

    def __init__(self) -> None:
        self._entries: dict[str, Entries] = {}
        self._natures: dict[str, _Nature] = {}

    def entries(self, folder: Path) -> Entries:
        """What lies directly in ``folder``.

        Raises:
            VideoNotFoundError: It cannot be listed.
        """
        key = str(folder)
        if key not in self._entries:
            self._entries[key] = _list(folder)
        return self._entries[key]

    def sort_out(self, folder: Path) -> Sorted:
        """Tell the clips directly in ``folder`` from the rest.

        Raises:
            VideoNotFoundError: It cannot be listed.
        """
        found = self.entries(folder)
        natures = {sub: self._nature(sub) for sub in found.folders}
        clips, folders, left_out = list(found.videos), [], list(found.left_out)
        for sub, nature in natures.items():
            reason = ""
            if found.videos or len(found.pictures) > 1 or _others(sub, natures):
                reason = self._no_clip(sub, nature, found)
            if reason:
                left_out.append(LeftOut(sub, reason))
            elif nature.frames:
                clips.append(sub)
            else:
                folders.append(sub)
        left_out += (LeftOut(picture, PICTURE) for picture in found.pictures)
        return Sorted(tuple(sorted(clips, key=_name)), tuple(folders), tuple(left_out))

    def holds_video(self, folder: Path) -> bool:
        """Whether a video file lies in ``folder``, at any depth."""
        return self._nature(folder).video

    def holds_clips(self, folder: Path) -> bool:
        """Whether a clip lies in ``folder``, at any depth."""
        nature = self._nature(folder)
        return nature.video or (nature.picture and not nature.frames)

    def is_frame_folder(self, path: Path) -> bool:
        """Whether ``path`` is a folder with image frames directly inside, and so one clip.

        A folder that holds a clip at any depth is none, whatever pictures lie beside it.
        """
        return is_folder(path) and self._nature(path).frames

    def _nature(self, folder: Path, depth: int = 0) -> _Nature:
        key = os.path.realpath(folder)
        if key not in self._natures:
            if depth >= DEPTH:
                return _Nature()
            self._natures[key] = _Nature()  # what a circle of links finds on its way back
            self._natures[key] = self._look_into(folder, depth)
        return self._natures[key]

    def _look_into(self, folder: Path, depth: int) -> _Nature:
        try:
            found = self.entries(folder)
        except VideoNotFoundError:  # whoever sorts it out says so
            return _Nature()
        inside = [(sub, self._nature(sub, depth + 1)) for sub in found.folders]
        return _Nature(
            video=bool(found.videos) or any(nature.video for _, nature in inside),
            picture=bool(found.pictures) or any(nature.picture for _, nature in inside),
            frames=bool(found.pictures)
            and not found.videos
            and all(self._goes_with_frames(sub, nature, found) for sub, nature in inside),
        )

    def _goes_with_frames(self, sub: Path, nature: _Nature, around: Entries) -> bool:
        """Whether a folder of pictures stays a clip with ``sub`` in it, which has none, or masks or flow."""
        if nature.video:
            return False
        if not nature.picture or is_thumbnail_name(sub.name, sure=not nature.frames):
            return True
        return len(around.pictures) > 1 and nature.frames and self._mirrors(sub, around.pictures)

    def _no_clip(self, sub: Path, nature: _Nature, around: Entries) -> str:
        """Why a folder of pictures is no clip beside others; empty where it is one, or may hold some."""
        if nature.video or not nature.picture:
            return ""
        if is_thumbnail_name(sub.name, sure=not nature.frames):
            return THUMBNAILS
        stand_in = nature.frames and (
            self._mirrors(sub, around.videos)
            or (len(around.pictures) > 1 and self._mirrors(sub, around.pictures))
        )
        return THUMBNAILS if stand_in else ""

    def _mirrors(self, sub: Path, files: Iterable[Path]) -> bool:
        """Whether the pictures of ``sub`` are one for each of ``files``, and go by their names."""
        names = {name.lower(): file for file in files for name in (file.name, file.stem)}
        stems = [picture.stem.lower() for picture in self.entries(sub).pictures]
        found = [names.get(stem) or names.get(without_thumbnail_name(stem)) for stem in stems]
        if not found or None in found or len(set(found)) < len(found):
            return False
        # Frames are numbered, and some videos are: numbers tell only where none is missing.
        return len(found) == len(set(names.values())) or not any(map(str.isdecimal, stems))


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a path that cannot be one, being too long for instance, is none."""
    return files.is_folder(path)


def is_frame_folder(path: Path) -> bool:
    """Whether ``path`` is one clip, see ``Reader.is_frame_folder``."""
    return Reader().is_frame_folder(path)


def check_clip_folder(path: Path, name: str) -> None:
    """Refuse a folder in which clips lie, for the pictures beside them are none.

    Args:
        path: A folder.
        name: What to call it.

    Raises:
        VideoError: It is not one clip.
    """
    reader = Reader()
    if not reader.is_frame_folder(path) and reader.holds_clips(path):
        raise VideoError(
            f"{name}: a folder of clips, and no clip itself: give the clips in it, which "
            "a2m2_zoo.data.index.find_clips lists"
        )


def entries_of(folder: Path) -> list[tuple[str, bool, bool]]:
    """Names of what lies directly in a folder, whether they are folders, and links, sorted.

    Raises:
        VideoNotFoundError: It cannot be listed.
    """
    try:
        if isinstance(folder, RemotePath):
            return [(name, is_folder, False) for name, is_folder in listed(folder)]
        with os.scandir(folder) as entries:
            return sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries)
    except OSError as error:
        raise VideoNotFoundError(
            f"cannot list the folder {str(folder)!r}: {error.strerror or error}"
        ) from error


def _list(folder: Path) -> Entries:
    videos, pictures, folders = [], [], []
    left_out: list[LeftOut] = []
    here = Path(os.path.realpath(folder))
    for name, is_folder, is_link in entries_of(folder):
        path, reason = folder / name, ""
        suffix = path.suffix.lower()
        if is_ignored_name(name):
            reason = IGNORED
        elif name.startswith("."):
            # Hidden on purpose; only what looks like a clip may have been meant as one.
            reason = HIDDEN if suffix in VIDEO_SUFFIXES and not is_folder else "-"
        elif is_link and not path.exists():
            reason = BROKEN_LINK
        elif is_folder and is_link and here.is_relative_to(os.path.realpath(path)):
            reason = CIRCLE
        elif is_folder:
            folders.append(path)
        elif suffix in VIDEO_SUFFIXES:
            videos.append(path)
        elif suffix in SUFFIXES:
            pictures.append(path)
        else:
            reason = NO_VIDEO
        if reason not in ("", "-"):
            left_out.append(LeftOut(path, reason))
    return Entries(tuple(videos), tuple(pictures), tuple(folders), tuple(left_out))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or where nobody may look
        return False


def _others(sub: Path, natures: dict[Path, _Nature]) -> bool:
    return any(n.video or n.picture for other, n in natures.items() if other != sub)


def _name(path: Path) -> str:
    return path.name
