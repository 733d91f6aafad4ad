"""Fixed alignments: what adaptive transport is compared with. All are batched over every pair."""

from __future__ import annotations

import torch
from torch import Tensor

from a2m2_zoo._typing import Bool, Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.moments import promote, without_autocast


def cosine_eps(
    x: Float[Tensor, "*b n d"], y: Float[Tensor, "*b m d"], *, eps: float = 0.01
) -> Float[Tensor, "*b n m"]:
    """Cosine x·y / (‖x‖‖y‖ + ε) of the OTAM and MoLo family; ε = 0.01 damps small vectors."""
    norms = (
        torch.linalg.vector_norm(x, dim=-1)[..., :, None]
        * torch.linalg.vector_norm(y, dim=-1)[..., None, :]
    )
    cosine: Tensor = (x @ y.mT) / (norms + eps)
    return cosine


def product_plan(a: Float[Tensor, "*b n"], b: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n m"]:
    """Everything with everything: Σ plan ⊙ similarity is the global mean."""
    return a[..., :, None] * b[..., None, :]


def monotone_plan(a: Float[Tensor, "*b n"], b: Float[Tensor, "*b m"]) -> Float[Tensor, "*b n m"]:
    """The coupling that keeps the order; the diagonal where both sides have the same equal masses.

    Masses are laid end to end as intervals on [0, 1]; candidates share what their intervals share.

    >>> monotone_plan(torch.full((2,), 0.5), torch.full((4,), 0.25))
    tensor([[0.2500, 0.2500, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.2500, 0.2500]])
    """
    end_a, end_b = a.cumsum(-1), b.cumsum(-1)
    end = torch.minimum(end_a[..., :, None], end_b[..., None, :])
    start = torch.maximum((end_a - a)[..., :, None], (end_b - b)[..., None, :])
    return (end - start).clamp_min(0)


def bimhm_distance(
    distance: Float[Tensor, "*b n m"], *, reduction: str = "sum", both: bool = True
) -> Float[Tensor, "*b"]:
    """Bidirectional mean Hausdorff metric: each row to its nearest column, and back.

    The set matching of HyRSM (Wang et al., CVPR 2022).

    Args:
        distance: Distances between two sets.
        reduction: ``"sum"`` as in the published code (grows with the sizes), or ``"mean"``: the
            mean of the two directional means.
        both: Both directions, or rows to columns only.

    Raises:
        ArgumentError: Unknown reduction.

    >>> bimhm_distance(torch.tensor([[0.0, 1.0], [3.0, 2.0]]))
    tensor(3.)
    """
    if reduction not in ("sum", "mean"):
        raise ArgumentError(f"reduction is {reduction!r}; expected 'sum' or 'mean'")
    rows, columns = distance.amin(-1), distance.amin(-2)
    if reduction == "mean":
        return (rows.mean(-1) + columns.mean(-1)) / 2 if both else rows.mean(-1)
    return rows.sum(-1) + columns.sum(-1) if both else rows.sum(-1)


def bimhm_plan(
    similarity: Float[Tensor, "*b n m"], rows: Bool[Tensor, "*b n"], columns: Bool[Tensor, "*b m"]
) -> Float[Tensor, "*b n m"]:
    """Plan of the mean Bi-MHM: Σ plan ⊙ similarity is the mean of the two directional mean maxima.

    Each existing row puts ½·1/n on its best column and each existing column ½·1/m on its best row.
    """
    exists = rows[..., :, None] & columns[..., None, :]
    masked = similarity.detach().where(exists, -torch.inf)
    forth = torch.zeros_like(similarity).scatter_(-1, masked.argmax(-1, keepdim=True), 1.0)
    back = torch.zeros_like(similarity).scatter_(-2, masked.argmax(-2, keepdim=True), 1.0)
    n, m = (side.sum(-1)[..., None, None] for side in (rows, columns))
    return ((forth / n + back / m) / 2).where(exists, 0.0)


@without_autocast
def otam_distance(
    distance: Float[Tensor, "*b n m"], *, softening: float = 0.1
) -> Float[Tensor, "*b"]:
    """Soft distance of the best ordered alignment, free to start and end anywhere in the columns.

    Ordered temporal alignment (Cao et al., CVPR 2020) as the published code computes it: a zero
    column is added on both sides, the first row is a hard cumulative sum, softmin(x) = −λ·log Σ
    exp(−x/λ). Log-sum-exp is stabilised, so large distances stay finite. One direction; the
    published distance adds that of the transpose.

    Args:
        distance: Distances, rows in the time of the first video, columns in that of the second.
        softening: λ > 0, in the unit of the distance.

    Raises:
        ArgumentError: λ ≤ 0.

    >>> otam_distance(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), softening=0.01).abs() < 1e-6
    tensor(True)
    """
    if not softening > 0:
        raise ArgumentError(f"softening is {softening}; give a positive number")
    distance = torch.nn.functional.pad(promote(distance), (1, 1))
    n, width = distance.shape[-2:]
    scores = (-distance / softening).unbind(-2)  # negated and divided: softmin becomes logsumexp
    last = list(scores[0].cumsum(-1).unbind(-1))
    for i in range(1, n):
        cell = scores[i].unbind(-1)
        row = [torch.zeros_like(cell[0])]
        for j in range(1, width):
            ways = torch.logaddexp(last[j - 1], row[j - 1])
            if j in (1, width - 1):
                ways = torch.logaddexp(ways, last[j])
            row.append(cell[j] + ways)
        last = row
    return -softening * last[-1]


def otam_plan(
    distance: Float[Tensor, "*b n m"], *, softening: float = 0.1
) -> Float[Tensor, "*b n m"]:
    """How much of the soft alignment of both directions goes through each cell; sums to one.

    It is the derivative of the distance with respect to each entry: the expected path.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = promote(distance).detach().clone().requires_grad_()
        total = otam_distance(leaf, softening=softening) + otam_distance(
            leaf.mT, softening=softening
        )
        (path,) = torch.autograd.grad(total.sum(), leaf)
    return path / path.sum((-2, -1), keepdim=True)
