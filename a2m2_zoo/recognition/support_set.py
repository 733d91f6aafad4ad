"""What follows from labelled supports alone: how far their scores can be trusted, and what is unlike them.

Made once, for one episode or for many at a time, and asked for any number of queries. Whatever answers
(``Recognizer``, spotting, evaluation, the check of a bank) takes its probabilities from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.methods.base import as_pairwise
from a2m2_zoo.methods.rules import Fitted, fit_rule
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.ops.transductive import refitted_scores
from a2m2_zoo.recognition.calibration import fitted_scale, shipped_scale
from a2m2_zoo.recognition.rejection import (
    Evidence,
    Table,
    known_probability,
    ridge_features,
)

if TYPE_CHECKING:
    from a2m2_zoo.methods.base import Descriptors
    from a2m2_zoo.recognition.model import Model


@dataclass(frozen=True, eq=False)
class SupportSet:
    """The supports of one episode, or of E episodes with the same labels.

    Attributes:
        pairs: (*E, N, N) scores of every support against every support; None for a method whose class score
            comes from no pair scores, or where nothing is to be learned from them.
        labels: (N,) class of each support, 0..W-1.
        way: W.
        scales: Shots → factor on the logits that came with the model.
        table: The model's weights of rejection; None for a model without.
        rule: From pair scores to scores of classes, one of ``methods.rules.RULES``.
    """

    pairs: Float[Tensor, "*e n n"] | None
    labels: Int[Tensor, " n"]
    way: int
    scales: Mapping[int, float]
    table: Table | None
    rule: str = "mean"

    @classmethod
    def of(
        cls,
        model: Model,
        pairs: Float[Tensor, "*e n n"] | None,
        labels: Int[Tensor, " n"],
        *,
        way: int,
    ) -> SupportSet:
        """From pair scores that are at hand."""
        method = as_pairwise(model.method)
        rule = (method and method.rule) or "mean"
        return cls(pairs, labels, way, model.scales, model.table, rule)

    @classmethod
    def encoded(
        cls,
        model: Model,
        support: Descriptors,
        labels: Int[Tensor, " n"],
        *,
        way: int,
        against: Callable[[Descriptors], Tensor] | None = None,
    ) -> SupportSet:
        """From the descriptors of one episode's supports; their pairs are scored if something needs them.

        Args:
            model: That made the descriptors.
            support: The descriptors.
            labels: Class of each support, 0..W-1.
            way: W.
            against: ``model.against(support)``, where it is at hand.
        """
        found = cls.of(model, None, labels, way=way)
        if found.rule == "mean" and len(labels) == way and found.table is None:
            return found
        against = against or model.against(support)
        return replace(found, pairs=against and against(support))

    @property
    def shot(self) -> float:
        """Supports per class, the mean where classes differ."""
        return len(self.labels) / self.way

    @cached_property
    def scale(self) -> Float[Tensor, "*e"]:
        """Factor that turns logits into calibrated log-odds.

        With one support per class it is the one that came with the model; with more, it is fitted to every
        support classified by the others.
        """
        prior = shipped_scale(self.scales, self.shot)
        if self.pairs is None or len(self.labels) == self.way:
            return torch.tensor(prior, dtype=torch.float64)
        return fitted_scale(*self.by_the_others(), prior=prior)

    @cached_property
    def fitted(self) -> Fitted:
        """The rule, fitted to these supports."""
        return fit_rule(self.rule, self.pairs, self.labels, way=self.way)

    @cached_property
    def evidence(self) -> Evidence:
        """What the supports' own scores are, to compare a query's with.

        Raises:
            ValueError: The supports have no pair scores.
        """
        if self.pairs is None:
            raise ValueError("these supports have no pair scores")
        return Evidence.of(self.pairs, self.labels, way=self.way)

    def logits(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q w"]:
        """Class scores of queries, by the rule."""
        return self.fitted.scores(pairs.double())

    def logits_together(
        self, pairs: Float[Tensor, "q n"], among: Float[Tensor, "q q"]
    ) -> Float[Tensor, "q w"]:
        """Class scores of the queries of one episode, with what they say of each other.

        Args:
            pairs: Scores of every query against every support.
            among: Scores of every query against every query.

        Raises:
            ValueError: The rule is not ``ridge``.
        """
        fitted = self.fitted
        if self.pairs is None or not isinstance(fitted, Ridge):
            raise ValueError(f"the rule is {self.rule}; queries help each other under ridge alone")
        return refitted_scores(fitted, self.pairs.double(), pairs.double(), among.double())

    @property
    def alike(self) -> bool:
        """Whether the supports of all classes are the same to the model."""
        if self.pairs is None:
            return False
        spread = (self.pairs - self.pairs[..., :1, :1]).abs().amax()
        return bool(spread <= 1e-5 * self.pairs.abs().amax())

    def probabilities(self, logits: Float[Tensor, "*e q w"]) -> Float[Tensor, "*e q w"]:
        """Of each class, given that the query is of one of them."""
        return (logits.double() * self.scale[..., None, None]).softmax(-1)

    def known(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q"] | None:
        """Probability that a query is of any of the classes, were half of all queries of none.

        Args:
            pairs: Scores of every query against every support.
        """
        if self.pairs is None or self.table is None:
            return None
        shot = max(self.shot, 2.0) if len(self.labels) > self.way else 1.0
        if not any((k == 1) == (shot == 1) for k in self.table):
            return None  # fitted where classes had no clips for so many supports
        return known_probability(self.features(pairs), self.table, shot=shot)

    def features(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q f"]:
        """What says of queries whether they are of any of the classes.

        Args:
            pairs: Scores of every query against every support.

        Raises:
            ValueError: The supports have no pair scores.
        """
        found = self.evidence.features(pairs)
        if not isinstance(self.fitted, Ridge):
            return found
        several = len(self.labels) > self.way
        more = ridge_features(self.fitted, self.labels, pairs, several=several)
        return torch.cat([found, more], -1)

    def by_the_others(self) -> tuple[Float[Tensor, "*e m w"], Int[Tensor, " m"]]:
        """Class scores of every support from the other supports (leave-one-out), and its label.

        Supports that are alone in their class are left out: without them their class has no score.

        Raises:
            ValueError: The supports have no pair scores.
        """
        several = self.labels.bincount(minlength=self.way)[self.labels] > 1
        return self.fitted.by_the_others()[..., several, :], self.labels[several]
