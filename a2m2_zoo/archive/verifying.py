"""Whether an archive is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from a2m2_zoo._utils.printable import printable
from a2m2_zoo.archive.codec import Codec
from a2m2_zoo.archive.faults import words_of
from a2m2_zoo.archive.store import Store
from a2m2_zoo.errors import ArchiveError

_BATCH = 1024


def verify(
    store: Store, codec: Codec, *, on_window: Callable[[int], object] | None = None
) -> list[str]:
    """Read all windows; one line for each thing that is wrong, nothing where all is well.

    Args:
        store: The tables.
        codec: What the record says of descriptors.
        on_window: Called with the number of windows that were read since the last time.
    """
    problems: list[str] = []
    try:
        _read(store, codec, problems, on_window or (lambda _: None))
    except ArchiveError as error:  # what was found so far is still true
        problems.append(
            f"the rest cannot be read ({words_of(error.__cause__ or error):.160}): where its place can be "
            "reached, a file is damaged; build the archive again from its videos"
        )
    return problems


def _read(
    store: Store, codec: Codec, problems: list[str], on_window: Callable[[int], object]
) -> None:
    """Add what is wrong to ``problems``."""
    clips = store.clips()
    if store.record.get("writing"):
        problems.append(
            "half-written: a run is at work, or was ended before its end; go on with `a2m2 archive add` or "
            "`sync`"
        )
    counts: Counter[str] = Counter()
    seen: set[tuple[str, float, float]] = set()
    twice = short = black = 0
    for batch in store.batches(("key", "start", "end", "descriptors", "poster"), _BATCH):
        for row in batch.to_pylist():
            place = row["key"], row["start"], row["end"]
            twice += place in seen
            seen.add(place)
            counts[row["key"]] += 1
            short += len(row["descriptors"] or b"") != codec.size
            black += not (row["poster"] or b"").startswith(b"\xff\xd8")
        on_window(len(batch))
    left = counts.keys() - clips.keys()
    if left:
        problems.append(
            f"{len(left)} clip(s) are half-written; `a2m2 archive compact` removes them, `add` reads them "
            "again"
        )
    missing = [f for key, f in clips.items() if counts[key] < f["windows"]]
    problems += [
        f"{printable(f['uri'])}: {f['windows']} windows were written and some are lost"
        for f in missing
    ]
    more = [f for key, f in clips.items() if counts[key] > f["windows"]]
    problems += [f"{printable(f['uri'])}: it has more windows than were written" for f in more]
    for count, what in (
        (twice, "are there twice"),
        (short, "have descriptors of another size"),
        (black, "have no poster"),
    ):
        if count:
            problems.append(f"{count} window(s) {what}")
    if store.basis is None and counts:
        problems.append("no basis of search vectors is there")
