"""Clips with their labels, and which of them each episode holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Int
from a2m2_zoo.data.plans import EpisodeForm, EpisodePlan
from a2m2_zoo.errors import ArgumentError, EpisodeError

_ATTEMPTS = 100


def labelled(classes: Mapping[str, Sequence[Path]]) -> tuple[list[Path], Int[Tensor, " n"]]:
    """All clips, class by class, and the number of each one's class.

    >>> clips, labels = labelled({"jump": [Path("a.mp4")], "wave": [Path("b.mp4"), Path("c.mp4")]})
    >>> [clip.name for clip in clips], labels
    (['a.mp4', 'b.mp4', 'c.mp4'], tensor([0, 1, 1]))
    """
    counts = torch.tensor([len(some) for some in classes.values()])
    clips = [clip for some in classes.values() for clip in some]
    return clips, torch.arange(len(counts)).repeat_interleave(counts)


@dataclass(frozen=True)
class Draw:
    """E episodes among N clips. The supports of a class follow each other, and so do its queries.

    Attributes:
        classes: (E, W) the classes of each episode.
        support: (E, W·K) indices of clips.
        query: (E, W·Q) indices of clips.
        labels: (W·K,) class of each support within its episode.
        truth: (W·Q,) class of each query within its episode.
    """

    classes: Int[Tensor, "e w"]
    support: Int[Tensor, "e n"]
    query: Int[Tensor, "e q"]
    labels: Int[Tensor, " n"]
    truth: Int[Tensor, " q"]

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def way(self) -> int:
        """W."""
        return self.classes.shape[1]

    @property
    def shot(self) -> int:
        """K."""
        return len(self.labels) // self.way


def draw_episodes(
    labels: Int[Tensor, " n"],
    form: EpisodeForm,
    *,
    sources: Int[Tensor, " n"] | None = None,
    asked: Bool[Tensor, " n"] | None = None,
) -> Draw:
    """Which clips each episode holds: a pure function of the arguments.

    Args:
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        form: The episodes' sizes, how many, and the seed.
        sources: Number of the recording or the person that each clip is of. No source then stands on both
            sides of an episode: what clips of one recording share is no action. The official plan without.
        asked: Which clips are queries; all others are supports, and each class has enough of both. Instead of
            ``sources``.

    Raises:
        EpisodeError: Too few classes or clips, or too few sources to keep both sides apart.
        ArgumentError: There is not one source for each clip.
    """
    if asked is not None:
        return _between(labels, asked, form)
    counts = labels.bincount()
    plan = form.plan(counts.tolist())
    if sources is not None:
        return _apart(labels, sources, plan, form.episodes)
    drawn = plan.episodes(0, form.episodes)
    classes = torch.from_numpy(drawn.classes)
    order = labels.argsort(stable=True)
    first = (counts.cumsum(0) - counts)[classes][..., None]
    return Draw(
        classes,
        order[first + torch.from_numpy(drawn.support)].flatten(1),
        order[first + torch.from_numpy(drawn.query)].flatten(1),
        torch.arange(form.way).repeat_interleave(form.shot),
        torch.arange(form.way).repeat_interleave(form.query),
    )


def _between(labels: Int[Tensor, " n"], asked: Bool[Tensor, " n"], form: EpisodeForm) -> Draw:
    """Episodes whose queries are among the clips that are asked about, and whose supports are not."""
    classes = range(int(labels.max()) + 1)
    supports, queries = (
        [np.flatnonzero(((asked == side) & (labels == c)).numpy()) for c in classes]
        for side in (False, True)
    )
    fewest = min(map(len, supports)), min(map(len, queries))
    if fewest[0] < form.shot or fewest[1] < form.query or form.way > len(classes):
        raise EpisodeError(
            f"{form.way}-way {form.shot}-shot episodes with {form.query} query clip(s) need so many of each "
            f"class; there are {len(classes)} classes, with {fewest[0]} supports and {fewest[1]} queries at "
            "least; lower way or shot, or give more clips"
        )
    found = []
    for episode in range(form.episodes):
        rng = np.random.default_rng((abs(form.seed), episode))
        chosen = rng.permutation(len(classes))[: form.way]
        found.append(
            (
                chosen,
                np.concatenate([rng.permutation(supports[c])[: form.shot] for c in chosen]),
                np.concatenate([rng.permutation(queries[c])[: form.query] for c in chosen]),
            )
        )
    drawn = (torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True))
    of_classes, support, query = drawn
    ways = torch.arange(form.way)
    return Draw(
        of_classes,
        support,
        query,
        ways.repeat_interleave(form.shot),
        ways.repeat_interleave(form.query),
    )


def _apart(
    labels: Int[Tensor, " n"], sources: Int[Tensor, " n"], plan: EpisodePlan, episodes: int
) -> Draw:
    """Episodes of the plan's sizes whose queries and supports share no source."""
    if len(sources) != len(labels):
        raise ArgumentError(f"{len(labels)} clips have {len(sources)} sources; give one for each")
    of_clip = sources.numpy()
    members = [np.flatnonzero(labels.numpy() == c) for c in range(len(plan.counts))]
    found = [_one_apart(of_clip, members, plan, episode) for episode in range(episodes)]
    classes, support, query = (
        torch.from_numpy(np.stack(part)) for part in zip(*found, strict=True)
    )
    return Draw(
        classes,
        support,
        query,
        torch.arange(plan.way).repeat_interleave(plan.shot),
        torch.arange(plan.way).repeat_interleave(plan.query),
    )


def _one_apart(
    sources: np.ndarray, members: list[np.ndarray], plan: EpisodePlan, episode: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((abs(plan.seed), episode, attempt))
        classes = rng.permutation(len(members))[: plan.way]
        shuffled = [rng.permutation(members[c]) for c in classes]
        query = np.concatenate([some[: plan.query] for some in shuffled])
        taken = set(sources[query].tolist())
        rest = [[clip for clip in some if sources[clip] not in taken] for some in shuffled]
        if min(map(len, rest)) >= plan.shot:
            support = np.concatenate([some[: plan.shot] for some in rest])
            return classes, support, query
    raise EpisodeError(
        f"in {_ATTEMPTS} tries no episode had {plan.shot} supports of every class that share no source with "
        "the queries; give clips of more sources, or ask for fewer shots"
    )
