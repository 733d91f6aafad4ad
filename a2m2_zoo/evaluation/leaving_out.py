"""Clips and classes that cannot take part in a measurement, left out by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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


def large_enough(
    data: Mapping[str, Sequence[Path]], need: int
) -> tuple[dict[str, tuple[Path, ...]], list[Failure]]:
    """Classes with the clips that an episode takes, and the others by name."""
    kept = {name: tuple(clips) for name, clips in data.items() if len(clips) >= need}
    short = [
        Failure("class", name, f"has {len(clips)} of the {need} clips that an episode needs")
        for name, clips in data.items()
        if name not in kept
    ]
    return kept, short
