"""Which windows a person should label next: those of which the model is least sure, and unlike each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.archive.asking import ELSE, Asking
from a2m2_zoo.archive.hits import Hit

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank

_MORE = 8  # times as many windows as are wanted are judged


def suggest(asking: Asking, bank: SupportBank, count: int) -> list[Hit]:
    """Windows to label next, the most telling first.

    Of the best candidates of each class a window's worth is how near its two most probable classes are,
    "everything else" being one; each one that is taken lowers the worth of those that look like it.

    Args:
        asking: The archive.
        bank: What is labelled already.
        count: How many are wanted.

    Returns:
        Each with its most probable class and that one's probability; no two of a video overlap.
    """
    scored = asking.scored(bank, _MORE * count)
    if scored is None:
        return []
    found, best, chances = scored
    names = (*bank.class_names, ELSE)
    top = chances.topk(2, -1)
    worth = 1 - (top.values[:, 0] - top.values[:, 1])
    vectors = asking.vectors(found.packed(best))
    hits: list[Hit] = []
    for row in _spread(worth, vectors, len(best)):
        label = names[int(top.indices[row, 0])]
        hit = found.hit(best[row], label, float(top.values[row, 0]))
        if not any(_overlap(hit, other) for other in hits):
            hits.append(hit)
        if len(hits) == count:
            break
    return hits


@apart
def _spread(worth: Tensor, vectors: Tensor, count: int) -> list[int]:
    """Rows by their worth, each next one's lowered by how alike it is to those before."""
    unit = functional.normalize(vectors.float() - vectors.float().mean(0), dim=-1)
    unlike = torch.ones_like(worth)
    left = worth.clone()
    order: list[int] = []
    for _ in range(count):
        row = int((left * unlike).argmax())
        order.append(row)
        unlike = torch.minimum(unlike, (1 - unit @ unit[row]).clamp(1e-6, 1).to(unlike))
        left[row] = -1.0
    return order


def _overlap(one: Hit, other: Hit) -> bool:
    if one.key != other.key:
        return False
    return (one.start < other.end and other.start < one.end) or one.start == other.start
