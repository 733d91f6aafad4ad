"""What ``A2Module`` works on: unit descriptors, groups of one size together: nothing is padded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks.candidates import Candidates, Layout, sequence_layout
from a2m2_zoo.ops import marginals
from a2m2_zoo.ops.centred import joined
from a2m2_zoo.ops.precision import without_autocast
from a2m2_zoo.ops.shots import class_slots

_SMALLEST_SPREAD = 1e-4  # ε of a pair whose costs are all equal up to rounding


@dataclass(frozen=True)
class Side:
    """Videos ready for alignment: unit descriptors of groups with equally many candidates."""

    unit: Float[Tensor, "*e v g s d"]
    mask: Bool[Tensor, "v g s"]  # False only where classes have unequal shots
    times: Float[Tensor, "v g s 2"]
    own: Float[Tensor, "*e v g s"]  # distinctiveness of each candidate within its video

    def videos(self, chosen: slice) -> Side:
        """Some of the videos."""
        return Side(
            self.unit[..., chosen, :, :, :],
            self.mask[chosen],
            self.times[chosen],
            self.own[..., chosen, :, :],
        )


def as_candidates(videos: Candidates | Tensor) -> Candidates:
    if isinstance(videos, Candidates):
        return videos
    if videos.ndim < 3 or not videos.shape[-2]:
        raise ArgumentError(
            f"descriptors have shape {tuple(videos.shape)}; expected (videos, S ≥ 1, D)"
        )
    return Candidates(videos, sequence_layout(videos.shape[-2]))


def check_groups(videos: Candidates, *, mode: str, expected: tuple[str, ...]) -> None:
    """The groups must be those the module was built for."""
    names = videos.layout.groups(mode)
    if names != expected:
        raise ArgumentError(
            f"the candidates' groups are {', '.join(names)}; the module was built for "
            f"{', '.join(expected)}"
        )


def by_size(query: Layout, support: Layout, *, mode: str) -> list[tuple[list[int], int, int]]:
    """Groups that have one size on each side together, and those sizes."""
    found: dict[tuple[int, int], list[int]] = {}
    for g, size in enumerate(zip(query.sizes(mode), support.sizes(mode), strict=True)):
        found.setdefault(size, []).append(g)
    return [(groups, *size) for size, groups in found.items()]


def make_sides(
    videos: Candidates, sizes: Iterable[tuple[list[int], int]], *, mode: str
) -> list[Side]:
    """Unit descriptors of all groups, those of one size together."""
    part = videos.layout.partition(mode, videos.descriptors.device)
    places = videos.layout.places(mode)
    chosen = []
    for groups, size in sizes:
        parts = max(len(shared) for g in groups for shared in places[g])
        chosen.append((groups, slice(size), slice(parts)))
    found = joined(
        videos.descriptors,
        [(part.index[some], part.share[some]) for some in chosen],
        videos.common,
    )
    count = videos.descriptors.shape[-3]
    return [
        Side(
            side.unit.transpose(-4, -3),
            part.mask[some[:2]].expand(count, -1, -1),
            part.times[some[:2]].to(side.unit).expand(count, -1, -1, -1),
            marginals.distinctiveness(side.itself, side.others).transpose(-3, -2),
        )
        for some, side in zip(chosen, found, strict=True)
    ]


@without_autocast
def pair_similarity(query: Tensor, support: Tensor) -> Tensor:
    """Cosines of all candidates of a group: (*e q g s d), (*e n g r d) → (*e q n g s r)."""
    q, _, s, _ = query.shape[-4:]
    n, _, r, _ = support.shape[-4:]
    left, right = (x.transpose(-4, -3).flatten(-3, -2) for x in (query, support))
    cosines = torch.unflatten(left @ right.mT, -1, (n, r))
    cosines = torch.unflatten(cosines, -3, (q, s))  # (*e g q s n r)
    return cosines.movedim((-4, -2), (-5, -4)).contiguous()


def cost_spread(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Standard deviation of the costs of each (pair, group) over candidates that exist."""
    exists = (rows[..., :, None] & columns[..., None, :]).to(cost)
    count = exists.sum((-2, -1))
    mean = (cost * exists).sum((-2, -1)) / count
    square = ((cost - mean[..., None, None]).square() * exists).sum((-2, -1)) / count
    return square.sqrt().clamp_min(_SMALLEST_SPREAD)


def pool_shots(support: Side, labels: Tensor, way: int) -> Side:
    """One set of candidates per class; its shots lie side by side at each place in time."""
    index, exists = class_slots(labels, way=way)

    def pool(x: Tensor, *, videos: int) -> Tensor:  # (…v g s…) → (…w k g s…) → (…w g s·k…)
        shots = torch.unflatten(x.index_select(videos, index.flatten()), videos, index.shape)
        return shots.movedim(videos + 1, videos + 3).flatten(videos + 2, videos + 3)

    episodes = support.unit.ndim - 4
    kept = exists[:, None, None, :].expand(-1, *support.mask.shape[1:], -1).flatten(2)
    mask = pool(support.mask, videos=0) & kept
    unit = pool(support.unit, videos=episodes) * kept[..., None].to(support.unit)
    return Side(unit, mask, pool(support.times, videos=0), pool(support.own, videos=episodes))
