"""Clips and classes that cannot take part in a measurement, left out by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from a2m2_zoo._utils.words import counted
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.results import Failure


def readable(
    data: Mapping[str, Sequence[Path]], unreadable: Mapping[Path, str]
) -> tuple[dict[str, tuple[Path, ...]], list[Failure]]:
    """Classes without the clips that cannot be read, and these by name."""
    broken = [
        Failure("clip", f"{name}/{clip.name}", unreadable[clip])
        for name, clips in data.items()
        for clip in clips
        if clip in unreadable
    ]
    kept = {name: tuple(c for c in clips if c not in unreadable) for name, clips in data.items()}
    return kept, broken


def with_enough(
    data: Mapping[str, Sequence[Path]], protocol: Protocol
) -> tuple[dict[str, tuple[Path, ...]], list[Failure]]:
    """Classes with the clips that an episode takes, and the others by name.

    Raises:
        EpisodeError: There are too few of them; it says which sizes would do.
    """
    need, way = protocol.need, protocol.way
    kept = {name: tuple(clips) for name, clips in data.items() if len(clips) >= need}
    short = [
        Failure("class", name, f"has {len(clips)} of the {need} clips that an episode needs")
        for name, clips in data.items()
        if name not in kept
    ]
    if way <= len(kept) < protocol.classes:
        raise EpisodeError(
            f"{len(kept)} of {len(data)} classes have the {need} clips that an episode takes, and open-set "
            f"episodes need {way} known and {way} unknown classes; lower way, or add classes"
        )
    if len(kept) < way:
        raise EpisodeError(
            f"{len(kept)} of {len(data)} classes have the {need} clips that {max(protocol.shots)}-shot "
            f"episodes with {counted(protocol.query, 'query clip')} need, and {way}-way episodes need {way} "
            f"classes; {_way_out(data, protocol)}"
        )
    return kept, short


def _way_out(data: Mapping[str, Sequence[Path]], protocol: Protocol) -> str:
    """Which sizes these classes have the clips for."""
    sizes = sorted(map(len, data.values()), reverse=True)
    found = []
    if len(sizes) >= protocol.way and (shot := sizes[protocol.way - 1] - protocol.query) >= 1:
        found.append(f"shot {shot}")
    if (way := sum(size >= protocol.need for size in sizes)) >= 2:
        found.append(f"way {way}")
    return f"lower to {' or '.join(found)}, or add more" if found else "add clips and classes"
