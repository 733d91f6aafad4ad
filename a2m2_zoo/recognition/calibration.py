"""From logits to probabilities that one can act on.

With one support per class nothing at hand says how far a logit can be trusted, so the temperature that
came with the checkpoint is used. With more, every support is classified by the others (leave-one-out)
and the temperature is fitted to that, held near the shipped one by a prior, since a few supports say
little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int

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
    known = sorted(table)
    shot = min(max(shot, known[0]), known[-1])
    above = next(k for k in known if k >= shot)
    below = max(k for k in known if k <= shot)
    if above == below:
        return table[above]
    part = math.log(shot / below) / math.log(above / below)
    return math.exp((1 - part) * math.log(table[below]) + part * math.log(table[above]))


def leave_one_out_logits(
    pairs: Float[Tensor, "*e n n"], labels: Int[Tensor, " n"], *, way: int
) -> tuple[Float[Tensor, "*e m w"], Int[Tensor, " m"]]:
    """Class logits of every support from the other supports, and its label.

    Supports that are alone in their class are left out: without them their class has no score.
    """
    member = functional.one_hot(labels, way).to(pairs.dtype)
    others = member.sum(0) - member  # (n, w): how many are left in each class without support i
    itself = pairs.diagonal(dim1=-2, dim2=-1)[..., None]
    sums = pairs @ member - itself * member
    judged = others.gather(1, labels[:, None])[:, 0] > 0
    return (sums / others.clamp_min(1))[..., judged, :], labels[judged]


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


def support_scale(
    pairs: Float[Tensor, "*e n n"], labels: Int[Tensor, " n"], *, way: int, prior: float
) -> Float[Tensor, "*e"]:
    """Factor on the logits that fits the supports' own pair scores, each classified by the others."""
    return fitted_scale(*leave_one_out_logits(pairs, labels, way=way), prior=prior)
