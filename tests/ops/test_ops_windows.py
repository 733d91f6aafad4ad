import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.windows import (
    Cell,
    lay_windows,
    pooling_matrix,
    regions,
    window_starts,
    window_times,
)

frames = st.integers(1, 40)


@given(frames, st.integers(1, 45), st.booleans())
def test_windows_cover_the_clip_and_stay_inside(total, length, overlap):
    length = min(length, total)
    starts = window_starts(total, length, overlap=overlap)
    covered = {start + i for start in starts for i in range(length)}
    assert covered == set(range(total))
    assert len(set(starts)) == len(starts)
    assert list(starts) == sorted(starts)
    if not overlap:
        assert len(starts) == -(-total // length)


@given(frames, st.lists(st.sampled_from([0, 1, 2, 4, 8]), min_size=1, max_size=4), st.booleans())
def test_mirrored_time_gives_mirrored_centres(total, scales, overlap):
    times = window_times(lay_windows(total, scales=scales, overlap=overlap), total)
    assert (times[:, 1] > 0).all()
    assert (times[:, 0] - times[:, 1] / 2 > -1e-6).all()
    assert (times[:, 0] + times[:, 1] / 2 < 1 + 1e-6).all()


@given(frames, st.sampled_from([1, 2, 3]), st.sampled_from([0, 1, 2, 4]))
def test_pooling_rows_hold_the_frames_of_one_cell(total, grid, scale):
    windows = lay_windows(total, scales=(0, scale), cells=(1, grid))
    matrix = pooling_matrix(windows, total).reshape(len(windows), total, -1)
    cells = regions(windows)
    assert matrix.sum((1, 2)).tolist() == [w.length for w in windows]
    for row, window in zip(matrix, windows, strict=True):
        assert row[window.start, cells.index(window.cell)] == 1
        assert (row.sum(0) > 0).sum() == 1


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_cells_cover_the_map_and_mirror(height, width, grid):
    if min(height, width) < grid:
        with pytest.raises(ArgumentError, match="coarser"):
            Cell(grid, 0, 0).slices(height, width)
        return
    seen = torch.zeros(height, width)
    for r in range(grid):
        for c in range(grid):
            rows, columns = Cell(grid, r, c).slices(height, width)
            assert seen[rows, columns].numel() > 0
            seen[rows, columns] += 1
    assert (seen >= 1).all()
    assert torch.equal(seen, seen.flip(0))
    assert torch.equal(seen, seen.flip(1))


def test_order_is_scale_time_cell():
    windows = lay_windows(4, scales=(0, 2), cells=(2, 1))
    assert [w.scale for w in windows] == [0] * 4 + [1] * 2
    assert [(w.cell.row, w.cell.column) for w in windows[:4]] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_times_of_differences_lie_between_frames():
    times = window_times(lay_windows(3, scales=(1,)), 4, offset=0.5)
    torch.testing.assert_close(times[:, 0], torch.tensor([0.25, 0.5, 0.75]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"frames": 0, "scales": (1,)},
        {"frames": 4, "scales": ()},
        {"frames": 4, "scales": (-1,)},
        {"frames": 4, "scales": (1,), "cells": (0,)},
        {"frames": 4, "scales": (1, 2), "cells": (1,)},
    ],
)
def test_refusals(arguments):
    with pytest.raises(ArgumentError):
        lay_windows(arguments.pop("frames"), **arguments)
