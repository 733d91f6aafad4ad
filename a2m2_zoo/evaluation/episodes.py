"""Which clips each episode holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Int
from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.errors import ArgumentError


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
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = 10_000,
    seed: int = 0,
) -> Draw:
    """Which clips each episode holds: a pure function of the labels, the sizes and the seed.

    Args:
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        way: Classes per episode.
        shot: Supports per class.
        query: Queries per class.
        episodes: How many.
        seed: Any integer.

    Raises:
        EpisodeError: Too few classes or clips.
        ArgumentError: A size is below one.
    """
    if episodes < 1:
        raise ArgumentError(f"episodes is {episodes}; expected 1 or more")
    counts = labels.bincount()
    plan = EpisodePlan(tuple(counts.tolist()), way=way, shot=shot, query=query, seed=seed)
    drawn = plan.episodes(0, episodes)
    classes = torch.from_numpy(drawn.classes)
    order = labels.argsort(stable=True)
    first = (counts.cumsum(0) - counts)[classes][..., None]
    return Draw(
        classes,
        order[first + torch.from_numpy(drawn.support)].flatten(1),
        order[first + torch.from_numpy(drawn.query)].flatten(1),
        torch.arange(way).repeat_interleave(shot),
        torch.arange(way).repeat_interleave(query),
    )
