"""What ``A2Module`` works on: videos as padded groups of unit descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._typing import Bool, Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.modules.candidates import Candidates, sequence_layout
from a2m2_zoo.ops import marginals
from a2m2_zoo.ops.moments import l2_normalise, without_autocast
from a2m2_zoo.ops.shots import class_slots

_SMALLEST_SPREAD = 1e-4  # ε of a pair whose costs are all equal up to rounding


@dataclass(frozen=True)
class Side:
    """Videos ready for alignment: unit descriptors by group, padded."""

    unit: Float[Tensor, "v g s d"]
    mask: Bool[Tensor, "v g s"]
    times: Float[Tensor, "v g s 2"]
    own: Float[Tensor, "v g s"]  # distinctiveness of each candidate within its video

    def __getitem__(self, index: slice) -> Side:
        return Side(self.unit[index], self.mask[index], self.times[index], self.own[index])


def as_candidates(videos: Candidates | Tensor) -> Candidates:
    if isinstance(videos, Candidates):
        return videos
    if videos.ndim != 3 or not videos.shape[1]:
        raise ArgumentError(
            f"descriptors have shape {tuple(videos.shape)}; expected (videos, S ≥ 1, D)"
        )
    return Candidates(videos, sequence_layout(videos.shape[1]))


def make_side(videos: Candidates | Tensor, *, groups: str, expected: tuple[str, ...]) -> Side:
    """Unit descriptors by group; the groups must be those the module was built for."""
    known = as_candidates(videos)
    names = known.layout.groups(groups)
    if names != expected:
        raise ArgumentError(
            f"the candidates' groups are {', '.join(names)}; the module was built for "
            f"{', '.join(expected)}"
        )
    unit = l2_normalise(known.descriptors)
    part = known.layout.partition(groups, unit.device)
    gathered = unit[:, part.index] * part.mask[..., None].to(unit)
    mask = part.mask.expand(len(unit), -1, -1)
    with torch.autocast(unit.device.type, enabled=False):
        own = marginals.distinctiveness(gathered @ gathered.mT, mask)
    return Side(gathered, mask, part.times.to(unit).expand(len(unit), -1, -1, -1), own)


@without_autocast
def pair_similarity(query: Tensor, support: Tensor) -> Tensor:
    """Cosines of all candidates of a group: (q g s d), (n g r d) → (q n g s r)."""
    q, g, s, d = query.shape
    n, _, r, _ = support.shape
    flat = (
        query.transpose(0, 1).reshape(g, q * s, d) @ support.transpose(0, 1).reshape(g, n * r, d).mT
    )
    return flat.reshape(g, q, s, n, r).permute(1, 3, 0, 2, 4).contiguous()


def cost_spread(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Standard deviation of the costs of each (pair, group) over candidates that exist."""
    exists = (rows[..., :, None] & columns[..., None, :]).to(cost)
    count = exists.sum((-2, -1))
    mean = (cost * exists).sum((-2, -1)) / count
    square = ((cost - mean[..., None, None]).square() * exists).sum((-2, -1)) / count
    return square.sqrt().clamp_min(_SMALLEST_SPREAD)


def groups_by_size(rows: Tensor, columns: Tensor) -> list[tuple[list[int], int, int]]:
    """Groups (q n g s) of one size together, with that size: no work is done on padding."""
    found: dict[tuple[int, int], list[int]] = {}
    for g, size in enumerate(zip(_extent(rows), _extent(columns), strict=True)):
        found.setdefault(size, []).append(g)
    return [(groups, *size) for size, groups in found.items()]


def _extent(mask: Tensor) -> list[int]:
    """Places of each group up to the last one that any video uses; at least 1."""
    used = mask.flatten(0, 1).any(0)
    place = torch.arange(1, used.shape[-1] + 1, device=used.device)
    extent: list[int] = (used * place).amax(-1).clamp_min(1).tolist()
    return extent


def pool_shots(support: Side, labels: Tensor, way: int) -> Side:
    """One set of candidates per class; its shots lie side by side at each place in time."""
    index, exists = class_slots(labels, way=way)

    def pool(x: Tensor) -> Tensor:  # (n g s …) → (w k g s …) → (w g s·k …)
        return x[index].movedim(1, 3).flatten(2, 3)

    shots = exists[:, None, None, :].expand(-1, *support.mask.shape[1:], -1).flatten(2)
    mask = pool(support.mask) & shots
    unit = pool(support.unit) * shots[..., None].to(support.unit)
    return Side(unit, mask, pool(support.times), pool(support.own))
