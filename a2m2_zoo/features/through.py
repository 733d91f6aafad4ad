"""Clips through a cache: those that it lacks are read and kept, the others are not even opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import CheckpointError, VideoError
from a2m2_zoo.features.cache import FeatureCache
from a2m2_zoo.video import Clip, Limits

_AT_ONCE = 16  # clips that are looked up, read and kept before their answers go out


def read_through(
    clips: Iterable[Path],
    cache: FeatureCache,
    *,
    workers: int | None = None,
    limits: Limits | None = None,
) -> Iterator[tuple[Clip, Features] | VideoError]:
    """Clips without their frames, and their features, in the order given.

    Args:
        clips: Video files and folders of frames, or their addresses; drawn from as they are needed.
        cache: Where features are, and are kept.
        workers: Clips decoded in parallel.
        limits: Bounds on each file.

    Yields:
        For each clip the two, or why it cannot be read.

    Raises:
        SaveError: The cache cannot be written.
        ArgumentError: ``workers`` is below 1.
    """
    coming = iter(clips)
    while some := list(islice(coming, _AT_ONCE)):
        failures = cache.fill(some, workers=workers, limits=limits)
        for clip in some:
            yield VideoError(failures[clip]) if clip in failures else _recalled(clip, cache, limits)


def _recalled(
    clip: Path, cache: FeatureCache, limits: Limits | None
) -> tuple[Clip, Features] | VideoError:
    try:
        return cache.recall(clip)
    except CheckpointError:  # damaged on the disk, or the clip changed meanwhile: once more
        if failures := cache.fill([clip], limits=limits):
            return VideoError(failures[clip])
    try:
        return cache.recall(clip)
    except CheckpointError as error:
        return VideoError(f"{clip}: it changes while it is read ({error})")
