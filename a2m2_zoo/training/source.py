"""Where episodes to train on come from: a batch is a pure function of the source's seed and an index.

So a run can go on where it stopped, and be split over processes, without any state of a sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Int
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.plans import EpisodeForm, EpisodeIndices, EpisodePlan, uniform
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.training.config import TrainingConfig

_CLIPS = 0x5DEECE66D  # keeps the draws of clips apart from those of classes


class EpisodeSource(Protocol):
    """What ``train`` draws its episodes from.

    Attributes:
        classes: Number of training classes (C).
    """

    classes: int

    def batch(self, index: int) -> TrainingBatch:
        """E episodes, on the CPU: the same for the same index, whatever was asked before.

        Clips lie flat, episode by episode. A source of frames gives ``support_frames`` and
        ``query_frames`` and leaves the features to the loop's backbone: ``Features`` with no maps and
        pooled vectors (clips, T, 0). A source of features gives those and, where it has none, no frames.

        Args:
            index: 0 or more. Rank r of w takes ``(step · accumulate + a) · w + r`` for its a-th batch
                of a step.
        """


class VariedSource:
    """Batches whose number of supports differs: from ``config.shot`` to ``config.most_shots``.

    Args:
        make: The source of one number of supports, from settings that have that number and a batch of about
            as many clips as the given ones.
        config: The settings; its seed says which batch has how many.

    Attributes:
        classes: Number of training classes.

    Raises:
        EpisodeError: A class has too few clips for so many supports.

    >>> features, labels = Features({}, torch.zeros(48, 1, 1)), torch.arange(4).repeat_interleave(12)
    >>> config = TrainingConfig(way=4, most_shots=10, query=2, batch=4)
    >>> def make(c: TrainingConfig) -> FeatureSource:
    ...     form = EpisodeForm(way=c.way, shot=c.shot, query=c.query, episodes=c.batch)
    ...     return FeatureSource(features, labels, form)
    >>> source = VariedSource(make, config)
    >>> [(b.episodes, len(b.labels) // b.way) for b in map(source.batch, range(4))]
    [(1, 7), (2, 4), (2, 4), (1, 8)]
    """

    def __init__(
        self, make: Callable[[TrainingConfig], EpisodeSource], config: TrainingConfig
    ) -> None:
        clips = config.batch * (config.shot + config.query) / config.deals
        shots = range(config.shot, config.most_shots + 1)
        draws = {shot: max(1, round(clips / (shot + config.query))) for shot in shots}
        self._sources = [
            make(replace(config, shot=shot, most_shots=0, batch=draws[shot] * config.deals))
            for shot in shots
        ]
        self.classes = self._sources[0].classes
        self._seed = config.seed

    def batch(self, index: int) -> TrainingBatch:
        """A batch of the source whose number of supports was drawn for this index."""
        share = uniform((self._seed << 20) + index, 1)[0]
        return self._sources[int(share * len(self._sources))].batch(index)


def varied(
    make: Callable[[TrainingConfig], EpisodeSource], config: TrainingConfig
) -> EpisodeSource:
    """The source that the settings ask for: of one number of supports, or of several."""
    return VariedSource(make, config) if config.most_shots else make(config)


class FeatureSource:
    """Episodes gathered from the features of all clips, held in memory or mapped from a file.

    Args:
        features: Of all n clips, on the CPU, in any floating precision; batches are float32.
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        form: The episodes; E of them are a batch.
        groups: (C,) group of each class, such as the family of sister classes or the studio that it
            comes from.
        group_share: Share of the episodes, 0 to 1, that are drawn around one class: with it as many of
            its group as fit, and others only where its group has fewer than ``way`` classes.

    Attributes:
        classes: C.

    Raises:
        ArgumentError: A share or the number of groups or labels does not fit.
        EpisodeError: Too few classes, or a class has too few clips.

    >>> features = Features({}, torch.arange(12.0).reshape(12, 1, 1))
    >>> labels = torch.arange(4).repeat_interleave(3)
    >>> source = FeatureSource(features, labels, EpisodeForm(way=2, episodes=3))
    >>> source.batch(5).query.pooled.shape, source.batch(5).episodes
    (torch.Size([6, 1, 1]), 3)
    """

    def __init__(
        self,
        features: Features,
        labels: Int[Tensor, " n"],
        form: EpisodeForm,
        *,
        groups: Sequence[int] | None = None,
        group_share: float = 0.5,
    ) -> None:
        clips = len(features.pooled)
        if len(labels) != clips:
            raise ArgumentError(f"there are {clips} clips and {len(labels)} labels; give one each")
        if not 0 <= group_share <= 1:
            raise ArgumentError(f"group_share is {group_share}; expected 0 to 1")
        counts = labels.bincount()
        if groups is not None and len(groups) != len(counts):
            raise ArgumentError(
                f"there are {len(groups)} groups and {len(counts)} classes; give one per class"
            )
        self.classes = len(counts)
        self._features = features
        self._plan = form.plan(counts.tolist())
        self._episodes = form.episodes
        self._groups = None if groups is None else np.asarray(groups)
        self._share = group_share
        self._order = labels.argsort(stable=True)
        self._first = counts.cumsum(0) - counts

    def batch(self, index: int) -> TrainingBatch:
        """Episodes ``index`` · E to ``index`` · E + E - 1 of the plan."""
        drawn = self._drawn(index * self._episodes, (index + 1) * self._episodes)
        plan = self._plan
        classes = torch.from_numpy(drawn.classes)[..., None]
        support, query = (
            self._order[self._first[classes] + torch.from_numpy(place)].flatten()
            for place in (drawn.support, drawn.query)
        )
        return TrainingBatch(
            query=self._taken(query),
            support=self._taken(support),
            labels=torch.arange(plan.way).repeat_interleave(plan.shot),
            query_labels=torch.arange(plan.way).repeat_interleave(plan.query),
            way=plan.way,
            support_classes=classes.expand(-1, -1, plan.shot).flatten(),
            query_classes=classes.expand(-1, -1, plan.query).flatten(),
        )

    def _drawn(self, start: int, stop: int) -> EpisodeIndices:
        if self._groups is None:
            return self._plan.episodes(start, stop)
        parts = [self._grouped(self._groups, index) for index in range(start, stop)]
        return EpisodeIndices(*(np.concatenate(some) for some in zip(*parts, strict=True)))

    def _grouped(self, groups: np.ndarray, index: int) -> tuple[np.ndarray, ...]:
        """One episode: a permutation of the classes, the first one's relatives moved to its front."""
        plan = self._plan
        every = EpisodePlan((2,) * self.classes, way=self.classes, seed=plan.seed)
        order = every.episodes(index, index + 1).classes[0]
        if uniform(plan.seed + (index << 32), 1)[0] < self._share:
            order = order[np.argsort(groups[order] != groups[order[0]], kind="stable")]
        chosen = order[: plan.way]
        counts = tuple(plan.counts[c] for c in chosen)
        clips = EpisodePlan(
            counts, way=plan.way, shot=plan.shot, query=plan.query, seed=plan.seed ^ _CLIPS
        ).episodes(index, index + 1)
        return chosen[clips.classes[0]][None], clips.support, clips.query

    def _taken(self, clips: Tensor) -> Features:
        held = self._features
        return Features(
            {stage: value[clips].float() for stage, value in held.maps.items()},
            held.pooled[clips].float(),
        )
