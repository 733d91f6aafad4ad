from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from a2m2_zoo import SupportBank
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import LIMBS, Poses, people_tensor
from a2m2_zoo.recognition.thumbnails import thumbnails_of
from a2m2_zoo.report.skeletons import (
    draw_skeletons,
    thumbnails_with_skeletons,
    with_skeletons,
)
from a2m2_zoo.video import Clip, Preprocess, read_clip
from a2m2_zoo.video.preprocess import cropped


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


SHAPES = [(120, 200), (200, 120), (121, 90), (90, 90), (40, 400)]
SPECS = [
    Preprocess(frames=2, size=60, resize=60),
    Preprocess(frames=2, size=50, resize=61),
    *(Preprocess(frames=2, size=60, crop=crop) for crop in ("stretch", "pad")),
    Preprocess(frames=2, size=50, resize=61, crop="stretch-center"),
]


def grey(shape: tuple[int, int], spec: Preprocess) -> tuple[Clip, Poses]:
    """A clip in which nothing is, and a body in the middle of its pictures."""
    clip = read_clip(np.full((2, *shape, 3), 128, np.uint8), spec)
    middle = clip.wide.shape[2] / clip.wide.shape[1] / 2
    points = torch.stack((upright(middle - 0.1), upright(middle + 0.1)))
    points[..., 0] += torch.linspace(-0.05, 0.05, 33)
    return clip, poses(points[None])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.crop}-{spec.size}-{spec.resize}")
def test_the_crop_shows_what_the_whole_picture_shows(
    shape: tuple[int, int], spec: Preprocess
) -> None:
    clip, found = grey(shape, spec)
    drawn = with_skeletons(clip, people_tensor(found).numpy())
    whole = draw_skeletons(clip.wide, found)
    if clip.uncropped is not None:
        whole = np.stack([cropped(picture, spec) for picture in whole])
    inside = (clip.frames > 100).all(-1)  # what is filled up with black may be drawn over, too
    assert (drawn != clip.frames).any()
    # Pictures are so low here that lines are equally wide in both; floats may round to another grey.
    assert (np.abs(drawn.astype(int) - whole)[inside] <= 1).all()


def bank_of(clip: Clip, found: Poses) -> SupportBank:
    return SupportBank(
        class_names=("a",),
        labels=(0,),
        descriptors={"people": people_tensor(found)[None]},
        thumbnails=torch.from_numpy(thumbnails_of(clip))[None],
        sources=("a.mp4",),
        model="m",
        weights_hash="0",
        shapes=(clip.wide.shape[1:3],),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [90, 224, 60])
def test_small_pictures_show_what_large_ones_do(shape: tuple[int, int], size: int) -> None:
    clip, found = grey(shape, Preprocess(frames=2, size=size, resize=size))
    large = with_skeletons(clip, people_tensor(found).numpy())
    small = thumbnails_with_skeletons(bank_of(clip, found), 0, side=size)
    side = small.shape[1]
    assert size - 3 < side <= size
    assert (small != 128).any()
    assert np.array_equal(small, large[:, :side, :side])


def test_where_the_place_is_not_known_no_skeleton_is_drawn() -> None:
    clip, found = grey((120, 200), Preprocess(frames=2, size=90, resize=90))
    bank = bank_of(clip, found)
    people = bank.descriptors["people"]
    strange = (
        replace(bank, shapes=()),
        replace(bank, descriptors={}),
        replace(bank, descriptors={"people": people[:, :, :1]}),
        replace(bank, descriptors={"people": people[..., : len(LIMBS), :]}),
        replace(bank, descriptors={"people": people[..., :2]}),
        *(
            replace(bank, descriptors={"people": people + torch.tensor([value, 0, 0])})
            for value in (float("inf"), float("nan"), 1e38, -1e9)
        ),
    )
    for other in strange:
        assert (thumbnails_with_skeletons(other, 0, side=90) == 128).all()
    assert (thumbnails_with_skeletons(bank, 0, side=500) == 128).all()
