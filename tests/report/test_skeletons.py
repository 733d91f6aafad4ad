from __future__ import annotations

import numpy as np
import pytest
import torch

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import Poses
from a2m2_zoo.report.skeletons import draw_skeletons


def poses(points: torch.Tensor, visibility: float = 1.0) -> Poses:
    seen = points[..., 0].isfinite()
    shown = torch.where(seen, visibility, torch.nan)
    return Poses(points, shown, seen.any(-1).float())


def upright(x: float) -> torch.Tensor:
    """A body of which everything lies on one vertical line."""
    return torch.stack((torch.full((33,), x), torch.linspace(0.2, 0.8, 33)), -1)


def test_lines_lie_where_the_body_is_in_a_colour_of_its_own() -> None:
    points = torch.stack((upright(0.3), upright(0.7)))[:, None]
    frames = np.full((1, 100, 100, 3), 128, np.uint8)
    drawn = draw_skeletons(frames, poses(points))
    assert drawn.dtype == np.uint8
    assert (frames == 128).all()
    changed = (drawn[0] != 128).any(-1)
    columns = np.flatnonzero(changed.any(0))
    assert set(columns) <= {*range(25, 35), *range(65, 75)}
    left, right = (drawn[0, 55, slice(x - 3, x + 3)].max(0) for x in (30, 70))
    assert left[0] > left[2]
    assert right[2] > right[0]
    assert not changed[:15].any()
    assert not changed[85:].any()


def test_the_missing_are_not_drawn_and_the_outside_is_cut() -> None:
    points = torch.stack((torch.full((33, 2), torch.nan), upright(5.0), upright(0.0)))[:, None]
    drawn = draw_skeletons(np.zeros((1, 40, 40, 3), np.uint8), poses(points))
    assert drawn[0, :, 0].any()
    assert not drawn[0, :, 10:].any()


def test_the_hidden_are_faint() -> None:
    frames = np.zeros((1, 60, 60, 3), np.uint8)
    points = upright(0.5)[None, None]
    sure, hidden = (draw_skeletons(frames, poses(points, v)).max() for v in (0.9, 0.1))
    assert 0 < hidden < sure


def test_frames_of_another_clip_are_refused() -> None:
    with pytest.raises(ArgumentError, match="2 frames, but poses of 1"):
        draw_skeletons(np.zeros((2, 40, 40, 3), np.uint8), poses(upright(0.5)[None, None]))
