"""Which frames and which part of the picture each descriptor looks at. Pure layout, no pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError

#: Windows of one layout; each is compared with each.
MOST_WINDOWS = 4096
_MOST_FRAMES = 1 << 16
_MOST_SUMMANDS = 1 << 26  # windows × atoms


@dataclass(frozen=True)
class Cell:
    """One cell of a grid × grid division of the picture."""

    grid: int
    row: int
    column: int

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a (height, width) map; cells of uneven maps share their border line.

        Raises:
            ArgumentError: The map has fewer rows or columns than the grid.

        >>> Cell(2, 0, 1).slices(7, 7)
        (slice(0, 4, None), slice(3, 7, None))
        """
        if min(height, width) < self.grid:
            raise ArgumentError(
                f"a {height}×{width} map has no {self.grid}×{self.grid} cells; use a coarser grid"
            )
        return _span(self.row, self.grid, height), _span(self.column, self.grid, width)

    def holds(self, other: Cell) -> bool:
        """Whether the middle of the other cell lies in this one.

        >>> Cell(2, 0, 1).holds(Cell(4, 1, 2)), WHOLE.holds(Cell(2, 1, 1))
        (True, True)
        """
        middle = ((2 * at + 1) * self.grid // (2 * other.grid) for at in (other.row, other.column))
        return (self.row, self.column) == tuple(middle)


WHOLE = Cell(1, 0, 0)


def _span(index: int, grid: int, size: int) -> slice:
    return slice(index * size // grid, -(-(index + 1) * size // grid))


@dataclass(frozen=True)
class Window:
    """``length`` frames from ``start``, in one cell; ``scale`` is the place in the scales."""

    start: int
    length: int
    cell: Cell
    scale: int


def window_starts(frames: int, length: int, *, overlap: bool = False) -> tuple[int, ...]:
    """First frames of full windows of ``length``, evenly spread, that cover ``frames``.

    >>> window_starts(8, 4), window_starts(8, 4, overlap=True), window_starts(7, 2)
    ((0, 4), (0, 2, 4), (0, 2, 3, 5))
    """
    if not 1 <= frames <= _MOST_FRAMES or length < 1:
        raise ArgumentError(
            f"frames is {frames} and length {length}; both must be 1 or more, and no more frames than "
            f"{_MOST_FRAMES}"
        )
    room = max(frames - length, 0)
    stride = max(length // 2, 1) if overlap else length
    steps = math.ceil(room / stride)
    return tuple(int(i * room / steps + 0.5) for i in range(steps + 1)) if steps else (0,)


def lay_windows(
    frames: int, *, scales: Sequence[int], cells: Sequence[int] = (), overlap: bool = False
) -> tuple[Window, ...]:
    """All windows of all scales, in the order scale, time, cell.

    Args:
        frames: Frames of the clip, ≥ 1. Windows longer than it shrink to it.
        scales: Window lengths in frames; 0 is the whole clip.
        cells: For each scale the grid of cells (1: whole picture); empty: 1 everywhere.
        overlap: Windows advance by half their length.

    Raises:
        ArgumentError: A scale below 0, a grid below 1, lists of different length, or too many windows.

    >>> [(w.start, w.length) for w in lay_windows(4, scales=(0, 2))]
    [(0, 4), (0, 2), (2, 2)]
    """
    grids = tuple(cells) or (1,) * len(scales)
    if len(grids) != len(scales) or not scales:
        raise ArgumentError(
            f"{len(scales)} scales and {len(grids)} cells; give one grid per scale, or none"
        )
    if len(scales) > MOST_WINDOWS or min(scales) < 0 or min(grids) < 1:
        raise ArgumentError(
            f"scales {tuple(scales[:8])} must be ≥ 0 and cells {grids[:8]} ≥ 1, and not thousands of them"
        )
    laid: list[Window] = []
    for scale, (wanted, grid) in enumerate(zip(scales, grids, strict=True)):
        length = min(wanted or frames, frames)
        starts = window_starts(frames, length, overlap=overlap)
        if len(laid) + len(starts) * grid**2 > MOST_WINDOWS:
            raise ArgumentError(
                f"scales {tuple(scales[:8])} with cells {grids[:8]} are more than {MOST_WINDOWS} windows of "
                f"{frames} frames; expected larger windows or coarser grids"
            )
        for start in starts:
            laid += [
                Window(start, length, Cell(grid, r, c), scale)
                for r in range(grid)
                for c in range(grid)
            ]
    return tuple(laid)


def regions(windows: Sequence[Window]) -> tuple[Cell, ...]:
    """The distinct cells of ``windows``, in order of first use."""
    return tuple(dict.fromkeys(window.cell for window in windows))


def pooling_matrix(windows: Sequence[Window], frames: int) -> Float[Tensor, "s a"]:
    """0/1 matrix that adds the atoms of each window.

    Atom t·R + r is frame t in region r of ``regions``.

    >>> pooling_matrix(lay_windows(4, scales=(2,)), 4)
    tensor([[1., 1., 0., 0.],
            [0., 0., 1., 1.]])
    """
    cells = regions(windows)
    if len(windows) * frames * len(cells) > _MOST_SUMMANDS:
        raise ArgumentError(
            f"{len(windows)} windows of {frames} frames in {len(cells)} cells are too many; expected larger "
            "windows or coarser grids"
        )
    start, length, cell = torch.tensor(
        [(w.start, w.length, cells.index(w.cell)) for w in windows], device="cpu"
    ).T[..., None]
    time = torch.arange(frames, device="cpu")
    inside = (time >= start) & (time < start + length)
    here = torch.arange(len(cells), device="cpu") == cell
    matrix: Tensor = (inside[:, :, None] & here[:, None, :]).flatten(1).float()
    return matrix


def window_times(
    windows: Sequence[Window], frames: int, *, offset: float = 0.0
) -> Float[Tensor, "s 2"]:
    """Centre and extent of each window in relative time, the clip being [0, 1].

    Args:
        windows: The windows.
        frames: Frames of the *clip*.
        offset: Where frame 0 of the windows' own time line lies, in frames: ½ for frame
            differences.

    >>> window_times(lay_windows(4, scales=(2,)), 4)
    tensor([[0.2500, 0.5000],
            [0.7500, 0.5000]])
    """
    return torch.tensor(
        [[(w.start + w.length / 2 + offset) / frames, w.length / frames] for w in windows],
        dtype=torch.float32,
        device="cpu",
    )
