"""From several supports of a class to one score: three rules, none of which loops over classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo.errors import EpisodeError


def check_labels(labels: Int[Tensor, " n"], *, way: int) -> None:
    """Refuse labels outside 0..way−1 and classes without a support.

    Raises:
        EpisodeError: One of the two.
    """
    present = sorted(set(labels.tolist()))
    if present != list(range(way)):
        raise EpisodeError(
            f"support labels hold the classes {present}; expected every class from 0 to {way - 1}"
        )


def _membership(labels: Tensor, way: int, dtype: torch.dtype) -> Tensor:
    check_labels(labels, way=way)
    member = functional.one_hot(labels.long(), way).to(dtype)
    return member / member.sum(0)


def mean_over_shots(
    scores: Float[Tensor, "*q n"], labels: Int[Tensor, " n"], *, way: int
) -> Float[Tensor, "*q w"]:
    """Mean score over the supports of each class.

    Raises:
        EpisodeError: A label outside 0..way−1, or a class without a support.

    >>> mean_over_shots(torch.tensor([[1.0, 3.0, 5.0]]), torch.tensor([0, 0, 1]), way=2)
    tensor([[2., 5.]])
    """
    return scores @ _membership(labels, way, scores.dtype)


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over each class's pair scores as a rule over supports, as ``ops.ridge.Ridge`` is one.

    Attributes:
        pairs: (*E, N, N) scores of every support against every support; None where nothing is left out.
        labels: (N,) class of each support, 0..W-1.
        way: W.
    """

    pairs: Float[Tensor, "*e n n"] | None
    labels: Int[Tensor, " n"]
    way: int

    @classmethod
    def fit(
        cls, pairs: Float[Tensor, "*e n n"] | None, labels: Int[Tensor, " n"], *, way: int
    ) -> Mean:
        """Nothing is fitted; pairs are needed for ``by_the_others`` alone.

        Raises:
            EpisodeError: A label outside 0..W-1, or a class without a support.
        """
        check_labels(labels, way=way)
        return cls(pairs, labels, way)

    def linear(self) -> tuple[Float[Tensor, "n w"], Float[Tensor, " w"]]:
        """Weights and constants: the scores are ``pairs @ weights + constants``."""
        weights = _membership(self.labels, self.way, torch.float64)
        return weights, weights.new_zeros(self.way)

    def scores(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q w"]:
        """Scores of the classes, see ``mean_over_shots``."""
        return mean_over_shots(pairs, self.labels, way=self.way)

    def by_the_others(self) -> Float[Tensor, "*e n w"]:
        """Scores of every support's classes by all other supports.

        A support that is alone in its class has 0 there, which says nothing.

        Raises:
            ValueError: The supports' pairs are not at hand.
        """
        if self.pairs is None:
            raise ValueError("these supports have no pair scores")
        pairs = self.pairs.double()
        member = functional.one_hot(self.labels.long(), self.way).to(pairs)
        others = member.sum(0) - member  # (n, w): how many are left in each class without support i
        itself = pairs.diagonal(dim1=-2, dim2=-1)[..., None]
        found: Tensor = (pairs @ member - itself * member) / others.clamp_min(1)
        return found


def class_prototypes(
    descriptors: Float[Tensor, "*e n s d"], labels: Int[Tensor, " n"], *, way: int
) -> Float[Tensor, "*e w s d"]:
    """Mean descriptors of each class, candidate by candidate.

    Raises:
        EpisodeError: A label outside 0..way−1, or a class without a support.
    """
    weight = _membership(labels, way, descriptors.dtype)
    return torch.unflatten(weight.mT @ descriptors.flatten(-2), -1, descriptors.shape[-2:])


def class_slots(
    labels: Int[Tensor, " n"], *, way: int
) -> tuple[Int[Tensor, "w k"], Bool[Tensor, "w k"]]:
    """Index of the k-th support of each class, and whether there is one.

    Raises:
        EpisodeError: A label outside 0..way−1, or a class without a support.

    >>> index, exists = class_slots(torch.tensor([1, 0, 1]), way=2)
    >>> index.tolist(), exists.tolist()
    ([[1, 0], [0, 2]], [[True, False], [True, True]])
    """
    check_labels(labels, way=way)
    order = labels.long().argsort(stable=True)
    counts = labels.long().bincount(minlength=way)
    rank = (
        torch.arange(len(labels), device=labels.device)
        - (counts.cumsum(0) - counts)[labels[order].long()]
    )
    shots = torch.arange(int(counts.max()), device=labels.device)
    index = order.new_zeros(way, len(shots))
    index[labels[order].long(), rank] = order
    return index, shots < counts[:, None]
