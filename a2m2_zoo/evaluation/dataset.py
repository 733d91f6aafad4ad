"""The data of an evaluation: what a list names that is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from a2m2_zoo._utils.words import counted
from a2m2_zoo.data.lists import Listing
from a2m2_zoo.evaluation.results import Failure

_NAMED = 3  # videos, and classes, that a line names


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
