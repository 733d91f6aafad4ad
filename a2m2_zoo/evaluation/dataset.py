"""The data of an evaluation: which clips exactly, which are copies, and what of a list is not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.bounded_json import read
from a2m2_zoo._utils.words import counted
from a2m2_zoo.data.lists import Listing
from a2m2_zoo.evaluation.results import Copies, Failure

_NAMED = 3  # videos, and classes, that a line names


@dataclass(frozen=True)
class Used:
    """The clips that were measured.

    Attributes:
        names: ``class/file`` of every clip, class by class in the order that the episodes are drawn from.
        labels: Its class.
        contents: sha256 of its content, see ``video.content.content_hash``.
        listing: Where they are from.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    contents: tuple[str, ...]
    listing: Listing

    @property
    def facts(self) -> dict[str, Any]:
        """What a receipt says of them: names no machine and no path."""
        classes: dict[str, list[str]] = {}
        for label, content in zip(self.labels, self.contents, strict=True):
            classes.setdefault(label, []).append(content)
        found: dict[str, Any] = {
            "classes": len(classes),
            "clips": len(self.names),
            "names_sha256": hash_of_lines(self.names),
            "content_sha256": hashlib.sha256(
                json.dumps(list(classes.items())).encode()
            ).hexdigest(),
        }
        listing = self.listing
        if listing.list_name is not None:
            found["lists"] = {listing.list_name: listing.list_hash}
        if listing.benchmark is not None:
            found["benchmark"] = listing.benchmark
        if listing.split is not None:
            found["split"] = listing.split
        if listing.missing:
            found["missing"] = len(listing.missing)
            found["missing_classes"] = list(listing.absent_classes)
        return found


def hash_of_lines(lines: Iterable[str]) -> str:
    """sha256 of names, or of whatever else stands one to a line."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def copies(clips: Used) -> Copies | None:
    """Clips that have the same content as another; None where all differ."""
    places: dict[str, list[int]] = {}
    for place, content in enumerate(clips.contents):
        places.setdefault(content, []).append(place)
    same = [some for some in places.values() if len(some) > 1]
    if not same:
        return None
    across = [some for some in same if len({clips.labels[place] for place in some}) > 1]
    one, other = (across or same)[0][:2]
    return Copies(
        clips=sum(map(len, same)),
        across=sum(map(len, across)),
        first=(clips.names[one], clips.names[other]),
    )


def used(
    classes: Mapping[str, Sequence[Path]], listing: Listing, content: Callable[[Path], str]
) -> Used:
    """What clips are, by name and content.

    Args:
        classes: Class name → the clips that are measured, all of them readable.
        listing: Where they are from.
        content: The hash of what a clip holds, of the cache that they were encoded into.
    """
    pairs = [(label, clip) for label, clips in classes.items() for clip in clips]
    return Used(
        names=tuple(f"{label}/{clip.name}" for label, clip in pairs),
        labels=tuple(label for label, _ in pairs),
        contents=tuple(content(clip) for _, clip in pairs),
        listing=listing,
    )


def trained_on(model: str | os.PathLike[str], classes: Iterable[str]) -> str | None:
    """One line where a model that lies in the folder of its run was trained on classes it is measured on.

    Args:
        model: Its name, or the path of its file or folder.
        classes: Names of the classes.
    """
    path = Path(model)
    if not path.exists():  # a name is no path
        return None
    try:
        receipt = read((path if path.is_dir() else path.parent) / "receipt.json")
        known = {str(name) for name in receipt["trained_on"]}
    except (OSError, ValueError, LookupError, TypeError):
        return None
    measured = list(classes)
    both = [name for name in measured if name in known]
    if not both:
        return None
    return (
        f"the model was trained on {len(both)} of these {counted(len(measured), 'class')}, "
        f"{_first(both)}: that says nothing of new ones"
    )


def as_listing(data: Listing | Mapping[str, Sequence[Path]]) -> Listing:
    """Clips by class as a listing, of which nothing is missing."""
    if isinstance(data, Listing):
        return data
    return Listing({name: tuple(clips) for name, clips in data.items()})


def absent(listing: Listing) -> list[Failure]:
    """What a list or a benchmark names and is not there, in one line; none where all is."""
    if not listing.missing:
        return []
    gone = listing.absent_classes
    if listing.list_name is None:  # A benchmark's class folders: nobody says which videos.
        found = f"{len(gone)} of {len(listing.listed)} classes are not there: {_first(gone)}"
        return [Failure("list", listing.benchmark or "", found)]
    count, of = len(listing.missing), sum(map(len, listing.listed.values()))
    found = f"{count:,} of {counted(of, 'listed video')} not there: {_first(listing.missing)}"
    if gone:
        found += f"; {counted(len(gone), 'class')} without any: {_first(gone)}"
    return [Failure("list", listing.list_name, found)]


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    shown = ", ".join(map(repr, names[:_NAMED]))
    return f"{shown} and {more:,} more" if more > 0 else shown
