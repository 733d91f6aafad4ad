"""The standard protocol: many W-way K-shot episodes on clips that were encoded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._typing import Bool, Float, Int
from a2m2_zoo.calibration import fitted_scale, leave_one_out_logits, shipped_scale
from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.evaluation.statistics import expected_calibration_error, mean_interval
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod, as_pairwise, take
from a2m2_zoo.model import Model

_CHUNK = 64  # queries whose pair scores are computed together


@dataclass(frozen=True)
class Outcome:
    """What a run of the protocol found.

    Attributes:
        right: (E, W·Q) whether each query of each episode got its label.
        confidence: (E, W·Q) probability of the answer that was given.
    """

    right: Bool[np.ndarray, "e q"]
    confidence: Float[np.ndarray, "e q"]

    @property
    def accuracy(self) -> tuple[float, float]:
        """Mean accuracy over episodes and half width of its 95 % interval, in percent."""
        mean, half = mean_interval(100 * self.right.mean(1))
        return mean, half

    @property
    def calibration_error(self) -> float:
        """Expected calibration error of the answers, 0 to 1."""
        return expected_calibration_error(self.confidence.ravel(), self.right.ravel())


@torch.inference_mode()
def evaluate(
    model: Model,
    descriptors: Descriptors,
    labels: Int[Tensor, " n"],
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = 10_000,
    seed: int = 0,
) -> Outcome:
    """Run episodes over clips that ``Model.encode`` has encoded.

    A method whose class score is the mean over pairs has every pair computed once, in chunks of queries,
    and all episodes gathered from that; others are scored episode by episode.

    Args:
        model: The model that made the descriptors.
        descriptors: Descriptors of all N clips.
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        way: Classes per episode.
        shot: Supports per class.
        query: Queries per class.
        episodes: How many.
        seed: Of the plan of episodes.

    Raises:
        EpisodeError: Too few classes or clips.
    """
    supports, queries = _drawn(labels, way=way, shot=shot, query=query, episodes=episodes, seed=seed)
    truth = torch.arange(way).repeat_interleave(query)
    support_labels = torch.arange(way).repeat_interleave(shot)
    prior = shipped_scale(model.scales, shot)
    method = as_pairwise(model.method)
    pairs = pair_scores(method, descriptors) if method else None
    right, confidence = [], []
    for s, q in zip(supports, queries, strict=True):
        if pairs is not None:
            logits = pairs[q][:, s].unflatten(1, (way, shot)).mean(-1)
            known = leave_one_out_logits(pairs[s][:, s], support_labels, way=way) if shot > 1 else None
            scale = fitted_scale(*known, prior=prior) if known else prior
        else:
            here, there = take(descriptors, q), take(descriptors, s)
            logits = model.logits(here, there, labels=support_labels, way=way)
            scale = prior
        probability, answer = (logits.double() * scale).softmax(-1).max(-1)
        right.append((answer == truth).numpy())
        confidence.append(probability.numpy())
    return Outcome(np.stack(right), np.stack(confidence))


@torch.inference_mode()
def pair_scores(method: PairwiseMethod, descriptors: Descriptors) -> Float[Tensor, "n n"]:
    """Scores of every clip against every clip."""
    count = len(next(iter(descriptors.values())))
    rows = [
        method.pairs(take(descriptors, slice(i, i + _CHUNK)), descriptors)
        for i in range(0, count, _CHUNK)
    ]
    return torch.cat(rows)


def _drawn(
    labels: Tensor, *, way: int, shot: int, query: int, episodes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Index of every support and query of every episode among the N clips, class by class."""
    counts = labels.bincount()
    plan = EpisodePlan(tuple(counts.tolist()), way=way, shot=shot, query=query, seed=seed)
    drawn = plan.episodes(0, episodes)
    order = labels.argsort(stable=True)
    first = (counts.cumsum(0) - counts)[torch.from_numpy(drawn.classes)][..., None]
    return (
        order[first + torch.from_numpy(drawn.support)].flatten(1),
        order[first + torch.from_numpy(drawn.query)].flatten(1),
    )
