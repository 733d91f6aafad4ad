"""The two formats of official lists, and whose list it is."""

from __future__ import annotations

import errno
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from a2m2_zoo._utils.files import read_regular
from a2m2_zoo.data.benchmarks import (
    SPLITS,
    Benchmark,
    SplitFacts,
    benchmark,
    fold,
    known_split,
    list_benchmarks,
)
from a2m2_zoo.data.index import check_class_names
from a2m2_zoo.errors import EpisodeError, VideoNotFoundError

MAX_BYTES = 64 << 20
_NUMBERED = re.compile(r"(train|val|test)(\d{1,4})//?(.*)")
_QUOTES = ("'", '"')
_LABELLED = re.compile(r"[ ,]\d+['\"]?$")


@dataclass(frozen=True)
class Line:
    """One line of a list.

    Attributes:
        number: Counted from 1.
        split: The split it names; None in lists that name classes.
        label: The class: its id within the split, or its name.
        path: The clip, relative to the root.
    """

    number: int
    split: str | None
    label: int | str
    path: PurePosixPath

    @property
    def folder(self) -> str:
        """The folder the clip lies in; empty where the list names none."""
        return self.path.parent.name


def bad(source: str, number: int, problem: str) -> EpisodeError:
    """The error for one line."""
    return EpisodeError(f"{source}, line {number} {problem}")


