"""Whether a query belongs to any of the classes, and so how probable it is that the answer is right.

The probabilities of ``calibration`` say *which* of the classes. What says *whether any* is how the query's
scores compare with the supports' own: those of supports that look for a class without finding theirs (every
support has other classes to be mistaken for), and, with two supports and more per class, those of supports
that find their own. A logistic regression over few such comparisons gives the probability; its weights were
fitted once per model on generated classes and come with the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.hub.manifest import package_file
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.recognition.calibration import between

#: What the logistic regression sees, see ``Evidence.features`` and ``ridge_features``: with one support per
#: class, and what is added with more.
FEATURES = {
    "mean": (("above_other_classes", "margin"), ("above_own", "nearest")),
    "ridge": (("score", "lead", "variance"), ("above_others", "above_classmates")),
}
_FILE = "weights/rejection.json"
_LARGEST = 1e9  # of a weight

#: Shots → intercept and one weight for each feature, those of ``mean`` first, whatever the rule.
Table = Mapping[int, tuple[float, ...]]


@dataclass(frozen=True)
class Evidence:
    """What the supports of one episode, or of E, say about scores; built once for any number of queries.

    Attributes:
        labels: (N,) class of each support, 0..W-1.
        member: (N, W) one where the support is of the class, over the class's count.
        other_classes: (*E, 1) mean over the supports of the best score of a class that is not theirs.
        nearest: (*E, 1) mean over the supports of the best score with a single support of another class.
        own: (*E, W) mean score of a class's supports by the others of it, drawn half way to the mean over
            classes; None where every class has one support.
    """

    labels: Int[Tensor, " n"]
    member: Float[Tensor, "n w"]
    other_classes: Float[Tensor, "*e 1"]
    nearest: Float[Tensor, "*e 1"]
    own: Float[Tensor, "*e w"] | None

    @classmethod
    def of(cls, pairs: Float[Tensor, "*e n n"], labels: Int[Tensor, " n"], *, way: int) -> Evidence:
        """From the scores of every support against every support."""
        pairs = pairs.double()
        one = functional.one_hot(labels, way).double()
        counts = one.sum(0)
        foreign = (pairs @ (one / counts)).masked_fill(one.bool(), -torch.inf)
        same = labels[:, None] == labels
        single = pairs.masked_fill(same, -torch.inf).amax(-1)
        own = None
        if len(labels) > way:
            others = (
                same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
            ).double()
            found = (pairs * others).sum(-1) / others.sum(-1).clamp_min(1)  # of each support
            several = counts > 1
            found = (found @ one / counts).where(several, 0)
            mean = found[..., several].mean(-1, keepdim=True)
            own = (found.where(several, mean) + mean) / 2
        return cls(
            labels,
            one / counts,
            foreign.amax(-1).mean(-1, keepdim=True),
            single.mean(-1, keepdim=True),
            own,
        )

    @property
    def shot(self) -> float:
        """Supports per class, the mean where classes differ."""
        return len(self.labels) / self.member.shape[1]

    def features(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q f"]:
        """What is compared, of every query.

        ``above_other_classes``: best score less what supports reach with classes that are not theirs.
        ``margin``: best less second best score. ``above_own``: best score less what supports of that class
        reach with it. ``nearest``: best score with a single support less what supports reach with one of
        another class.

        Args:
            pairs: Scores of every query against every support.
        """
        pairs = pairs.double()
        logits = pairs @ self.member
        best, answer = logits.max(-1)
        first_two = logits.topk(2, -1).values
        found = [best - self.other_classes, first_two[..., 0] - first_two[..., 1]]
        if self.own is not None:
            own = self.own.unsqueeze(-2).expand_as(logits)
            found += [
                best - own.gather(-1, answer[..., None])[..., 0],
                pairs.amax(-1) - self.nearest,
            ]
        return torch.stack(found, -1)


def ridge_features(
    fitted: Ridge, labels: Int[Tensor, " n"], pairs: Float[Tensor, "*e q n"], *, several: bool
) -> Float[Tensor, "*e q f"]:
    """What ridge regression adds.

    ``score``: the best class's. ``lead``: that less the second best. ``variance``: how little the supports
    say of the query. ``above_others``: ``score`` less what supports reach with their own class by the other
    supports. ``above_classmates``: the same, of the best class alone.

    Args:
        fitted: To the supports.
        labels: Their classes.
        pairs: Scores of every query against every support.
        several: Whether classes have more than one support; without, there are the first three alone.
    """
    scores = fitted.scores(pairs.double())
    first, second = scores.topk(2, -1).values.unbind(-1)
    found = [first, first - second, fitted.variance(pairs)]
    if several:
        others = fitted.by_the_others()
        index = labels.expand(others.shape[:-1])[..., None]
        own = others.gather(-1, index)[..., 0]
        member = functional.one_hot(labels, scores.shape[-1]).to(own)
        classes = own @ (member / member.sum(0))
        reached = classes[..., None, :].expand_as(scores).gather(-1, scores.argmax(-1)[..., None])
        found += [first - own.mean(-1, keepdim=True), first - reached[..., 0]]
    return torch.stack(found, -1)


def known_probability(
    features: Float[Tensor, "*e q f"], table: Table, *, shot: float
) -> Float[Tensor, "*e q"]:
    """Probability that a query is of any of the classes, were half of all queries.

    Args:
        features: Of the queries, as the table was fitted to.
        table: The weights, see ``shipped_table``.
        shot: Supports per class, the mean where classes differ.
    """
    weights = _weights(table, shot).to(features)
    return (features @ weights[1:] + weights[0]).sigmoid()


@cache
def _tables() -> dict[str, Table]:
    path = package_file(_FILE)
    raw = json.loads(path.read_text()) if path.is_file() else {"models": []}
    return {
        model["weights_hash"]: {int(k): tuple(v) for k, v in model["weights"].items()}
        for model in raw["models"]
    }


def shipped_table(weights_hash: str) -> Table | None:
    """The weights that came with the package for the model of that hash; None for other models."""
    return _tables().get(weights_hash)


def read_table(given: Mapping[str, Any], rule: str) -> Table:
    """Weights from a model's header, which anybody may have written.

    Args:
        given: Number of shots → intercept and weights.
        rule: The method's, which says how many features there are.

    Raises:
        ValueError: They are no such weights.
    """
    rules = ("mean", "ridge") if rule == "ridge" else ("mean",)
    one, more = (sum(len(FEATURES[name][i]) for name in rules) for i in (0, 1))
    found: dict[int, tuple[float, ...]] = {}
    for shot, row in given.items():
        if not re.fullmatch(r"[1-9][0-9]{0,5}", shot, re.ASCII):
            raise ValueError(f"its weights of rejection are for {shot!r:.20} supports")
        if len(row) != 1 + (one if shot == "1" else one + more) or not all(map(_sound, row)):
            raise ValueError(f"its weights of rejection for {shot} supports are no such weights")
        found[int(shot)] = tuple(map(float, row))
    if not found:
        raise ValueError("its weights of rejection are none")
    return found


def _sound(value: Any) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST
    )


def fit_table_row(
    features: Float[Tensor, "n f"], known: Float[Tensor, " n"], *, ridge: float = 1e-3
) -> tuple[float, ...]:
    """Intercept and weights of the logistic regression that tells known from unknown, by Newton's steps.

    Args:
        features: Of many queries.
        known: One for a query of one of the classes, else zero.
        ridge: Penalty on the squared weights of standardised features, per query.
    """
    mean, deviation = features.mean(0), features.std(0)
    x = functional.pad((features - mean) / deviation, (1, 0), value=1.0)
    penalty = torch.full((x.shape[1],), ridge * len(x), dtype=x.dtype)
    penalty[0] = 0
    w = torch.zeros_like(penalty)
    for _ in range(25):
        p = (x @ w).sigmoid()
        slope = x.mT @ (p - known) + penalty * w
        w = w - torch.linalg.solve((x * (p * (1 - p))[:, None]).mT @ x + penalty.diag(), slope)
    weights = w[1:] / deviation
    return tuple(float(f"{v:.5g}") for v in (w[0] - weights @ mean, *weights))


def _weights(table: Table, shot: float) -> Tensor:
    """Those of ``shot``, linear in its logarithm between those of ``table``; one shot stands alone."""
    below, above, part = between([k for k in table if (k == 1) == (shot == 1)], shot)
    first, second = (torch.tensor(table[k], dtype=torch.float64) for k in (below, above))
    return torch.lerp(first, second, part)
