"""How much more accurate one more clip of every class would make the answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo.methods.rules import fit_rule

#: Clips that the smallest class must have: three points of the curve are the fewest that show a bend.
NEEDED = 4
_DRAWS, _RESAMPLES, _POINTS = 24, 400, 6


@dataclass(frozen=True)
class Growth:
    """Accuracy against the number of supports per class, in percent.

    Attributes:
        measured: (shots, accuracy) by leave-one-out, from one shot up.
        shot: Supports of the smallest class.
        now: Expected accuracy with that many.
        more: Expected accuracy with one more of every class.
        gain: Their difference, percentage points.
        interval: Of the mean gain, 95 %, from resampled clips; what one particular clip brings scatters more.
    """

    measured: tuple[tuple[int, float], ...]
    shot: int
    now: float
    more: float
    gain: float
    interval: tuple[float, float]


def growth(
    pairs: Float[Tensor, "n n"],
    labels: Int[Tensor, " n"],
    *,
    way: int,
    rule: str,
    seed: int = 0,
) -> Growth | None:
    """The curve and where it goes; None where a class has fewer than ``NEEDED`` clips.

    Every support is classified by s others of each class, drawn anew ``_DRAWS`` times; a straight line in
    the logarithm of s through the log-odds of being right continues the curve.

    Args:
        pairs: Scores of every support against every support.
        labels: Their classes, 0..W-1.
        way: W.
        rule: From pair scores to classes, one of ``methods.rules.RULES``.
        seed: Of the draws.
    """
    shot = int(labels.bincount(minlength=way).min())
    if shot < NEEDED:
        return None
    shots = sorted({round((shot - 1) ** (i / (_POINTS - 1))) for i in range(_POINTS)})
    random = torch.Generator().manual_seed(seed)
    keys = torch.rand(_DRAWS, len(labels), generator=random)
    measure = _right if rule == "mean" else partial(_right_held_out, rule=rule)
    right = torch.stack([measure(pairs, labels, key, shots, way) for key in keys]).double()
    share = functional.one_hot(labels, way).double()
    share = share / share.sum(0) / way  # (n, w); its row sums weigh every class alike
    weight = share.sum(1)
    measured = (_mean(right, labels) @ weight).tolist()
    now, more = _continued(shots, (_mean(right, labels) @ weight)[None], shot)
    spread = _resampled(right, labels, weight, random)
    nows, mores = _continued(shots, spread, shot)
    low, high = torch.quantile(
        mores - nows, torch.tensor([0.025, 0.975], dtype=torch.float64)
    ).tolist()
    return Growth(
        measured=tuple((s, 100 * value) for s, value in zip(shots, measured, strict=True)),
        shot=shot,
        now=100 * float(now),
        more=100 * float(more),
        gain=100 * float(more - now),
        interval=(100 * low, 100 * high),
    )


def _right(
    pairs: Tensor, labels: Tensor, key: Tensor, shots: list[int], way: int
) -> Bool[Tensor, "s n"]:
    """Whether each support is right by s others of each class, those with the smallest keys."""
    same = labels[:, None] == labels
    rank = (same & (key < key[:, None])).sum(1)  # of each support within its class
    # Without the asked support itself, those behind it in its class move up by one.
    ranks = rank - (same & (key > key[:, None])).long()
    member = functional.one_hot(labels, way).to(pairs)
    itself = torch.eye(len(labels), dtype=torch.bool)
    found = []
    for s in shots:
        chosen = (ranks < s) & ~itself
        found.append(((pairs * chosen) @ member).argmax(1) == labels)
    return torch.stack(found)


def _right_held_out(
    pairs: Tensor, labels: Tensor, key: Tensor, shots: list[int], way: int, *, rule: str
) -> Float[Tensor, "s n"]:
    """Whether s supports of each class answer right for each of the others; NaN for the s themselves."""
    same = labels[:, None] == labels
    rank = (same & (key < key[:, None])).sum(1)
    found = []
    for s in shots:
        chosen = (rank < s).nonzero()[:, 0]
        fitted = fit_rule(rule, pairs[chosen][:, chosen], labels[chosen], way=way)
        right = (fitted.scores(pairs[:, chosen]).argmax(1) == labels).double()
        found.append(right.index_fill(0, chosen, torch.nan))
    return torch.stack(found)


def _mean(right: Tensor, labels: Tensor) -> Float[Tensor, "s n"]:
    """Mean over draws; of a support that was in none of them, the mean of its class."""
    found = right.nanmean(0)
    if not bool(found.isnan().any()):
        return found
    member = functional.one_hot(labels).to(found)
    seen = ~found.isnan()
    classes = (found.nan_to_num() @ member) / (seen.to(found) @ member).clamp_min(1)
    return found.where(seen, classes[:, labels])


def _resampled(
    right: Tensor, labels: Tensor, weight: Tensor, random: torch.Generator
) -> Float[Tensor, "b s"]:
    """Curves of other clips like these, drawn with replacement within each class, and of other draws."""
    curves = []
    groups = [(labels == label).nonzero()[:, 0] for label in range(int(labels.max()) + 1)]
    for _ in range(_RESAMPLES):
        clips = torch.cat([g[torch.randint(len(g), g.shape, generator=random)] for g in groups])
        draws = torch.randint(len(right), (len(right),), generator=random)
        curves.append(_mean(right[draws], labels)[:, clips] @ weight[clips])
    return torch.stack(curves)


def _continued(shots: list[int], curves: Tensor, shot: int) -> tuple[Tensor, Tensor]:
    """Accuracy at ``shot`` and one more, on a line through log-odds against log shots."""
    edge = 1e-3
    x = torch.tensor(shots, dtype=torch.float64).log()
    y = torch.logit(curves.clamp(edge, 1 - edge))
    slope = (y * (x - x.mean())).sum(1) / ((x - x.mean()) ** 2).sum()
    level = y.mean(1) - slope * x.mean()
    first, second = (torch.sigmoid(level + slope * math.log(s)) for s in (shot, shot + 1))
    return first, second
