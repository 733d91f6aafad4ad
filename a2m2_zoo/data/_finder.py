"""Where a listed clip lies: every folder is read once, whatever the length of the list."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from a2m2_zoo._utils.files import is_folder
from a2m2_zoo.data.benchmarks import fold
from a2m2_zoo.data.index import VIDEO_SUFFIXES, is_frame_folder
from a2m2_zoo.errors import VideoNotFoundError
from a2m2_zoo.video.folders import entries_of

# Of two encodings of one clip, the same on every machine.
_ORDER = {suffix: i for i, suffix in enumerate([".mp4", ".webm", ".mkv", ".avi"])}


def video_stem(name: str) -> str:
    """``name`` without the suffix of a video; other dots belong to the name.

    >>> video_stem("a.b.webm"), video_stem("Mr. X")
    ('a.b', 'Mr. X')
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and (dot + suffix).lower() in VIDEO_SUFFIXES else name


class Finder:
    """Finds listed clips under a folder.

    A listed ``a/b/x.mp4`` is looked for at ``a/b``, then, for trees that were unpacked without the list's
    outer folders, at ``b`` and directly under the root. Folders may differ in case, spaces and
    underscores, files in the suffix; a folder of frames ``x`` stands for the clip as well. Names of
    files are compared exactly, for ids of YouTube differ in case only.

    Args:
        root: The folder.

    Raises:
        VideoNotFoundError: It is not a folder.
    """

    def __init__(self, root: Path) -> None:
        if not is_folder(root):
            raise VideoNotFoundError(
                f"{str(root)!r} is not a folder; give the one that holds the listed videos"
            )
        self._known: dict[tuple[str, ...], _Folder | None] = {(): _Folder(root)}

    def find(self, listed: PurePosixPath) -> Path | None:
        """The clip behind a relative path of a list; None where there is none."""
        *outer, name = listed.parts
        for skip in range(len(outer) + 1):
            folder = self._folder(tuple(outer[skip:]))
            if folder is not None and (clip := folder.clip(name)) is not None:
                return clip
        return None

    def _folder(self, parts: tuple[str, ...]) -> _Folder | None:
        if parts not in self._known:
            above = self._folder(parts[:-1])
            inner = above and above.folder(parts[-1])
            self._known[parts] = _Folder(inner) if inner else None
        return self._known[parts]


class _Folder:
    """What lies directly in one folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders: set[str] = set()
        self._files: dict[str, str] = {}
        for name, folder in _scan(path):
            if folder:
                self._folders.add(name)
            elif (stem := video_stem(name)) != name:
                best = self._files.setdefault(stem, name)
                self._files[name] = name  # a suffix that was listed and is there is taken
                if _rank(name) < _rank(best):
                    self._files[stem] = name
        self._folded: dict[str, list[str]] = {}
        for name in sorted(self._folders):
            self._folded.setdefault(fold(name), []).append(name)

    def clip(self, name: str) -> Path | None:
        stem = video_stem(name)
        file = self._files.get(name) or self._files.get(stem)
        if file is not None:
            return self._path / file
        for folder in (name, stem):
            if folder in self._folders and is_frame_folder(self._path / folder):
                return self._path / folder
        return None

    def folder(self, name: str) -> Path | None:
        if name in self._folders:
            return self._path / name
        alike = self._folded.get(fold(name), [])
        return self._path / alike[0] if len(alike) == 1 else None


def _rank(name: str) -> int:
    return _ORDER.get(Path(name).suffix.lower(), len(_ORDER))


def _scan(folder: Path) -> list[tuple[str, bool]]:
    """What lies in a folder, and whether it is a folder, sorted by name."""
    return [(name, is_folder) for name, is_folder, _ in entries_of(folder)]
