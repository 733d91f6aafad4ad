"""People in drawn clips: found, followed, kept apart, the same bits every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo._utils.workers import plain
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import LIMBS, MIRROR, NAMES, Follower, find_people
from a2m2_zoo.pose.body import NAMES as ORDER
from a2m2_zoo.pose.regions import places, same_person, squares, whole
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import Preprocess, read_clip


@pytest.fixture(scope="module")
def one() -> np.ndarray:
    """A clip of one drawn person in whom the networks believe."""
    return draw_named("kick", 2, seed=3, frames=4, size=224, style="scene")


@pytest.fixture(scope="module")
def two(one: np.ndarray) -> np.ndarray:
    """The same person twice in one picture, side by side."""
    return np.concatenate((one, one), 2)


def test_one_person_is_found_and_the_other_place_is_missing(one: np.ndarray) -> None:
    poses = find_people(one)
    assert poses.points.shape == (2, 4, 33, 2)
    assert poses.found[0].all()
    assert not poses.found[1].any()
    assert poses.points[1].isnan().all()
    assert poses.visibility[1].isnan().all()
    assert (poses.presence[0] >= 0.5).all()
    assert ((poses.visibility[0] >= 0) & (poses.visibility[0] <= 1)).all()
    body = poses.points[0]
    assert (body[:, ORDER.index("nose"), 1] < body[:, 23:25, 1].mean(-1)).all()
    assert (body[:, 23:25, 1].mean(-1) < body[:, 27:29, 1].mean(-1)).all()


def test_two_are_kept_apart_and_numbered_from_the_left(two: np.ndarray) -> None:
    poses = find_people(two)
    assert poses.found.all()
    hips = poses.points[:, :, 23:25].mean(2)
    assert ((hips[0, :, 0] < 1) & (hips[1, :, 0] > 1)).all()
    # The same picture twice: the same pose, one picture's width (here its height) to the right.
    gap = poses.points[1] - poses.points[0] - torch.tensor([1.0, 0.0])
    assert gap.abs().median() < 0.02


def test_at_most_so_many(two: np.ndarray) -> None:
    poses = find_people(two, most=1)
    assert poses.points.shape[0] == 1
    assert poses.found.all()


def test_nobody_is_no_zeros() -> None:
    poses = find_people(np.zeros((2, 64, 48, 3), np.uint8))
    assert not poses.found.any()
    assert poses.points.isnan().all()
    assert (poses.presence == 0).all()


def test_who_comes_later_is_followed_back_and_who_goes_is_missing(one: np.ndarray) -> None:
    black = np.zeros_like(one[:1])
    poses = find_people(np.concatenate((black, one[:2], black, one[2:3])))
    assert poses.found[0].tolist() == [False, True, True, False, True]
    assert not poses.found[1].any()


def test_a_follower_finds_what_is_found_in_all_at_once_less_the_way_back(one: np.ndarray) -> None:
    black = np.zeros_like(one[0])
    frames = [black, *one[:2], black, *one[2:]]
    whole = find_people(np.stack(frames))
    follower = Follower()
    found = [follower(frame) for frame in frames]
    points = torch.cat([poses.points for poses in found], 1)
    assert torch.equal(points.nan_to_num(nan=-9), whole.points.nan_to_num(nan=-9))
    larger = np.pad(one[0], ((0, 40), (0, 0), (0, 0)))
    again, anew = follower(larger), Follower()(larger)
    assert again.found.any()
    assert torch.equal(again.points.nan_to_num(nan=-9), anew.points.nan_to_num(nan=-9))


def test_same_bits_whatever_the_host_does(one: np.ndarray) -> None:
    first = find_people(one)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        second = find_people(one.copy())
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    for name in ("points", "visibility", "presence"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == torch.float32
        assert torch.equal(a.nan_to_num(nan=-9), b.nan_to_num(nan=-9))


def test_large_pictures_give_about_the_same(one: np.ndarray) -> None:
    large = np.repeat(np.repeat(one[:2], 3, 1), 3, 2)
    gap = find_people(large, most=1).points - find_people(one[:2], most=1).points
    assert gap.abs().median() < 0.02


@pytest.mark.parametrize(
    ("frames", "most"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), 2),
        (np.zeros((8, 8, 3), np.uint8), 2),
        (np.zeros((0, 8, 8, 3), np.uint8), 2),
        (np.zeros((1, 8, 8, 3), np.uint8), 0),
        (np.zeros((1, 8, 8, 3), np.uint8), True),
    ],
)
def test_refused(frames: np.ndarray, most: int) -> None:
    with pytest.raises(ArgumentError):
        find_people(frames, most=most)
    with pytest.raises(ArgumentError):
        Follower(most=most)(frames[0] if len(frames) else frames)


def test_real_people_are_found(real_clips: Path) -> None:
    path = min((real_clips / "ut_interaction").glob("*/set1_17_3_0.*"))
    clip = read_clip(path, Preprocess(frames=4))
    poses = find_people(clip.wide)
    assert poses.found.all()
    assert (poses.points[0, :, 23, 0] < poses.points[1, :, 23, 0]).all()


def test_a_region_cut_out_and_back() -> None:
    with plain():
        picture = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
        assert torch.allclose(squares(picture, whole(8, 8), 8), picture, atol=1e-3)
        # Lying on its side, head to the right: up in the square is right in the picture.
        region = torch.tensor([[4.0, 4.0, 3.2, 0.0]])
        assert torch.allclose(squares(picture, region, 8), picture.rot90(1, (2, 3)), atol=1e-3)
        corner = places(torch.tensor([[[0.0, 0.0], [0.5, 0.5], [0.5, 0.1]]]), region)
        expected = torch.tensor([[[8.0, 0.0], [4.0, 4.0], [7.2, 4.0]]])
        assert torch.allclose(corner, expected, atol=1e-4)


def test_people_are_told_apart_by_their_hips() -> None:
    def region(x: float) -> Tensor:
        return torch.tensor([[x, 0.0, 0.0, -10.0]])

    assert same_person(region(0), region(4)).tolist() == [[True]]
    assert same_person(region(0), region(6)).tolist() == [[False]]
    assert same_person(region(0), torch.zeros(0, 4)).shape == (1, 0)


def test_names_and_mirror() -> None:
    assert len(NAMES) == len(set(NAMES)) == len(MIRROR) == 33
    assert [MIRROR[i] for i in MIRROR] == list(range(33))
    assert NAMES[MIRROR[15]] == "right_wrist"
    assert {(MIRROR[a], MIRROR[b]) for a, b in LIMBS} <= set(LIMBS) | {(b, a) for a, b in LIMBS}
