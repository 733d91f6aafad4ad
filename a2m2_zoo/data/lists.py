"""The official lists of few-shot benchmarks, in both formats, against the videos that are there.

* MoLo, CLIP-FSAR, HyRSM: ``test3//videos/fencing/x.avi``; Something-Something ``test3/78687``.
* TRX, STRM, TEAM: ``class name/video stem``.

Videos go missing and are re-encoded, so a listed clip is found under any video suffix or as a folder of
frames, and what is not found is reported. Lists are read as hostile: a path cannot leave the root.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from a2m2_zoo._utils.files import is_folder
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo._utils.words import counted
from a2m2_zoo.data import _list_format as form
from a2m2_zoo.data import benchmarks
from a2m2_zoo.data._finder import Finder, video_stem
from a2m2_zoo.data.benchmarks import fold
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import ArgumentError, VideoNotFoundError

# How YouTube clips are named: the video's id, then the seconds they were cut at.
_CUT = re.compile(r"(.{11})_\d{6}_\d{6}")


@dataclass(frozen=True)
class Listing:
    """Clips by class, and what of a list was not there.

    Attributes:
        classes: Class name → its clips, in the order of the class ids, clips sorted by name; classes of which
            nothing was found are left out.
        missing: Listed paths behind which nothing was found.
        listed: Class name → names of all its listed clips without suffix, found or not.
        benchmark: ``id`` of the benchmark, where it was named or recognised.
        split: ``train``, ``val`` or ``test``, where known.
        list_name: Name of the list's file, where there is one.
        list_hash: sha256 of its content.
    """

    classes: dict[str, tuple[Path, ...]]
    missing: tuple[str, ...] = ()
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    benchmark: str | None = None
    split: str | None = None
    list_name: str | None = None
    list_hash: str | None = None

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes of which nothing was found."""
        return tuple(name for name in self.listed if name not in self.classes)

    def summary(self) -> str:
        """One line for people."""
        name = " ".join(filter(None, (self.benchmark, self.split))) or "clips"
        found, all_ = sum(map(len, self.classes.values())), sum(map(len, self.listed.values()))
        classes = f"{len(self.classes)} of {counted(len(self.listed), 'class')}"
        return f"{name}: {found} of {counted(all_, 'video')}, {classes}"


@dataclass(frozen=True)
class Shared:
    """What two splits have in common.

    Attributes:
        classes: Class names, as the first one writes them.
        videos: Names of videos without suffix, as the first one writes them.
    """

    classes: tuple[str, ...]
    videos: tuple[str, ...]


def read_list(
    path: str | Path, *, root: str | Path, benchmark: str | None = None, split: str | None = None
) -> Listing:
    """Read a list of either format and find its videos.

    Args:
        path: The list, UTF-8.
        root: The folder that holds the videos, see ``Finder`` for what is tolerated.
        benchmark: Whose list it is; recognised by classes and counts if None.
        split: Refuse a list of another split.

    Raises:
        VideoNotFoundError: There is no such list or root, or none of the videos is there.
        EpisodeError: A line is broken, leaves the root, repeats another or contradicts the benchmark; the
            line is named by number.
        ArgumentError: There is no such benchmark or split.
    """
    path = place(path)
    content = form.read_content(path)
    lines = form.read_lines(content, path.name)
    facts = None if benchmark is None else benchmarks.benchmark(benchmark)
    facts, split, names = form.identify(lines, path.name, facts, split)
    finder = Finder(place(root))
    clips: dict[str, list[Path]] = {name: [] for name in names.values()}
    listed: dict[str, list[str]] = {name: [] for name in names.values()}
    missing: list[str] = []
    used: dict[Path, int] = {}
    for line in lines:
        listed[names[line.label]].append(video_stem(line.path.name))
        clip = finder.find(line.path)
        if clip is None:
            missing.append(str(line.path))
            continue
        if clip in used:
            raise form.bad(path.name, line.number, f"is the same clip as line {used[clip]}: {clip}")
        used[clip] = line.number
        clips[names[line.label]].append(clip)
    if not used:
        raise VideoNotFoundError(
            f"none of the {len(lines)} videos of {path.name!r} lies under {str(root)!r}; the first is "
            f"{str(lines[0].path)!r}{form.strange(lines)}"
        )
    return Listing(
        classes={k: tuple(sorted(v, key=lambda p: p.name)) for k, v in clips.items() if v},
        missing=tuple(missing),
        listed={k: tuple(sorted(v)) for k, v in listed.items()},
        benchmark=facts.id if facts else None,
        split=split,
        list_name=path.name,
        list_hash=hashlib.sha256(content).hexdigest(),
    )