def read_content(path: Path) -> bytes:
    """The bytes of a list.

    Raises:
        VideoNotFoundError: The file cannot be read.
        EpisodeError: It is too large for a list.
    """
    try:
        return read_regular(path, most=MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise EpisodeError(
                f"{path.name} is larger than {MAX_BYTES >> 20} MiB; is it a list?"
            ) from error
        raise VideoNotFoundError(
            f"cannot read the list {str(path)!r}: {error.strerror or error}"
        ) from error


def read_lines(content: bytes, source: str) -> list[Line]:
    """The lines of a list of either format; empty ones are passed over.

    Args:
        content: The list, UTF-8.
        source: What to call it in errors.

    Raises:
        EpisodeError: A line is broken, leaves the root, or repeats another.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EpisodeError(f"{source} is not UTF-8 text ({error.reason}); is it a list?") from None
    found: list[Line] = []
    seen: dict[str, int] = {}
    numbered: bool | None = None
    for number, row in enumerate(text.split("\n"), start=1):
        row = row.rstrip("\r").strip()
        if not row:
            continue
        match = _NUMBERED.fullmatch(row)
        if numbered is None:
            numbered = match is not None
        if numbered and match is None:
            raise bad(source, number, f"is {row[:80]!r}; expected <split><id>//<path> as above it")
        if numbered and match is not None:
            line = Line(number, match[1], int(match[2]), _inside(match[3], source, number))
        else:
            clip = _inside(row, source, number)
            if len(clip.parts) < 2:
                raise bad(source, number, f"is {row[:80]!r}; expected <class name>/<video>")
            line = Line(number, None, clip.parent.name, clip)
        if found and line.split != found[0].split:
            raise bad(source, number, f"is of split {line.split}; those above of {found[0].split}")
        if (first := seen.setdefault(str(line.path), number)) != number:
            raise bad(source, number, f"repeats line {first}: {line.path}")
        found.append(line)
    if not found:
        raise EpisodeError(f"{source} is empty; expected one clip a line")
    return found


def _inside(path: str, source: str, number: int) -> PurePosixPath:
    """A relative path of a list, refused where it could lead out of the root."""
    parts = path.split("/")
    if not all(parts) or {".", ".."} & set(parts) or re.search(r"[\\\x00-\x1f\x7f]", path):
        quotes = ", without quotes" if path.startswith(_QUOTES) else ""
        raise bad(
            source, number, f"has the path {path[:80]!r}; expected one below the root{quotes}"
        )
    if re.match(r"[A-Za-z]:", path):
        raise bad(source, number, f"has the path {path[:80]!r}; expected one without a drive")
    return PurePosixPath(path)


def strange(lines: list[Line]) -> str:
    """What of the lines of a list, none of which was found, may be no part of a path; or nothing."""
    if all(line.path.parts[0].startswith(_QUOTES) for line in lines):
        return "; its lines are in quotes, which count as part of the path: take them out"
    if all(_LABELLED.search(line.path.name) for line in lines):
        return (
            "; its lines end in a number behind a space or a comma, which counts as part of the path: take "
            "it out if it is a label"
        )
    return ""


def identify(
    lines: list[Line], source: str, facts: Benchmark | None, split: str | None
) -> tuple[Benchmark | None, str | None, dict[int | str, str]]:
    """Whose list it is, of which split, and what its classes are called.

    Args:
        lines: All lines.
        source: What to call the list in errors.
        facts: The benchmark it is said to be of; recognised if None.
        split: The split it is said to be of.

    Returns:
        The benchmark and the split, where known, and label → class name in the order of the class ids.

    Raises:
        EpisodeError: The list is of another benchmark or split.
    """
    if split is not None:
        known_split(split)
    own = lines[0].split
    if own is not None and split not in (None, own):
        raise EpisodeError(f"{source} is a list of the {own} split and {split} was asked for")
    split = split or own
    if facts is None:
        facts, split = _recognised(lines, split)
    elif split is None:
        split = _split_of(lines, facts, source)
    elif (line := _stranger(lines, facts.splits[split])) is not None:
        raise bad(source, line.number, f"is no clip of {facts.id} {split}: {line.path}")
    official = facts.splits[split].classes if facts and split else None
    return facts, split, _names(lines) if official is None else _official(lines, official)


def _recognised(lines: list[Line], split: str | None) -> tuple[Benchmark | None, str | None]:
    """The one benchmark and split whose classes, all of them, the list has."""
    counts = Counter(line.label for line in lines)
    bare = lines[0].split is not None and not any(line.folder for line in lines)
    found = []
    for facts in map(benchmark, list_benchmarks()):
        for name in SPLITS if split is None else (split,):
            one = facts.splits[name]
            # A list of bare ids is known by their counts alone.
            same = all(counts[i] == n for i, n in enumerate(one.counts)) or not bare
            whole = bare == facts.bare and len(counts) == len(one.counts)
            if same and whole and (bare or one.classes) and _stranger(lines, one) is None:
                found.append((facts, name))
    return found[0] if len(found) == 1 else (None, split)


def _split_of(lines: list[Line], facts: Benchmark, source: str) -> str:
    for split, one in facts.splits.items():
        if one.classes is not None and _stranger(lines, one) is None:
            return split
    raise EpisodeError(
        f"the classes of {source}, such as {lines[0].label!r}, are of no one split of {facts.id}; "
        "give the right benchmark, or say which split is meant"
    )


def _stranger(lines: list[Line], facts: SplitFacts) -> Line | None:
    """The first line that cannot be of a split."""
    folded = facts.classes and [fold(name) for name in facts.classes]
    known: dict[tuple[int | str, str], bool] = {}
    for line in lines:
        key = (line.label, line.folder)
        if key not in known:
            if isinstance(line.label, int):
                known[key] = line.label < len(facts.counts) and (
                    not folded or not line.folder or folded[line.label] == fold(line.folder)
                )
            else:
                known[key] = folded is None or fold(line.label) in folded
        if not known[key]:
            return line
    return None


def _official(lines: list[Line], classes: tuple[str, ...]) -> dict[int | str, str]:
    index = {fold(name): i for i, name in enumerate(classes)}
    ids = {
        line.label: line.label if isinstance(line.label, int) else index[fold(line.label)]
        for line in lines
    }
    return {label: classes[i] for label, i in sorted(ids.items(), key=lambda item: item[1])}


def _names(lines: list[Line]) -> dict[int | str, str]:
    """Names of a list nobody knows: those it gives, else the clips' folders, else ``test0``."""
    folders: dict[int | str, set[str]] = {}
    for line in lines:
        folders.setdefault(line.label, set()).add(line.folder)
    names: dict[int | str, str] = {}
    one_each = all(len(some) == 1 for some in folders.values())
    distinct = len(set().union(*folders.values())) == len(folders)
    for label in sorted(folders, key=lambda one: (isinstance(one, str), one)):
        if isinstance(label, str):
            names[label] = label
        elif one_each and distinct and all(folders[label]):
            names[label] = next(iter(folders[label]))
        else:
            names[label] = f"{lines[0].split}{label}"
    check_class_names(names.values())
    return names
