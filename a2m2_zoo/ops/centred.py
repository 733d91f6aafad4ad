"""Descriptors as they are compared: centred, of unit length, and those of one place side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.ops.precision import promote, without_autocast
from a2m2_zoo.ops.vectors import FLOOR, filled, lengths

#: Of groups with equally many places, both (g, s, p): which descriptors are the P parts of each place, and
#: the root of each part's share in its place's similarity, 0 where there is no such part.
Places: TypeAlias = tuple[Int[Tensor, "_ _ _"], Float[Tensor, "_ _ _"]]


_AT_ONCE = 1 << 20  # numbers: the way back needs no more memory beside its result


@dataclass(frozen=True)
class Joined:
    """Vectors of the places of some groups, with P·D values each, and how alike they are within a video.

    Attributes:
        unit: Unit vectors of the parts, times the roots of their shares; zero where a part is empty.
        itself: Similarity of each place to itself: 1, less the shares of empty parts.
        others: Sum of its similarities to the other places of its group.
    """

    unit: Float[Tensor, "*e g v s k"]
    itself: Float[Tensor, "*e g v s"]
    others: Float[Tensor, "*e g v s"]


@without_autocast
def joined(
    x: Float[Tensor, "*e v S d"],
    places: Sequence[Places],
    common: Float[Tensor, "*e 1 S d"] | None = None,
) -> list[Joined]:
    """Places of V videos. The group comes before the video, so that all videos of a group are one matrix.

    Few passes over memory: everything between ``x`` and ``unit`` happens in place, and so does the way back.

    Args:
        x: S descriptors of each video.
        places: Groups of equally many places together; all groups together hold each descriptor once.
        common: What is subtracted from the descriptors of all videos. An empty one stays empty: it is like
            nothing.

    >>> places = torch.tensor([[[0], [1]]]), torch.ones(1, 2, 1)
    >>> found = joined(torch.tensor([[[3.0, 4.0], [0.0, 2.0]]]), [places])[0]
    >>> found.unit[0, 0, 0], found.others
    (tensor([0.6000, 0.8000]), tensor([[[0.8000, 0.8000]]]))
    """
    x = promote(x)
    leading = x.shape[:-3]
    flat = x.flatten(0, -4) if leading else x[None]
    shift = None if common is None else common.to(x).flatten(0, -3)
    found = _Joined.apply(flat, shift, tuple(places))  # type: ignore[no-untyped-call]
    parts = [part.reshape(*leading, *part.shape[1:]) for part in found]
    return [Joined(*parts[i : i + 3]) for i in range(0, len(parts), 3)]


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, common: Tensor | None, places: tuple[Places, ...]
    ) -> tuple[Tensor, ...]:
        e, v, count, d = x.shape
        first = torch.arange(e * v, device=x.device).reshape(e, 1, v, 1) * count
        kept = None if common is None else filled(x).flatten()
        found, saved = [], []
        for index, share in places:
            g, s, p = index.shape
            rows = (first + index.reshape(g, 1, s * p)).flatten()  # e g v s·p
            unit = x.reshape(-1, d).index_select(0, rows)
            if common is not None:
                less = common[:, index.flatten()].reshape(e, g, 1, s * p, d)
                unit.view(e, g, v, s * p, d).sub_(less)
            norm = lengths(unit)
            full = norm > FLOOR
            if kept is not None:
                full &= kept[rows, None]
            root = share.to(x).reshape(g, 1, s * p).expand(e, g, v, s * p).reshape(-1, 1)
            scale = root * norm.reciprocal().where(full, 0.0)
            unit.mul_(scale)
            saved += [rows, unit, scale, root]
            itself = (root.square() * full).reshape(e, g, v, s, p).sum(-1)
            whole = unit.reshape(e, g, v, s, p * d)
            others = (whole @ whole.sum(-2)[..., None]).squeeze(-1) - itself
            found += [whole, itself, others]
        ctx.save_for_backward(*saved)
        ctx.shape, ctx.centred = x.shape, common is not None
        ctx.mark_non_differentiable(*found[1::3])
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor | None, None]:
        e, v, count, d = ctx.shape
        # One row more than there are takes the gradients of parts that do not exist.
        grad = grads[0].new_empty(e * v * count + 1, d)
        for i in range(0, len(grads), 3):
            rows, unit, scale, root = ctx.saved_tensors[i // 3 * 4 : i // 3 * 4 + 4]
            own = grads[i + 2]
            pairs = (own[..., :, None] + own[..., None, :]).flatten(0, 2)
            pairs.diagonal(dim1=-2, dim2=-1).zero_()
            change, whole = grads[i].flatten(0, 2), unit.view(-1, *grads[i].shape[-2:])
            home = rows.where(root[:, 0] > 0, len(grad) - 1)
            share = root.square().where(root > 0, 1.0)
            size = change.shape[-2] * change.shape[-1]
            step = max(_AT_ONCE // size, 1)
            pieces = (x.split(step) for x in (change, pairs, whole))
            lines = (x.split(step * size // d) for x in (unit, scale, share, home))
            for some, alike, own, along, factor, square, row in zip(*pieces, *lines, strict=True):
                part = torch.baddbmm(some, alike, own).view_as(along)
                back = torch.bmm(along[:, None], part[..., None])[:, 0] / square
                grad[row] = part.addcmul_(along, back, value=-1).mul_(factor)
        x_grad = grad[:-1].view(ctx.shape)
        return x_grad, -x_grad.sum(1) if ctx.centred else None, None
