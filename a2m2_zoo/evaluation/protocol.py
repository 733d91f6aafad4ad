"""The standard protocol: many W-way K-shot episodes on clips that were encoded once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._typing import Bool, Float, Int
from a2m2_zoo.calibration import shipped_scale, support_scale
from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.evaluation.statistics import expected_calibration_error, mean_interval
from a2m2_zoo.methods.base import Descriptors, as_pairwise, take
from a2m2_zoo.model import Model

_CHUNK = 64  # queries whose pair scores are computed together


@dataclass(frozen=True)
class Outcome:
    """What a run of the protocol found.

    Attributes:
        right: (E, W·Q) whether each query of each episode got its label.
        confidence: (E, W·Q) probability of the answer that was given.
        logits: (E, W·Q, W) raw scores; the queries of a class follow each other.
    """

    right: Bool[np.ndarray, "e q"]
    confidence: Float[np.ndarray, "e q"]
    logits: Float[Tensor, "e q w"]

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
    leave_one_out: bool = True,
) -> Outcome:
    """Run episodes over clips that ``Model.encode`` has encoded.

    Where a pair's score does not depend on the other supports, every pair is computed once, in chunks of
    queries, and all episodes are gathered from that; other methods are scored episode by episode.

    Args:
        model: The model that made the descriptors.
        descriptors: Descriptors of all N clips.
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times.
        way: Classes per episode.
        shot: Supports per class.
        query: Queries per class.
        episodes: How many.
        seed: Of the plan of episodes.
        leave_one_out: Fit the probabilities to the supports, as ``classify`` does. It costs time and
            changes no answer, only the confidence.

    Raises:
        EpisodeError: Too few classes or clips.
    """
    method = as_pairwise(model.method)
    pairs = pair_scores(model, descriptors) if method and method.context_free else None
    supports, queries = _drawn(
        labels, way=way, shot=shot, query=query, episodes=episodes, seed=seed
    )
    support_labels = torch.arange(way).repeat_interleave(shot)
    prior = shipped_scale(model.scales, shot)
    logits = torch.empty(episodes, way * query, way)
    scale = torch.full((episodes, 1, 1), prior, dtype=torch.float64)
    if pairs is not None:
        chosen = pairs[queries[:, :, None], supports[:, None, :]]
        logits = chosen.reshape(*chosen.shape[:-1], way, shot).mean(-1)
    for e, (s, q) in enumerate(zip(supports, queries, strict=True)):
        known = take(descriptors, s)
        if pairs is None:
            logits[e] = model.logits(take(descriptors, q), known, labels=support_labels, way=way)
        if shot == 1 or not leave_one_out:
            continue
        if pairs is None:
            scale[e] = model.scale(known, labels=support_labels, way=way)
        else:
            scale[e] = support_scale(pairs[s][:, s], support_labels, way=way, prior=prior)
    confidence, answer = (logits.double() * scale).softmax(-1).max(-1)
    truth = torch.arange(way).repeat_interleave(query)
    return Outcome((answer == truth).numpy(), confidence.numpy(), logits)


@torch.inference_mode()
def pair_scores(model: Model, descriptors: Descriptors) -> Float[Tensor, "n n"]:
    """Scores of every clip against every clip, by a model whose method is pairwise."""
    count = len(next(iter(descriptors.values())))
    chunks = (take(descriptors, slice(i, i + _CHUNK)) for i in range(0, count, _CHUNK))
    rows = (model.pairs(chunk, descriptors) for chunk in chunks)
    return torch.cat([row for row in rows if row is not None])


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
