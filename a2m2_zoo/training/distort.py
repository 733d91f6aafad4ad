"""Episodes made harder in the features themselves: clips out of step, and a domain for each episode.

A frozen backbone's features cannot be augmented like pictures. What can be varied is when a clip looks, since
every frame has features of its own, and how the backbone answers: users' clips come from another domain
than generated ones, so every episode gets one, a factor and an offset per channel that all its clips share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.warps import looked_at, padded, shifted, trimmed
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.training.source import EpisodeSource

_SEEDS = 2**63


@dataclass(frozen=True)
class Distortion(Config):
    """How much is varied.

    Attributes:
        moved: Share of the clips, 0..1, that are shifted, trimmed or padded with still frames, each by up
            to half of the clip.
        domain: Deviation of the logarithm of a channel's factor, and of its offset in the channel's own
            deviations; 0 leaves the channels alone.
    """

    moved: float = 0.3
    domain: float = 0.15

    def __post_init__(self) -> None:
        self._number("moved", low=0.0)
        self._number("domain", low=0.0)
        if self.moved > 1:
            raise ArgumentError(f"moved is {self.moved}; expected a share, 0 to 1")


class DistortedSource:
    """A source of features whose batches are distorted: a pure function of the seed and the index.

    Args:
        source: Gives features, not frames; to have episodes share clips, deal from the distorted ones.
        distortion: How much.
        seed: Any integer.

    Attributes:
        classes: Number of training classes.
    """

    def __init__(self, source: EpisodeSource, distortion: Distortion, *, seed: int) -> None:
        self.classes = source.classes
        self._source = source
        self._distortion = distortion
        self._seed = seed

    def batch(self, index: int) -> TrainingBatch:
        """The source's batch, distorted.

        Raises:
            ArgumentError: Its episodes share clips.
        """
        batch = self._source.batch(index)
        if batch.query_places is not None:
            raise ArgumentError(
                "episodes share clips and so have no domain each; deal from this source"
            )
        draw = torch.Generator().manual_seed((self._seed * 1_000_003 + index) % _SEEDS)
        support = out_of_step(batch.support, share=self._distortion.moved, draw=draw)
        query = out_of_step(batch.query, share=self._distortion.moved, draw=draw)
        if self._distortion.domain:
            support, query = one_domain(
                support,
                query,
                episodes=batch.episodes,
                deviation=self._distortion.domain,
                draw=draw,
            )
        return replace(batch, support=support, query=query)


class MixedSource:
    """Batches of several sources by turns, in given shares.

    Args:
        sources: Over the same training classes.
        shares: Whole numbers: how many of each round of batches come from each source.

    Raises:
        ArgumentError: Shares do not match the sources, or classes differ.

    >>> from a2m2_zoo.data.plans import EpisodeForm
    >>> from a2m2_zoo.training import FeatureSource
    >>> features = Features({}, torch.zeros(8, 1, 1))
    >>> labels = torch.arange(2).repeat_interleave(4)
    >>> one, two = (FeatureSource(features, labels, EpisodeForm(way=2, query=q)) for q in (1, 2))
    >>> [len(MixedSource([one, two], [2, 1]).batch(i).query_labels) for i in range(4)]
    [2, 2, 4, 2]
    """

    def __init__(self, sources: list[EpisodeSource], shares: list[int]) -> None:
        if len(sources) != len(shares) or not sources or min(shares) < 1:
            raise ArgumentError(
                f"{len(sources)} sources came with shares {shares}; give each a whole number above 0"
            )
        if len({source.classes for source in sources}) > 1:
            raise ArgumentError("the sources have different numbers of classes; number them alike")
        self.classes = sources[0].classes
        self._turns = [i for i, share in enumerate(shares) for _ in range(share)]
        self._sources = sources

    def batch(self, index: int) -> TrainingBatch:
        """The batch of the source whose turn it is."""
        return self._sources[self._turns[index % len(self._turns)]].batch(index)


def out_of_step(clips: Features, *, share: float, draw: torch.Generator) -> Features:
    """A share of the clips shifted, trimmed or padded with still frames, by up to half of the clip.

    Args:
        clips: Features of B clips.
        share: 0 to 1.
        draw: Where the draws come from.
    """
    count, frames = clips.pooled.shape[:2]
    at = (torch.arange(frames) + 0.5) / frames
    kind, chosen, amount, side = torch.rand(4, count, 1, generator=draw)
    amount = amount / 2
    step, cut, still = (warp(at, amount=amount, side=side) for warp in (shifted, trimmed, padded))
    moved = torch.where(kind < 1 / 3, step, torch.where(kind < 2 / 3, cut, still))
    return looked_at(clips, torch.where(chosen < share, moved, at))


def one_domain(
    support: Features,
    query: Features,
    *,
    episodes: int,
    deviation: float,
    draw: torch.Generator,
) -> tuple[Features, Features]:
    """All clips of an episode under one random factor and offset per channel.

    Args:
        support: Features of E·N clips.
        query: Features of E·Q clips.
        episodes: E.
        deviation: Of the logarithm of the factor, and of the offset in deviations of the channel.
        draw: Where the draws come from.
    """
    maps: list[dict[str, Tensor]] = [{}, {}]
    for stage, value in support.maps.items():
        maps[0][stage], maps[1][stage] = _answered(
            value, query.maps[stage], episodes, deviation, draw
        )
    pooled = _answered(support.pooled, query.pooled, episodes, deviation, draw)
    return Features(maps[0], pooled[0]), Features(maps[1], pooled[1])


def _answered(
    support: Float[Tensor, "n t c *s"],
    query: Float[Tensor, "q t c *s"],
    episodes: int,
    deviation: float,
    draw: torch.Generator,
) -> tuple[Tensor, Tensor]:
    channels = support.shape[2]
    spread = support.movedim(2, 0).flatten(1).std(1)
    factor = (deviation * torch.randn(episodes, channels, generator=draw)).exp()
    offset = deviation * torch.randn(episodes, channels, generator=draw) * spread
    changed = []
    for value in (support, query):
        shape = (episodes, 1, 1, channels, *(1,) * (value.ndim - 3))
        clips = torch.unflatten(value, 0, (episodes, -1))
        changed.append((clips * factor.reshape(shape) + offset.reshape(shape)).flatten(0, 1))
    return changed[0], changed[1]
