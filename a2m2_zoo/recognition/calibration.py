"""From logits to probabilities that one can act on.

With one support per class nothing at hand says how far a logit can be trusted, so the temperature that
came with the checkpoint is used. With more, every support is classified by the others (leave-one-out)
and the temperature is fitted to that, held near the shipped one by a prior, since a few supports say
little.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.data.draws import Draw
from a2m2_zoo.methods.rules import fit_rule
from a2m2_zoo.ops.ridge import Ridge

#: Factors of a model that nobody fitted any for.
UNFITTED = {1: 1.0}

#: Clips of a camera differ more from each other than generated ones, which scales are fitted to.
CAUTION = 0.75
#: Width of the prior on the logarithm of the temperature: a factor of two is one deviation.
_PRIOR_DEVIATION = math.log(2.0)


def shipped_scale(table: Mapping[int, float], shot: float) -> float:
    """Factor on the logits for a number of shots, log-linear between the shots of ``table``.

    Args:
        table: Shots → factor (the inverse of a temperature), as stored with the checkpoint.
        shot: Supports per class, the mean where classes differ.

    >>> round(shipped_scale({1: 4.0, 4: 16.0}, 2), 6)
    8.0
    >>> shipped_scale({1: 4.0, 4: 16.0}, 50)
    16.0
    """
    below, above, part = between(table, shot)
    if below == above:
        return table[below]
    return math.exp((1 - part) * math.log(table[below]) + part * math.log(table[above]))


def between(shots: Iterable[int], shot: float) -> tuple[int, int, float]:
    """The numbers of shots around one, and how far it lies between them in the logarithm, 0 to 1.

    >>> between([1, 4, 16], 2), between([1, 4, 16], 50)
    ((1, 4, 0.5), (16, 16, 0.0))
    """
    known = sorted(shots)
    shot = min(max(shot, known[0]), known[-1])
    above = next(k for k in known if k >= shot)
    below = max(k for k in known if k <= shot)
    part = 0.0 if above == below else math.log(shot / below) / math.log(above / below)
    return below, above, part


def fitted_scale(
    logits: Float[Tensor, "*e m w"], labels: Int[Tensor, " m"], *, prior: float
) -> Float[Tensor, "*e"]:
    """Factor on the logits with the highest posterior, given logits whose labels are known.

    Args:
        logits: Leave-one-out logits, of one episode or of many; none are fine and give ``prior``.
        labels: Their labels.
        prior: The shipped factor, centre of a log-normal prior.
    """
    steps = torch.linspace(-math.log(8.0), math.log(8.0), 97, dtype=torch.float64)
    scales = prior * steps.exp()
    scaled = scales[:, None, None] * logits.double()[..., None, :, :]  # (*e steps m w)
    truth = labels.expand(scaled.shape[:-1])[..., None]
    loss = -scaled.log_softmax(-1).gather(-1, truth)[..., 0].sum(-1)
    posterior = loss + 0.5 * (steps / _PRIOR_DEVIATION) ** 2
    return scales[posterior.argmin(-1)]


def episodes_scale(
    rule: str, asked: Float[Tensor, "e q n"], among: Float[Tensor, "e n n"], draw: Draw
) -> tuple[float, Float[Tensor, "e q w"]]:
    """The factor that fits episodes best, times `CAUTION` where the rule is ridge regression.

    Args:
        rule: From pair scores to scores of classes, one of ``methods.rules.RULES``.
        asked: Scores of every query against every support, of E episodes.
        among: Of every support against every support.
        draw: The episodes, or some that are drawn like them.

    Returns:
        The factor, and the scores of the classes that it is for.
    """
    fitted = fit_rule(rule, among, draw.labels, way=draw.way)
    scores = fitted.scores(asked.double())
    scale = best_scale(scores.flatten(0, 1), draw.truth.repeat(len(scores)))
    return (float(f"{CAUTION * scale:.4g}") if isinstance(fitted, Ridge) else scale), scores


def best_scale(logits: Float[Tensor, "m w"], truth: Int[Tensor, " m"]) -> float:
    """The factor on logits that fits known labels best, to four digits."""
    scale = 1.0
    for _ in range(5):  # each search spans a factor of eight both ways
        scale = float(fitted_scale(logits, truth, prior=scale))
    return float(f"{scale:.4g}")
