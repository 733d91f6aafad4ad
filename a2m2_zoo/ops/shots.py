"""From several supports of a class to one score: three rules, none of which loops over classes."""

from __future__ import annotations

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
