"""Candidates: the descriptors of a clip's windows, and where and when each window looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.vectors import emptied, filled

#: What is compared with what: all candidates of a branch, those of a group, or windows in time: a window's
#: candidates, the whole picture's and its cells', are then the parts of one.
MODES = ("joint", "scale", "window")


@dataclass(frozen=True)
class Layout:
    """What the S candidates of a clip are, the same for every clip of one length.

    Attributes:
        times: (centre, extent) of each candidate in relative time, the clip being [0, 1].
        group: For each candidate its place in ``names``.
        names: Groups as ``branch/scale``; candidates are compared within a group, or within a
            branch.
    """

    times: tuple[tuple[float, float], ...]
    group: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.group)

    def groups(self, mode: str) -> tuple[str, ...]:
        """The names of what is compared separately: one of ``MODES``.

        Raises:
            ArgumentError: Another mode.
        """
        if mode not in MODES:
            raise ArgumentError(f"groups is {mode!r}; expected one of {', '.join(MODES)}")
        return tuple(dict.fromkeys(self.group_of(name, mode) for name in self.names))

    def group_of(self, name: str, mode: str) -> str:
        """Which of ``groups(mode)`` the group called ``name`` belongs to."""
        if mode == "joint":
            return name.rpartition("/")[0] or name
        return re.split("[@#]", name)[0] if mode == "window" else name

    def sizes(self, mode: str) -> tuple[int, ...]:
        """How many candidates each of ``groups(mode)`` has."""
        return tuple(map(len, self.places(mode)))

    def places(self, mode: str) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each of ``groups(mode)`` its places, and for each of those the candidates that share it."""
        return _places(self, mode)

    def partition(self, mode: str, device: torch.device | None = None) -> Partition:
        """Candidates by group, padded to the largest."""
        return _partition(self, mode, device or torch.device("cpu"))


@dataclass(frozen=True)
class Partition:
    """Candidates gathered by group. A place holds P parts, one unless the mode is ``"window"``.

    Attributes:
        index: (G, S, P) place of each group's candidates in the layout; 0 where there is none.
        share: (G, S, P) root of each part's share in its place's similarity: equal for every grid of cells,
            and within it for every cell; 0 where there is no such part.
        mask: (G, S) whether there is a candidate.
        times: (G, S, 2) centre and extent; 0 where there is none.
    """

    index: Int[Tensor, "g s p"]
    share: Float[Tensor, "g s p"]
    mask: Bool[Tensor, "g s"]
    times: Float[Tensor, "g s 2"]


@lru_cache(maxsize=64)
def _places(layout: Layout, mode: str) -> tuple[tuple[tuple[int, ...], ...], ...]:
    names = layout.groups(mode)
    places: list[dict[object, list[int]]] = [{} for _ in names]
    for i, group in enumerate(layout.group):
        key = layout.times[i] if mode == "window" else i
        home = places[names.index(layout.group_of(layout.names[group], mode))]
        home.setdefault(key, []).append(i)
    return tuple(tuple(map(tuple, home.values())) for home in places)


@lru_cache(maxsize=64)
def _partition(layout: Layout, mode: str, device: torch.device) -> Partition:
    places = layout.places(mode)
    with torch.inference_mode(False):  # the cache outlives the caller's mode
        shape = (
            len(places),
            max(map(len, places)),
            max(len(p) for home in places for p in home),
        )
        index = torch.zeros(shape, dtype=torch.long, device="cpu")
        share = torch.zeros(shape, dtype=torch.float32, device="cpu")
        for g, home in enumerate(places):
            for s, parts in enumerate(home):
                index[g, s, : len(parts)] = torch.tensor(parts, device="cpu")
                grids = [layout.group[i] for i in parts]
                shares = [1 / len(set(grids)) / grids.count(grid) for grid in grids]
                share[g, s, : len(parts)] = torch.tensor(
                    shares, dtype=torch.float32, device="cpu"
                ).sqrt()
        mask = share[..., 0] > 0
        times = _times(layout)[index[..., 0]] * mask[..., None]
        return Partition(*(x.to(device) for x in (index, share, mask, times)))


def _times(layout: Layout) -> Tensor:
    return torch.tensor(layout.times, dtype=torch.float32, device="cpu")


@dataclass(frozen=True)
class Candidates:
    """Descriptors of B clips, of one episode or of many.

    Attributes:
        descriptors: (B, S, D), or (E, B, S, D).
        layout: What the S candidates are.
        common: (1, S, D), or (E, 1, S, D): subtracted from the descriptors before they are compared; nothing
            if None.
    """

    descriptors: Float[Tensor, "*e b s d"]
    layout: Layout
    common: Float[Tensor, "*e 1 s d"] | None = None

    def __post_init__(self) -> None:
        if self.descriptors.shape[-2] != len(self.layout):
            raise ArgumentError(
                f"{self.descriptors.shape[-2]} candidates came with a layout of {len(self.layout)}; "
                "take the layout of the block that made them, for their number of frames"
            )

    def centred(self) -> Float[Tensor, "*e b s d"]:
        """Descriptors less what is common. An empty one stays empty: it is like nothing, and has no mass."""
        if self.common is None:
            return self.descriptors
        return emptied(self.descriptors - self.common, filled(self.descriptors))

    @property
    def centres(self) -> Float[Tensor, "s 2"]:
        """Centre and extent of each candidate in relative time."""
        return _times(self.layout)

    @property
    def group(self) -> tuple[int, ...]:
        """For each candidate its place in ``names``."""
        return self.layout.group

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, ``branch/scale``."""
        return self.layout.names


def sequence_layout(steps: int) -> Layout:
    """Layout of plain per-frame descriptors: one group, evenly spread.

    >>> sequence_layout(2).times
    ((0.25, 0.5), (0.75, 0.5))
    """
    if steps < 1:
        raise ArgumentError(f"steps is {steps}; a sequence has 1 or more")
    return Layout(
        times=tuple(((i + 0.5) / steps, 1 / steps) for i in range(steps)),
        group=(0,) * steps,
        names=("frames/1",),
    )


def join_layouts(layouts: Sequence[Layout], *, names: Sequence[str]) -> Layout:
    """Candidates of several blocks side by side; each block's groups get its name in front.

    Raises:
        ArgumentError: Names do not match the layouts one to one, or repeat.
    """
    if len(layouts) != len(names) or len(set(names)) != len(names) or not names:
        raise ArgumentError(
            f"{len(layouts)} layouts came with names {list(names)}; give one distinct name each"
        )
    group: list[int] = []
    joined: list[str] = []
    for name, layout in zip(names, layouts, strict=True):
        group += [len(joined) + i for i in layout.group]
        joined += [f"{name}/{group_name}" for group_name in layout.names]
    times = tuple(time for layout in layouts for time in layout.times)
    return Layout(times=times, group=tuple(group), names=tuple(joined))


def join_candidates(parts: Sequence[Candidates], *, names: Sequence[str]) -> Candidates:
    """Candidates of several blocks (maps of several stages) as one set; D must be the same.

    Raises:
        ArgumentError: Sizes differ, or names do not match.
    """
    sizes = {part.descriptors.shape[-1] for part in parts}
    if len(sizes) > 1:
        raise ArgumentError(f"descriptors of sizes {sorted(sizes)} cannot be joined; use equal dim")
    return Candidates(
        torch.cat([part.descriptors for part in parts], -2),
        join_layouts([part.layout for part in parts], names=names),
    )
