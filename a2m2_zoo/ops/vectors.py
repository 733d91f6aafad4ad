"""Descriptors as vectors: triangles of symmetric matrices, unit length, and those that hold nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float
from a2m2_zoo.ops.exporting import recording
from a2m2_zoo.ops.precision import promote

#: Below this norm a descriptor holds rounding, not content; see ``l2_normalise``.
FLOOR = 1e-4


@lru_cache(maxsize=16)
def _triangle(size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # the cache outlives the caller's mode
        row, column = torch.triu_indices(size, size, device=device)
        weight = torch.full_like(row, 2.0**0.5, dtype=dtype).masked_fill_(row == column, 1.0)
        return row * size + column, weight


def upper_triangle(a: Float[Tensor, "*b d d"]) -> Float[Tensor, "*b D"]:
    """Upper triangle as a vector, D = d(d+1)/2, off-diagonals × √2.

    With the √2 the inner product of two vectors is the inner product of the symmetric matrices.

    >>> upper_triangle(torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
    tensor([1.0000, 2.8284, 3.0000])
    """
    index, weight = _triangle(a.shape[-1], a.device, a.dtype)
    return _entries(a, index) * weight


def _entries(a: Tensor, index: Tensor) -> Tensor:
    """Entries of matrices as vectors; selected from rows of one matrix, which is much faster."""
    rows = a.reshape(-1, a.shape[-1] ** 2)
    return rows.index_select(-1, index).reshape(*a.shape[:-2], len(index))


def l2_normalise(x: Float[Tensor, "*b d"], *, floor: float = FLOOR) -> Float[Tensor, "*b d"]:
    """Unit vectors; vectors of norm ≤ ``floor`` become zero, with zero gradient.

    A still clip has no motion: its motion descriptor is rounding noise, and neither that noise nor
    its gradient (of size 1/noise) may enter.

    >>> l2_normalise(torch.tensor([[3.0, 4.0], [0.0, 1e-6]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    unit: Tensor = _Unit.apply(promote(x), floor)  # type: ignore[no-untyped-call]
    return unit


class _Unit(torch.autograd.Function):
    """x / ‖x‖, or zero, in three passes over memory forward and three backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, floor: float) -> Tensor:
        norm = lengths(x)
        factor = norm.reciprocal().where(norm > floor, 0.0)
        unit: Tensor = x * factor
        ctx.save_for_backward(unit, factor)
        return unit

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None]:
        unit, factor = ctx.saved_tensors
        along = torch.linalg.vecdot(unit, grads[0]).unsqueeze(-1)
        return torch.addcmul(grads[0], unit, along, value=-1) * factor, None


def lengths(x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b 1"]:
    """Norms of vectors, also of those whose squares overflow."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    if not recording() and not norm.isfinite().all():
        largest = x.abs().amax(-1, keepdim=True).clamp_min(1)
        norm = torch.linalg.vector_norm(x / largest, dim=-1, keepdim=True) * largest
    return norm


def unit_triangles(
    roots: Sequence[Float[Tensor, "b _ d d"]], centre: Float[Tensor, "s D"]
) -> Float[Tensor, "b s D"]:
    """``upper_triangle`` of all roots side by side, less a centre of each, as unit vectors.

    What is empty before the centre is subtracted stays empty, and is not the negative of the centre. All in
    place, since every pass that makes a tensor of this size shows.

    Args:
        roots: Runs of matrices of B clips, S in all.
        centre: What is subtracted; it gets no gradient.

    >>> unit_triangles([torch.eye(2)[None, None], torch.zeros(1, 1, 2, 2)], -torch.ones(2, 3) / 2)
    tensor([[[0.6882, 0.2294, 0.6882],
             [0.0000, 0.0000, 0.0000]]])
    """
    unit: Tensor = _UnitTriangles.apply(centre, *map(promote, roots))  # type: ignore[no-untyped-call]
    return unit


class _UnitTriangles(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, centre: Tensor, *roots: Tensor) -> Tensor:
        ctx.index, ctx.weight = _triangle(roots[0].shape[-1], roots[0].device, roots[0].dtype)
        ctx.runs, ctx.size = [root.shape[1] for root in roots], roots[0].shape[-1]
        parts = [_entries(root, ctx.index) for root in roots]
        unit = torch.cat(parts, 1).mul_(ctx.weight)
        kept = filled(unit)
        norm = lengths(unit.sub_(centre.to(unit)))
        factor = norm.reciprocal().where(kept & (norm > FLOOR), 0.0)
        ctx.save_for_backward(unit.mul_(factor), factor)
        return unit

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        unit, factor = ctx.saved_tensors
        runs = (x.split(ctx.runs, 1) for x in (grads[0], unit, factor))
        found = []
        for grad, along, scale in zip(*runs, strict=True):
            change = torch.linalg.vecdot(along, grad).unsqueeze(-1)
            part = torch.addcmul(grad, along, change, value=-1).mul_(scale).mul_(ctx.weight)
            whole = part.new_zeros(*part.shape[:-1], ctx.size**2).index_copy_(-1, ctx.index, part)
            found.append(whole.reshape(*part.shape[:-1], ctx.size, ctx.size))
        return None, *found


def filled(x: Float[Tensor, "*b d"]) -> Bool[Tensor, "*b 1"]:
    """Which vectors hold more than rounding: those that ``l2_normalise`` does not make zero."""
    norm: Tensor = torch.linalg.vector_norm(x.detach(), dim=-1, keepdim=True)
    return norm > FLOOR


def emptied(x: Float[Tensor, "*b d"], kept: Bool[Tensor, "*b 1"]) -> Float[Tensor, "*b d"]:
    """Vectors that are not ``kept`` become zero; in a recorded graph by a product, which is faster there."""
    return x * kept.to(x.dtype) if recording() else x.where(kept, 0.0)
