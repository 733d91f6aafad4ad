"""Fixed alignments: what adaptive transport is compared with. All are batched over every pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.precision import promote, without_autocast


@without_autocast
def cosine_eps(
    x: Float[Tensor, "*b n d"], y: Float[Tensor, "*b m d"], *, eps: float = 0.01
) -> Float[Tensor, "*b n m"]:
    """Cosine x·y / (‖x‖‖y‖ + ε) of the OTAM and MoLo family; ε = 0.01 damps small vectors."""
    x, y = promote(x), promote(y)
    norms = (
        torch.linalg.vector_norm(x, dim=-1)[..., :, None]
        * torch.linalg.vector_norm(y, dim=-1)[..., None, :]
    )
    cosine: Tensor = (x @ y.mT) / (norms + eps)
    return cosine


def frame_cosines(
    query: Float[Tensor, "e q t d"], support: Float[Tensor, "e n s d"], *, eps: float = 0.01
) -> Float[Tensor, "e q n t s"]:
    """``cosine_eps`` of every query frame with every support frame, for all pairs of each episode.

    >>> frame_cosines(torch.rand(2, 3, 8, 5), torch.rand(2, 4, 6, 5)).shape
    torch.Size([2, 3, 4, 8, 6])
    """
    (e, q, t, _), (_, n, s, _) = query.shape, support.shape
    flat = cosine_eps(query.flatten(1, 2), support.flatten(1, 2), eps=eps)
    return flat.view(e, q, t, n, s).transpose(2, 3)


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
    # Negated and divided, so that softmin becomes log-sum-exp. The pairs are the last axis, since
    # they are many, and a column of the recursion needs the column before it only.
    pairs = promote(distance).flatten(0, -3) if distance.ndim > 2 else promote(distance)[None]
    columns = (pairs.permute(2, 1, 0) / -softening).contiguous()
    first = [columns[0, 0]]  # nothing lies before this column: two free ways in, and one from above
    free = torch.full_like(first[0], math.log(2))
    for cell in columns[0, 1:]:
        first.append(cell + torch.logaddexp(free, first[-1]))
    table = torch.stack(first)
    for column in columns[1:]:
        ways = torch.logaddexp(table[:-1], table[1:])
        table = column + torch.cat([table[:1], ways])
    # The zero column at the end: every row but the last is left in two ways, the last in one.
    free = torch.full_like(table[:, :1], math.log(2))
    free[-1] = 0
    return (-softening * torch.logsumexp(table + free, 0)).reshape(distance.shape[:-2])


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
