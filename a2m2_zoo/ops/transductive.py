"""Queries that are answered together: ridge regression refitted with the queries' own soft labels.

A folder of queries says how clips of these classes lie. Every query is given the probabilities of its classes
as a label, the regression is fitted to supports and queries, and each query is scored by all other clips
(leave-one-out in closed form), so that no query confirms itself. The answer is the mean of that and of what
the supports alone say.

Soft labels that may follow any mixture of classes drift towards one class; labels forced to one share per
class are wrong for folders that show one action. Between the two lies unbalanced optimal transport (Chizat et
al., "Scaling algorithms for unbalanced optimal transport problems", Mathematics of Computation 2018). That
the balance of queries flatters methods was shown by Veilleux et al., "Realistic evaluation of transductive
few-shot learning" (NeurIPS 2021).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.ops.ridge import STRENGTH, Ridge, centred_kernel

#: Factor on ridge scores that makes soft labels of them.
SHARPNESS = 16.0
#: What a soft label counts against a support's.
TRUST = 0.3
#: How far the shares of the classes among the queries are drawn to equal ones, 0 to 1.
BALANCE = 0.65
#: Of the scores: clips that are labelled by the same supports are surer together than they are right.
MODESTY = 0.8
_ROUNDS = 30
_SMALLEST = 1e-12


def refitted_scores(
    fitted: Ridge,
    supports: Float[Tensor, "n n"],
    asked: Float[Tensor, "q n"],
    among: Float[Tensor, "q q"],
) -> Float[Tensor, "q w"]:
    """Scores of the queries of one episode from its supports and from each other.

    Args:
        fitted: To the supports.
        supports: Scores of every support against every support.
        asked: Scores of every query against every support.
        among: Scores of every query against every query.

    >>> where = torch.tensor([0.0, 4.0, 1.2, 1.9, 2.6, 3.3])  # two supports, then queries between them
    >>> pairs = -((where[:, None] - where) ** 2)
    >>> fitted = Ridge.fit(pairs[:2, :2], torch.tensor([0, 1]), way=2)
    >>> found = refitted_scores(fitted, pairs[:2, :2], pairs[2:, :2], pairs[2:, 2:])
    >>> found.argmax(-1)
    tensor([0, 0, 1, 1])
    """
    queries, count = asked.shape
    alone = fitted.scores(asked.double())
    if queries < 2:
        return alone.to(asked.dtype)
    way = fitted.targets.shape[1]
    pairs = torch.cat((torch.cat((supports, asked.mT), 1), torch.cat((asked, among), 1)))
    kernel = centred_kernel(pairs, functional.pad(fitted.shares, (0, queries))).kernel
    negative = torch.linalg.eigvalsh(kernel)[0].clamp_max(0).neg()
    # As in `Ridge.fit`: errors of a class with few supports count as much as those of a class with many.
    penalty = functional.pad(
        STRENGTH / (count * fitted.shares), (0, queries), value=STRENGTH / TRUST
    )
    inverse = torch.linalg.inv(kernel + (penalty + negative).diag())
    soft = _shared((SHARPNESS * alone / fitted.factor.clamp_min(_SMALLEST)).softmax(-1))
    targets = torch.cat((fitted.targets.to(kernel), soft - 1 / way))
    left = targets - (inverse @ targets) / inverse.diagonal()[:, None]
    found: Tensor = MODESTY * (alone + left[count:] * fitted.factor) / 2
    return found.to(asked.dtype)


def _shared(labels: Float[Tensor, "q w"]) -> Float[Tensor, "q w"]:
    """Soft labels whose classes have been drawn towards equal shares; rows sum to one."""
    weights = torch.ones_like(labels[0])
    equal = len(labels) / labels.shape[1]
    for _ in range(_ROUNDS):
        rows = 1 / (labels @ weights).clamp_min(_SMALLEST)
        weights = (equal / (labels.mT @ rows).clamp_min(_SMALLEST)) ** BALANCE
    found = labels * weights
    shared: Tensor = found / found.sum(-1, keepdim=True).clamp_min(_SMALLEST)
    return shared
