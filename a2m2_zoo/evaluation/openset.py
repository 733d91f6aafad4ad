"""The open-set protocol: episodes half of whose queries are of none of the classes.

The known half is the standard protocol's, to the clip: same seed, same classes, supports and queries. After
Liu et al., "Few-Shot Open-Set Recognition Using Meta-Learning" (CVPR 2020): as many unknown classes as known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.data.draws import Draw, draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.protocol import Progress, episode_pairs, in_tiles, score_draw
from a2m2_zoo.evaluation.statistics import (
    accuracy_at,
    auroc,
    expected_calibration_error,
    mean_interval,
)
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod, as_pairwise
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet

#: Share of the known queries that is answered where ``OpenFigures.accuracy_answered`` is measured.
ANSWERED = 0.8
_STANDARD = EpisodeForm()


@dataclass(frozen=True)
class OpenFigures:
    """What rejection is worth, from one run of the protocol.

    Attributes:
        auroc: How often a query of a known class scores higher than one of an unknown class of the same
            episode, mean over episodes, 0 to 1; 0.5 is guessing.
        auroc_interval: Half width of its 95 % interval over episodes.
        auroc_pooled: The same over all episodes at once: what one threshold for all of them can do.
        accuracy_answered: Percent right of the known queries, the fifth with the lowest confidence left
            unanswered.
        accuracy: Percent right of all known queries.
        calibration_error: Of the probability of being right, over all queries, 0 to 1; None where there is
            no such probability and the best raw score stands for it.
    """

    auroc: float
    auroc_interval: float
    auroc_pooled: float
    accuracy_answered: float
    accuracy: float
    calibration_error: float | None


@dataclass(frozen=True)
class OpenOutcome:
    """What a run found.

    Attributes:
        draw: The episodes; a query whose ``truth`` is W or more is of no class.
        right: (E, Q) whether each query is known and got its label.
        known: (E, Q) how much speaks for the query being of a class: a probability, or the best raw score.
        confidence: (E, Q) how much speaks for the answer being right: a probability, or the best raw score.
        calibrated: Whether they are probabilities.
    """

    draw: Draw
    right: Bool[np.ndarray, "e q"]
    known: Float[np.ndarray, "e q"]
    confidence: Float[np.ndarray, "e q"]
    calibrated: bool

    @property
    def inside(self) -> Bool[np.ndarray, " q"]:
        """Which queries are of a known class, the same in every episode."""
        return np.asarray((self.draw.truth < self.draw.way).numpy())

    def figures(self) -> OpenFigures:
        """The outcome in few figures."""
        inside = self.inside
        high, low = self.known[:, inside, None], self.known[:, None, ~inside]
        wins = ((high > low) + 0.5 * (high == low)).mean((1, 2))
        mean, half = mean_interval(wins)
        right, sure = self.right[:, inside].ravel(), self.confidence[:, inside].ravel()
        everywhere = np.broadcast_to(inside, self.known.shape).ravel()
        error = None
        if self.calibrated:
            error = expected_calibration_error(self.confidence.ravel(), self.right.ravel())
        return OpenFigures(
            auroc=mean,
            auroc_interval=half,
            auroc_pooled=auroc(self.known.ravel(), everywhere),
            accuracy_answered=100 * accuracy_at(sure, right, ANSWERED),
            accuracy=100 * float(right.mean()),
            calibration_error=error,
        )


def draw_open(labels: Int[Tensor, " n"], form: EpisodeForm) -> Draw:
    """Episodes of W known classes with supports and W unknown ones without; all have queries.

    Args:
        labels: Class of each clip, 0..C-1, each at least ``shot + query`` times, C ≥ 2·way.
        form: W, and as many unknown classes; supports per known class; queries per class, known or not.

    Returns:
        A draw whose ``truth`` is W or more for queries of unknown classes.

    Raises:
        EpisodeError: Fewer than 2·way classes, or too few clips.
    """
    both = draw_episodes(labels, replace(form, way=2 * form.way))
    few = form.way * form.shot
    return Draw(
        both.classes[:, : form.way],
        both.support[:, :few],
        both.query,
        both.labels[:few],
        both.truth,
    )


def pairs_of(
    method: PairwiseMethod,
    descriptors: Descriptors,
    draw: Draw,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Float[Tensor, "e q n"], Float[Tensor, "e n n"]]:
    """Scores of queries against supports, and of supports against supports, of every episode."""
    how: dict[str, Any] = {"workers": workers, "progress": progress}
    pairs = episode_pairs(method, descriptors, draw, among=True, **how)

    def both(tile: slice) -> Tensor:
        asked, known = pairs(tile)
        assert known is not None
        return torch.cat([asked, known], 1)

    found = torch.cat(in_tiles(both, descriptors, draw, **how))
    count = draw.query.shape[1]
    return found[:, :count], found[:, count:]


@plain()
def evaluate_open(
    method: Method,
    descriptors: Descriptors,
    labels: Int[Tensor, " n"],
    *,
    model: Model | None = None,
    form: EpisodeForm = _STANDARD,
    workers: int | None = None,
    progress: Progress | None = None,
) -> OpenOutcome:
    """Run open-set episodes over clips that were encoded once.

    Args:
        method: The method that made the descriptors.
        descriptors: Descriptors of all N clips.
        labels: Class of each clip, 0..C-1.
        model: Whose head ``method`` is: its probabilities are what is measured, where it ships weights of
            rejection. Otherwise, and without it, the best raw score is: the baseline.
        form: The episodes, as ``draw_open`` takes them: 10,000 of 5-way 1-shot if not given.
        workers: Threads; as many as there are cores if None. It does not change the result.
        progress: Called with episodes done and all episodes.

    Raises:
        EpisodeError: Fewer than 2·way classes, or too few clips.
    """
    draw = draw_open(labels, form)
    pairwise = as_pairwise(method)
    if model is None or model.table is None or pairwise is None:
        logits = score_draw(method, descriptors, draw, workers=workers, progress=progress).double()
        best, answer = logits.max(-1)
        return OpenOutcome(draw, _right(answer, draw), best.numpy(), best.numpy(), False)
    pairs, among = pairs_of(pairwise, descriptors, draw, workers=workers, progress=progress)
    supports = SupportSet.of(model, among, draw.labels, way=form.way)
    known = supports.known(pairs)
    if known is None:  # its table is for other numbers of supports
        return evaluate_open(method, descriptors, labels, form=form, workers=workers)
    best, answer = supports.probabilities(supports.logits(pairs)).max(-1)
    return OpenOutcome(draw, _right(answer, draw), known.numpy(), (known * best).numpy(), True)


def open_features(
    method: PairwiseMethod, descriptors: Descriptors, labels: Int[Tensor, " n"], form: EpisodeForm
) -> tuple[Float[Tensor, "m f"], Float[Tensor, " m"]]:
    """What says of queries whether they are of any of the classes, and whether they are: 1 or 0.

    What weights of rejection are fitted to, see ``recognition.rejection.fit_table_row``.

    Args:
        method: The method that made the descriptors.
        descriptors: Descriptors of all N clips.
        labels: Class of each clip, 0..C-1.
        form: The episodes, as ``draw_open`` takes them.

    Raises:
        EpisodeError: Fewer than 2·way classes, or too few clips.
    """
    draw = draw_open(labels, form)
    queries, among = pairs_of(method, descriptors, draw)
    supports = SupportSet(among, draw.labels, form.way, {1: 1.0}, None, method.rule or "mean")
    known = (draw.truth < form.way).double().repeat(len(draw))
    return supports.features(queries).flatten(0, 1), known


def _right(answer: Tensor, draw: Draw) -> np.ndarray:
    return np.asarray((answer == draw.truth).numpy())
