"""What ``M2Block`` does to maps before the matrix normalisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo.ops.moments import covariance_from_sums, frame_sums
from a2m2_zoo.ops.precision import promote
from a2m2_zoo.ops.windows import Cell, Window, pooling_matrix, regions


def channels_last(maps: Tensor, dtype: torch.dtype) -> Tensor:
    """Maps (b c h w) whose channels lie side by side in memory, as projections read them fastest."""
    return maps.movedim(1, -1).contiguous().to(dtype).movedim(-1, 1)


def shrunk(maps: Tensor, grid: int) -> Tensor:
    """Maps averaged down to grid × grid."""
    h, w = maps.shape[-2:]
    step = h // grid
    if h != w or h % grid or step > 4:
        return functional.adaptive_avg_pool2d(maps, grid)
    # A sum of strided views: four times faster on CPU than the pooling kernel for 14² → 7².
    views = [maps[..., i::step, j::step] for i in range(step) for j in range(step)]
    return sum(views[1:], views[0]) / step**2


def differences(x: Tensor, step: int) -> Tensor:
    """Changes over ``step`` frames, T − step of them; 0 gives the frames themselves.

    A clip no longer than ``step`` has one change, from its first frame to its last.
    """
    if not step:
        return x
    return x[:, step:] - x[:, :-step] if x.shape[1] > step else x[:, -1:] - x[:, :1]


def stacked(x: Tensor, lag: int) -> Tensor:
    """Frames t and t + lag along the channels; a clip shorter than the lag pairs its ends."""
    if not lag:
        return x
    if x.shape[1] <= lag:
        return torch.cat([x[:, :1], x[:, -1:]], -1)
    return torch.cat([x[:, :-lag], x[:, lag:]], -1)


def window_covariances(x: Tensor, windows: tuple[Window, ...]) -> Tensor:
    """Covariance of every window from sums per frame and region: (b t h w d) → (b s d d)."""
    x = promote(x)
    x = x - x.detach().mean((1, 2, 3), keepdim=True)
    t, height, width = x.shape[1:4]
    sums, pixels = [], []
    for cell in regions(windows):
        rows, columns = cell.slices(height, width)
        part = x[:, :, rows, columns].flatten(2, 3)
        sums.append(frame_sums(part))
        pixels.append(part.shape[2])
    first = torch.stack([first for first, _ in sums], 2).flatten(1, 2)  # b (t r) d
    second = torch.stack([second for _, second in sums], 2).flatten(1, 2)
    pooling = pooling_matrix(windows, t).to(x)
    count = pooling @ x.new_tensor(pixels).repeat(t)
    with torch.autocast(x.device.type, enabled=False):
        return covariance_from_sums(
            pooling @ first,
            (pooling @ second.flatten(2)).reshape(x.shape[0], -1, *second.shape[-2:]),
            count,
        )


def is_small(window: Window, *, dim: int, height: int, width: int) -> bool:
    """Whether windows like this are one frame's, and all cells have as many positions, dim/2 at most."""
    grid = window.cell.grid
    sizes = set()
    for place in range(grid):
        rows, columns = Cell(grid, place, place).slices(height, width)
        sizes.add((rows.stop - rows.start, columns.stop - columns.start))
    return window.length == 1 and len(sizes) == 1 and 2 * math.prod(sizes.pop()) <= dim


def window_samples(x: Tensor, windows: tuple[Window, ...]) -> Tensor:
    """X of windows of one frame, (b t h w d) → (b s p d), with XᵀX the covariance of each.

    All cells of a grid, in the order time, cell, and all of equally many positions.
    """
    height, width = x.shape[2:4]
    parts = []
    for cell in regions(windows):
        rows, columns = cell.slices(height, width)
        parts.append(x[:, :, rows, columns].flatten(2, 3))
    part = promote(torch.stack(parts, 2)).flatten(1, 2)
    centred: Tensor = part - part.mean(-2, keepdim=True)
    return centred / math.sqrt(part.shape[-2])