def open_dataset(
    data: str | Path,
    *,
    list_file: str | Path | None = None,
    benchmark: str | None = None,
    split: str = "test",
) -> Listing:
    """Clips by class of a folder of class folders, or of a list.

    Args:
        data: The folder.
        list_file: An official list, or the folder that holds those of all splits.
        benchmark: A benchmark's name. Without a list, its classes of ``split`` are taken from the folders.
        split: Which split is meant; without list and benchmark the folders are taken as they are.

    Raises:
        VideoNotFoundError: Something is not there.
        EpisodeError: See ``read_list`` and ``class_folders``.
        ArgumentError: There is no such benchmark or split.
    """
    benchmarks.known_split(split)
    if list_file is not None:
        return read_list(
            _list_of(place(list_file), split), root=data, benchmark=benchmark, split=split
        )
    folders = class_folders(data)
    stems = {name: tuple(video_stem(c.name) for c in clips) for name, clips in folders.items()}
    if benchmark is None:
        return Listing(folders, listed=stems)
    facts = benchmarks.benchmark(benchmark)
    classes = facts.splits[split].classes
    if classes is None:
        raise ArgumentError(f"the {split} classes of {facts.id} have no names; give list_file")
    by_fold = {fold(name): name for name in folders}
    there = {name: by_fold[fold(name)] for name in classes if fold(name) in by_fold}
    if not there:
        raise VideoNotFoundError(f"{str(data)!r} has no folder of a {split} class of {facts.id}")
    return Listing(
        {name: folders[folder] for name, folder in there.items()},
        missing=tuple(f"{name}/" for name in classes if name not in there),
        listed={name: stems[there[name]] if name in there else () for name in classes},
        benchmark=facts.id,
        split=split,
    )


def shared(first: Listing, second: Listing) -> Shared:
    """Classes and videos that two listings have in common, found or missing.

    Videos are compared by name, for YouTube clips by the id in it. Names that repeat within a listing, such
    as 1, 2, 3 in every class, are compared together with their class.
    """
    ours, theirs = _videos(first), _videos(second)
    plain = all(len({video for _, video in one}) == len(one) for one in (ours, theirs))
    known = {pair[1] if plain else pair for pair in theirs}
    classes = set(map(fold, second.listed))
    return Shared(
        classes=tuple(name for name in first.listed if fold(name) in classes),
        videos=tuple(
            video for pair, video in ours.items() if (pair[1] if plain else pair) in known
        ),
    )


def _videos(listing: Listing) -> dict[tuple[str, str], str]:
    """(class, id of the video) → the clip's name."""
    return {
        (fold(name), cut[1] if (cut := _CUT.fullmatch(video)) else video): video
        for name, videos in listing.listed.items()
        for video in videos
    }


def _list_of(path: Path, split: str) -> Path:
    if not is_folder(path):
        return path
    found = [*path.glob(f"{split}_few_shot.txt"), *path.glob(f"{split}list*.txt")]
    if len(found) != 1:
        raise VideoNotFoundError(
            f"the folder {str(path)!r} holds {len(found)} lists of the {split} split; expected one, "
            f"{split}_few_shot.txt or {split}list*.txt, or give the list's own path"
        )
    return found[0]
