"""A small set of one's own: when it is one, how it is divided, and episodes that fit into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from a2m2_zoo._utils.words import counted
from a2m2_zoo.data.plans import uniform
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.training.dataset import Classes, Split, hold_out
from a2m2_zoo.training.verdict import FEWEST

RECIPE = "small"
WAYS = ("classes", "clips")  # of holding out
SHARE = 0.4  # is held out, unless somebody says
MOST_CLASSES, MOST_CLIPS = 40, 1000
_CLASSES = 8  # with fewer, clips are held out


def is_small(classes: Classes) -> bool:
    """Whether a folder is one that the recipe ``small`` is for."""
    return len(classes) <= MOST_CLASSES and sum(map(len, classes.values())) <= MOST_CLIPS


def divided(
    classes: Classes, *, by: str | None = None, share: float | None = None, seed: int = 0
) -> Split:
    """What to train on, what to choose weights by, and what to tell by whether training helped, by halves.

    Args:
        classes: All of them.
        by: ``"classes"``: some are held out, which says what training is worth for actions that come later;
            ``"clips"``: some of every class, which says what it is worth for these. None: classes, where
            there are eight or more.
        share: Of the classes or clips that is held out; ``SHARE`` if None.
        seed: Any integer.

    Raises:
        ArgumentError: The share leaves nothing on one side, or ``by`` is no way of holding out.
        EpisodeError: As ``halved`` has it, or no two classes are left to train on.

    >>> clips = {name: [Path(f"{name}{i}.mp4") for i in range(20)] for name in "abcdefghij"}
    >>> split = divided(clips)
    >>> [sum(map(len, part.values())) for part in (split.train, split.held, split.judged)]
    [120, 40, 40]
    """
    share = SHARE if share is None else share
    if not 0 < share < 1:
        raise ArgumentError(
            f"the share to hold out is {share}; the recipe {RECIPE} tells by held-out clips whether training "
            "helped: give more than 0 and less than 1, or name a --method to do without"
        )
    if by is None:
        by = "classes" if len(classes) >= _CLASSES else "clips"
    if by not in WAYS:
        raise ArgumentError(f"held out are {by!r}; expected one of {', '.join(WAYS)}")
    if by == "classes":
        split = hold_out(classes, share, seed=seed)
        known, held = split.train, split.held
    else:
        mixed = {name: _mixed(clips, seed=seed) for name, clips in classes.items()}
        ends = {name: max(2, round(share * len(clips))) for name, clips in classes.items()}
        held = {name: clips[: ends[name]] for name, clips in mixed.items()}
        known = {name: sorted(clips[ends[name] :]) for name, clips in mixed.items()}
    return halved(Split(known, held, same=by == "clips"), seed=seed)


def halved(split: Split, *, seed: int = 0) -> Split:
    """The same, with half of every held-out class's clips to choose by and half to judge by.

    Args:
        split: Without clips to judge by.
        seed: Any integer.

    Raises:
        EpisodeError: There are too few to tell anything.
    """
    mixed = {name: _mixed(clips, seed=seed + 1) for name, clips in split.held.items()}
    held, judged = (
        {name: sorted(clips[side::2]) for name, clips in mixed.items()} for side in (0, 1)
    )
    return told(replace(split, held=held, judged=judged))


def told(split: Split) -> Split:
    """The split, if it has what it takes to tell whether training helped.

    Raises:
        EpisodeError: It has not.
    """
    count = sum(map(len, split.judged.values()))
    if count < FEWEST or len(split.judged) < 2:
        raise EpisodeError(
            f"too few clips to tell whether training helped: {counted(count, 'clip')} of "
            f"{counted(len(split.judged), 'class')} would be left to judge it by, and at least {FEWEST} of 2 "
            "classes are needed; use the model as it is, with these clips as supports, or add clips"
        )
    return split


def fitted(split: Split, given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the recipe with episodes that the classes have clips for.

    Args:
        split: What is trained on, and held out.
        given: Settings that somebody asked for; these stay.
        own: The recipe's.
    """
    made = {**own, **given}
    if "batch" in given and "deals" not in given:
        made["deals"], made["pool"] = 1, 0
    classes, clips = len(split.train), _fewest(split.train)
    shot = made["shot"] if isinstance(made["shot"], int) else 1
    for name, room in (("way", classes), ("shot", clips - 1), ("query", clips - shot)):
        if name not in given:
            made[name] = max(min(made[name], room), 2 if name == "way" else 1)
    if made["pool"] and "pool" not in given and isinstance(made["way"], int):
        made["pool"] = max(made["way"], min(made["pool"], classes))
    if "validate_shots" not in given:
        # Classes that are trained on are recognised with all of those clips as supports, and so is asked.
        most = _fewest(split.train) if split.same else _fewest(split.held) - 1
        shots = [most] if split.same else [s for s in made["validate_shots"] if s <= most]
        made["validate_shots"] = shots or [1]
    return made


def _fewest(classes: Classes) -> int:
    """Clips of the smallest class, without those that are too small for any episode."""
    counts = [len(clips) for clips in classes.values()]
    return min([count for count in counts if count > 2] or counts or [0])


def _mixed(clips: Sequence[Path], *, seed: int) -> list[Path]:
    """In an order that the seed decides."""
    return [clips[i] for i in np.argsort(uniform(seed, len(clips)), kind="stable")]
