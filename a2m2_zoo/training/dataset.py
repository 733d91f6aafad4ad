"""From class folders to what a run needs: classes held out, features in memory, episodes, validation."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.words import counted
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.draws import labelled
from a2m2_zoo.data.plans import uniform
from a2m2_zoo.errors import ArgumentError, EpisodeError, SaveError
from a2m2_zoo.evaluation.dataset import hash_of_lines
from a2m2_zoo.features import FeatureCache
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distort import DistortedSource, Distortion
from a2m2_zoo.training.shared_clips import dealt, draws
from a2m2_zoo.training.source import EpisodeSource, FeatureSource, varied
from a2m2_zoo.training.validation import Validation, check_disjoint
from a2m2_zoo.video import Limits, Preprocess, normalise, read_clips

#: Class name → its clips.
Classes = Mapping[str, Sequence[Path]]

_PIECE = 16  # clips that are decoded together for validation


@dataclass(frozen=True)
class Split:
    """What to train on and what is held out: classes of which none is trained on, or clips of the same ones.

    Attributes:
        train: To train on.
        held: To choose weights by; may be empty.
        judged: Other clips of the classes in ``held``, to tell by whether training helped; may be empty.
        same: Whether the held-out clips are of the classes that are trained on, whose clips to train on are
            then the supports.

    Raises:
        EpisodeError: A class is trained on and held out.
    """

    train: Classes
    held: Classes
    judged: Classes = field(default_factory=dict)
    same: bool = False

    def __post_init__(self) -> None:
        if not self.same:
            check_disjoint(self.held, self.train)

    @property
    def parts(self) -> dict[str, Classes]:
        """By name, those that there are."""
        judged = {"judged": self.judged} if self.judged else {}
        return {"train": self.train, "held": self.held, **judged}

    @property
    def clips(self) -> list[Path]:
        """All of them."""
        return [clip for part in self.parts.values() for some in part.values() for clip in some]

    def facts(self, content: Callable[[Path], str]) -> dict[str, Any]:
        """Plain values that say what it is: how much, and hashes of names and contents; no paths.

        Args:
            content: What tells what is in a clip.
        """
        return {name: _facts(part, content) for name, part in self.parts.items()}

    def sound(self, failed: Iterable[Path], config: TrainingConfig) -> tuple[Split, list[str]]:
        """Without clips that failed and classes with too few, and one line for each such class.

        Raises:
            EpisodeError: Fewer classes are left to train on than an episode has.
        """
        gone = set(failed)
        parts: dict[str, dict[str, list[Path]]] = {
            part: {name: [c for c in clips if c not in gone] for name, clips in classes.items()}
            for part, classes in self.parts.items()
        }
        shots = max(config.validate_shots)
        least = {
            "train": (config.shot + config.query, "train"),
            "held": (1 if self.same else shots + 1, "validate"),
            "judged": (1, "tell by whether training helped"),
        }
        lines = []
        for part, classes in parts.items():
            need, what = least[part]
            for name, clips in list(classes.items()):
                if len(clips) >= need:
                    continue
                lines.append(
                    f"{name!r} has {counted(len(clips), 'clip')}, {need} are needed to {what} on it"
                )
                for other, its in parts.items():  # no class stands on one of two sides
                    if other == part or self.same or {other, part} == {"held", "judged"}:
                        its.pop(name, None)
        left, given = len(parts["train"]), len(self.train)
        if left < config.way:
            held = "clips of each" if self.same else counted(len(self.held), "class")
            raise EpisodeError(
                f"{config.way}-way episodes need {config.way} classes to train on and {left} of "
                f"{given + (0 if self.same else len(self.held))} are left: {held} held out, "
                f"{counted(given - left, 'class')} with too few clips for {config.shot} support(s) and "
                f"{config.query} query clip(s); lower --way, --shot or --set query=N, hold out less or "
                "none (--hold-out 0), or add classes or clips"
            )
        return Split(parts["train"], parts["held"], parts.get("judged", {}), self.same), lines


def hold_out(classes: Classes, share: float, *, seed: int) -> Split:
    """Hold out a share of the classes, chosen by the seed; at least two.

    Args:
        classes: All classes.
        share: 0 to below 1; 0 holds out none.
        seed: Any integer.

    Raises:
        ArgumentError: The share is outside its range.
        EpisodeError: No two classes are left to train on.

    >>> clips = {name: [] for name in "abcdefgh"}
    >>> sorted(hold_out(clips, 0.25, seed=0).held)
    ['f', 'h']
    """
    if not 0 <= share < 1:
        raise ArgumentError(f"the share to hold out is {share}; expected 0 to below 1")
    names = list(classes)
    count = max(2, round(share * len(names))) if share else 0
    if len(names) - count < 2:
        raise EpisodeError(
            f"holding out {count} of {len(names)} classes leaves too few to train on; add classes"
        )
    chosen = {names[i] for i in np.argsort(uniform(seed, len(names)))[:count]}
    return Split(
        {name: clips for name, clips in classes.items() if name not in chosen},
        {name: clips for name, clips in classes.items() if name in chosen},
    )


def from_features(
    split: Split,
    cache: FeatureCache,
    *,
    config: TrainingConfig,
    half: bool,
    folder: Path,
    distortion: Distortion | None = None,
) -> tuple[EpisodeSource, Validation | None, Validation | None]:
    """Episodes, and what weights are chosen and judged by, from cached features, for a frozen backbone.

    Args:
        split: Classes whose clips are all in the cache.
        cache: See ``FeatureCache``.
        config: Sizes of the episodes, and their seed.
        half: Hold float16 in memory.
        folder: Where a file is mapped from if the features are larger than half of the memory.
        distortion: What is done to the features that are trained on; None leaves them alone.

    Returns:
        The source; then None where nothing is held out, and what to choose by; then the same, or, where the
        split has clips for it, what to tell by whether training helped.

    Raises:
        CheckpointError: The cache lacks clips.
        SaveError: The disk has no room for them.
    """

    def held(classes: Classes) -> tuple[Features, Tensor]:
        clips, labels = labelled(classes)
        return gathered(cache.read(clips), len(clips), half=half, folder=folder), labels

    features, labels = held(split.train)

    def episodes(config: TrainingConfig) -> EpisodeSource:
        source: EpisodeSource = FeatureSource(features, labels, draws(config))
        if distortion is not None:
            source = DistortedSource(source, distortion, seed=config.seed)
        return dealt(source, config)

    def measured(known: Classes, asked: Classes | None) -> Validation:
        clips = {name: [*some, *(asked or {}).get(name, ())] for name, some in known.items()}
        queries = None
        if asked is not None:
            queries = torch.cat(
                [torch.arange(len(clips[name])) >= len(some) for name, some in known.items()]
            )
        return Validation.of_features(
            *held(clips),
            names=tuple(clips),
            training_names=() if split.same else tuple(split.train),
            asked=queries,
        )

    source = varied(episodes, config)
    if not split.held:
        return source, None, None
    if split.same:
        chosen = measured(split.train, split.held)
        known: Classes = {name: [*split.train[name], *some] for name, some in split.held.items()}
    else:
        chosen = measured(split.held, None)
        known = split.held
    return source, chosen, measured(known, split.judged) if split.judged else chosen


def validation_of_videos(
    split: Split,
    preprocess: Preprocess,
    *,
    stages: Sequence[str],
    workers: int | None = None,
    limits: Limits | None = None,
) -> Validation | None:
    """Validation that decodes the held-out clips each time, for a backbone that is tuned.

    Args:
        split: Classes whose held-out clips can all be read.
        preprocess: How clips become frames.
        stages: Maps that the method reads.
        workers: Clips decoded in parallel.
        limits: What one clip may cost.
    """
    if not split.held:
        return None
    clips, labels = labelled(split.held)

    def frames() -> Iterator[Tensor]:
        for start in range(0, len(clips), _PIECE):
            some = clips[start : start + _PIECE]
            found = read_clips(some, preprocess, workers=workers, limits=limits or Limits())
            pixels = []
            for clip in found:
                if isinstance(clip, Exception):
                    raise clip
                pixels.append(torch.from_numpy(clip.frames))
            yield normalise(torch.stack(pixels), preprocess)

    return Validation.of_frames(
        frames,
        labels,
        stages=stages,
        names=tuple(split.held),
        training_names=tuple(split.train),
    )


def gathered(
    pieces: Iterable[Features], clips: int, *, half: bool = False, folder: Path
) -> Features:
    """The features of all clips as one, in memory, or in a nameless file if they are too large for it.

    Args:
        pieces: In order.
        clips: How many clips there are in all.
        half: Hold float16.
        folder: Where the file lies.

    Raises:
        SaveError: The disk has no room.
    """
    made: dict[str, Tensor] = {}
    at = 0
    for piece in pieces:
        parts = {**piece.maps, "": piece.pooled}
        if piece.people is not None:
            parts[" people"] = piece.people
        if not made:
            one = sum(value[0].numel() for value in parts.values()) * (2 if half else 4)
            mapped = one * clips > _memory() // 2
            for name, value in parts.items():
                dtype = torch.float16 if half else torch.float32
                shape = (clips, *value.shape[1:])
                made[name] = (
                    _on_disk(shape, dtype, folder) if mapped else torch.empty(shape, dtype=dtype)
                )
        for name, value in parts.items():
            made[name][at : at + len(value)] = value
        at += len(piece.pooled)
    pooled, people = made.pop(""), made.pop(" people", None)
    return Features(made, pooled, people)


def _on_disk(shape: tuple[int, ...], dtype: torch.dtype, folder: Path) -> Tensor:
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
            if (
                reserve is not None
            ):  # Room that turns out missing in a mapped file ends the process.
                reserve(file.fileno(), 0, size)
            kind = np.float16 if dtype == torch.float16 else np.float32
            return torch.from_numpy(np.memmap(file, dtype=kind, mode="w+", shape=shape))
    except OSError as error:
        raise SaveError(
            f"{size / 1e9:.1f} GB of features do not fit into memory nor into {str(folder)!r}: "
            f"{error.strerror or error}; make room, or hold float16 (--half)"
        ) from error


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30


def leaked(split: Split, content: Callable[[Path], str]) -> str | None:
    """One line where clips that are held out are also trained on; None where none is."""
    parts = {
        name: [clip for some in p.values() for clip in some] for name, p in split.parts.items()
    }
    known = {content(clip): clip for clip in parts.pop("train")}
    held = [clip for clips in parts.values() for clip in clips]
    both = [(clip, known[content(clip)]) for clip in held if content(clip) in known]
    if not both:
        return None
    said = "is also trained on" if len(both) == 1 else "are also trained on"
    return (
        f"{counted(len(both), 'held-out clip')} {said}, the first {both[0][0]}, which is {both[0][1]}: "
        "what is measured on them says too much"
    )


def _facts(classes: Classes, content: Callable[[Path], str]) -> dict[str, Any]:
    clips = [(f"{name}/{clip.name}", clip) for name, some in classes.items() for clip in some]
    return {
        "classes": len(classes),
        "clips": len(clips),
        "names_sha256": hash_of_lines(name for name, _ in clips),
        "contents_sha256": hash_of_lines(content(clip) for _, clip in clips),
    }
