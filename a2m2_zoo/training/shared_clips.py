"""Several episodes dealt from the clips of one draw, so that a clip is encoded once for all of them.

Most of a step goes into encoding clips, and a clip that was encoded tells more than one episode has room for:
against other classes, as a query instead of a support. A draw holds the clips of a few more classes than an
episode, and episodes are dealt from it like hands of cards, each anew.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from a2m2_zoo.data.plans import EpisodeForm, EpisodePlan
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.source import EpisodeSource


class DealtSource:
    """A source whose episodes are taken for draws: of each, several episodes are dealt.

    Which clips were supports in the draw does not matter, unless only its queries are augmented.

    Args:
        source: Draws, of features or of frames: episodes of as many ways as a draw has classes.
        way: Classes per episode (W), at most as many as a draw has.
        shot: Supports per class (K).
        query: Queries per class (Q); a draw has at least K + Q clips of each class.
        deals: Episodes per draw.
        seed: Of the deals; any integer.

    Attributes:
        classes: Number of training classes.

    Raises:
        ArgumentError: ``deals`` is below 1; later, if batches of the source are dealt already.
        EpisodeError: Later: a draw has too few classes or clips.

    >>> from a2m2_zoo.backbones import Features
    >>> from a2m2_zoo.training import FeatureSource
    >>> features, labels = Features({}, torch.zeros(32, 1, 1)), torch.arange(8).repeat_interleave(4)
    >>> draws = FeatureSource(features, labels, EpisodeForm(way=6, query=2, episodes=2))
    >>> batch = DealtSource(draws, way=5, shot=1, query=2, deals=10, seed=0).batch(0)
    >>> batch.episodes, batch.clips  # 20 episodes of 15 clips would be 300
    (20, 36)
    """

    def __init__(
        self, source: EpisodeSource, *, way: int, shot: int, query: int, deals: int, seed: int
    ) -> None:
        if deals < 1:
            raise ArgumentError(f"deals is {deals}; expected 1 or more")
        self.classes = source.classes
        self._source = source
        self._sizes = {"way": way, "shot": shot, "query": query}
        self._deals = deals
        self._seed = seed

    def batch(self, index: int) -> TrainingBatch:
        """The source's batch with ``deals`` episodes of each of its draws."""
        batch = self._source.batch(index)
        if batch.query_places is not None:
            raise ArgumentError("the source's batches are dealt already; deal from plain episodes")
        places = _places(batch)
        plan = EpisodePlan((places.shape[-1],) * batch.way, seed=self._seed, **self._sizes)
        count = batch.episodes * self._deals
        hands = plan.episodes(index * count, (index + 1) * count)
        draw = torch.arange(batch.episodes).repeat_interleave(self._deals)[:, None, None]
        classes = torch.from_numpy(hands.classes)[..., None]
        support, query = (
            places[draw, classes, torch.from_numpy(clips)].flatten(1)
            for clips in (hands.support, hands.query)
        )
        ways = torch.arange(plan.way)
        return replace(
            batch,
            labels=ways.repeat_interleave(plan.shot),
            query_labels=ways.repeat_interleave(plan.query),
            way=plan.way,
            support_places=support,
            query_places=query,
        )


def draws(config: TrainingConfig) -> EpisodeForm:
    """The form of the source that ``dealt`` takes: its episodes are the draws."""
    return EpisodeForm(
        way=config.pool or config.way,
        shot=config.shot,
        query=config.query,
        episodes=config.batch // config.deals,
        seed=config.seed,
    )


def dealt(source: EpisodeSource, config: TrainingConfig) -> EpisodeSource:
    """The episodes that the settings ask for, from a source of ``draws(config)``."""
    if config.deals == 1:
        return source
    sizes = {"way": config.way, "shot": config.shot, "query": config.query}
    return DealtSource(source, **sizes, deals=config.deals, seed=config.seed)


def _places(batch: TrainingBatch) -> Tensor:
    """(draws, classes, clips of a class) place of each clip among all of the batch, supports first."""
    supports, queries = len(batch.support.pooled), len(batch.query.pooled)
    sides = (
        (torch.arange(supports), batch.labels),
        (torch.arange(supports, supports + queries), batch.query_labels),
    )
    sorted_by_class = [
        clips.view(batch.episodes, -1)[:, labels.argsort(stable=True)].view(
            batch.episodes, batch.way, -1
        )
        for clips, labels in sides
    ]
    return torch.cat(sorted_by_class, -1)
