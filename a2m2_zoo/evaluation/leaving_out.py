"""Clips and classes that cannot take part in a measurement, left out by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from a2m2_zoo._utils.words import counted
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.results import Failure

Classes: TypeAlias = dict[str, tuple[Path, ...]]


def usable(
    data: Mapping[str, Sequence[Path]],
    protocol: Protocol,
    fill: Callable[[list[Path]], Mapping[Path, str]],
) -> tuple[Classes, list[Failure]]:
    """Classes with enough clips that can be read, and what is left out.

    Args:
        data: Class name → clips.
        protocol: The episodes.
        fill: Encodes clips; gives those that cannot be read, and why.

    Raises:
        EpisodeError: There are too few of them, before or after it is known which can be read.
    """
    enough, short = _with_enough(data, protocol)
    clips = dict.fromkeys(clip for some in enough.values() for clip in some)
    kept, broken = _readable(enough, fill(list(clips)))
    classes, shorter = _with_enough(kept, protocol)
    return classes, [*short, *broken, *shorter]


def _readable(
    data: Mapping[str, Sequence[Path]], unreadable: Mapping[Path, str]
) -> tuple[Classes, list[Failure]]:
    """Classes without the clips that cannot be read, and these by name."""
    broken = [
        Failure("clip", f"{name}/{clip.name}", unreadable[clip])
        for name, clips in data.items()
        for clip in clips
        if clip in unreadable
    ]
    kept = {name: tuple(c for c in clips if c not in unreadable) for name, clips in data.items()}
    return kept, broken


def _with_enough(
    data: Mapping[str, Sequence[Path]], protocol: Protocol
) -> tuple[Classes, list[Failure]]:
    """Classes with the clips that an episode takes, and the others by name."""
    need, way = protocol.need, protocol.way
    kept = {name: tuple(clips) for name, clips in data.items() if len(clips) >= need}
    short = [
        Failure("class", name, f"has {len(clips)} of the {need} clips that {_episodes(protocol)}")
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


def _episodes(protocol: Protocol) -> str:
    """What needs so many clips; the classes are the same for all shots."""
    if len(protocol.shots) == 1:
        return "an episode needs"
    return f"{max(protocol.shots)}-shot episodes need; it is left out for every shot"


def _way_out(data: Mapping[str, Sequence[Path]], protocol: Protocol) -> str:
    """Which sizes these classes have the clips for."""
    sizes = sorted(map(len, data.values()), reverse=True)
    found = []
    if len(sizes) >= protocol.way and (shot := sizes[protocol.way - 1] - protocol.query) >= 1:
        found.append(f"shot {shot}")
    if (way := sum(size >= protocol.need for size in sizes)) >= 2:
        found.append(f"way {way}")
    return f"lower to {' or '.join(found)}, or add more" if found else "add clips and classes"
