"""Regions: the turned squares in which the networks look, and the detector's answer as such.

A region is (x, y, u, v) in pixels of the picture: the middle of a person's hips and the way from there up
to a circle round the whole body. The square is 2.5 times that long and turned so that the way points up, as
the landmark network was trained.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float
from a2m2_zoo.pose.blazepose import DETECTOR_SIDE, BlazePose
from a2m2_zoo.pose.onnx_run import OnnxPose

_REACH = 2.5  # side of the square over the circle's radius
_CELLS = ((28, 2), (14, 2), (7, 6))  # cells a side and anchors a cell, as the detector lists them
_APART = 0.5  # radii: hips nearer than a quarter of a body to each other are one person's


def whole(height: int, width: int) -> Float[Tensor, "1 4"]:
    """The region that holds a picture, its longer side just fitting."""
    return torch.tensor([[width / 2, height / 2, 0.0, -max(height, width) / _REACH]])


def squares(
    pictures: Float[Tensor, "n 3 h w"], regions: Float[Tensor, "n 4"], side: int
) -> Float[Tensor, "n 3 s s"]:
    """Cut each picture's region out, side × side, bilinear; black where the picture ends."""
    steps = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    at = places(torch.stack((u, v), -1).reshape(1, -1, 2), regions)
    height, width = pictures.shape[-2:]
    grid = (at / torch.tensor([width, height]) * 2 - 1).reshape(-1, side, side, 2)
    return functional.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)


def places(
    points: Float[Tensor, "#n k 2"], regions: Float[Tensor, "n 4"]
) -> Float[Tensor, "n k 2"]:
    """Points in a region's square, 0 to 1 from its upper left corner → pixels of the picture."""
    centre, up = regions[:, None, :2], regions[:, None, 2:]
    right = torch.stack((-up[..., 1], up[..., 0]), -1)
    across, down = (_REACH * (points - 0.5)).unbind(-1)
    return centre + across[..., None] * right - down[..., None] * up


def radii(regions: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """How far the circle round each body is from its hips: about half the body's length."""
    return torch.hypot(regions[:, 2], regions[:, 3])


def same_person(one: Float[Tensor, "n 4"], other: Float[Tensor, "m 4"]) -> Bool[Tensor, "n m"]:
    """Which regions are nearer to each other than two people are: by their hips."""
    gaps = torch.hypot(*(one[:, None, :2] - other[None, :, :2]).unbind(-1))
    return torch.lt(gaps, _APART * torch.minimum(radii(one)[:, None], radii(other)[None]))


def detect(
    network: BlazePose | OnnxPose, picture: Float[Tensor, "3 h w"], *, most: int, least: float = 0.5
) -> Float[Tensor, "k 4"]:
    """Regions of the people in a picture, the surest first, kept apart.

    Args:
        network: Both networks.
        picture: RGB, 0 to 255.
        most: People at most.
        least: Probability from which on a detection counts.
    """
    all_of_it = whole(*picture.shape[-2:])
    square = squares(picture[None], all_of_it, DETECTOR_SIDE)
    boxes, logits = network.detector(square / 127.5 - 1)
    scores = logits[0].clamp(-100, 100).sigmoid()
    order = scores.argsort(descending=True, stable=True)
    order = order[scores[order] >= least]
    points = boxes[0, order, 4:8].reshape(-1, 2, 2) / DETECTOR_SIDE + _anchors()[order, None]
    hips, circle = places(points.reshape(1, -1, 2), all_of_it)[0].reshape(-1, 2, 2).unbind(1)
    regions = torch.cat((hips, circle - hips), -1)
    kept = regions[:0]
    for region in regions[radii(regions) >= 1][:, None]:
        if len(kept) < most and not same_person(region, kept).any():
            kept = torch.cat((kept, region))
    return kept


@lru_cache(maxsize=1)
def _anchors() -> Float[Tensor, "2254 2"]:
    """The middles of the cells, 0 to 1, in the detector's order."""
    rows = []
    for cells, repeats in _CELLS:
        steps = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        rows.append(torch.stack((x, y), -1).reshape(-1, 2).repeat_interleave(repeats, 0))
    return torch.cat(rows)
