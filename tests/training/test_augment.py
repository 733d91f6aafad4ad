"""Augmentation against plain formulas, and alike in all frames of a clip."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.training.augment import Augment, augment_clip, colour_matrix
from a2m2_zoo.video import Preprocess

LUMA = np.array([0.299, 0.587, 0.114])
STILL = Augment(flip=0, brightness=0, contrast=0, saturation=0, hue=0, grayscale=0)


def clip(frames: int = 3, side: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, side, side, 3), dtype=torch.uint8, generator=generator)


def draws(*strengths: float, grey: float = 0.9, order: tuple[int, ...] = (0, 1, 2, 3)):
    """Draws that lead to these strengths (as shares of the largest), in this order."""
    keys = [order.index(kind) / 10 for kind in range(4)]
    return np.array([grey, *((1 + s) / 2 for s in strengths), *keys])


def moved(frames: torch.Tensor, augment: Augment, drawn: np.ndarray) -> np.ndarray:
    matrix = colour_matrix(frames, augment, draws=drawn)
    assert matrix is not None
    return (frames.float() @ matrix[:, :3].T + matrix[:, 3]).numpy()


def plain(kind: int, x: np.ndarray, strength: float) -> np.ndarray:
    """Brightness, contrast and saturation pixel by pixel, in the words of their definitions."""
    grey = (x @ LUMA)[..., None]
    if kind == 0:
        return x * (1 + strength)
    if kind == 1:
        return grey.mean() + (x - grey.mean()) * (1 + strength)
    return grey + (x - grey) * (1 + strength)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("share", [-1.0, 0.4])
def test_each_strength_is_its_formula(kind, share):
    shares = [share if k == kind else 0.0 for k in range(4)]
    augment = Augment(brightness=0.5, contrast=0.6, saturation=0.7, grayscale=0)
    strength = share * (0.5, 0.6, 0.7)[kind]
    expected = plain(kind, clip().double().numpy(), strength)
    np.testing.assert_allclose(moved(clip(), augment, draws(*shares)), expected, atol=1e-3)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_strengths_follow_each_other_in_the_drawn_order(order):
    augment = Augment(brightness=0.5, contrast=0.5, saturation=0.5, grayscale=0)
    shares = (0.8, -0.6, 0.4, 0.0)
    expected = clip().double().numpy()
    for kind in order:
        expected = plain(kind, expected, 0.5 * shares[kind])
    found = moved(clip(), augment, draws(*shares, order=(*order, 3)))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_hue_turns_about_the_grey_axis():
    augment = Augment(hue=1 / 3, grayscale=0)
    once = moved(clip(), augment, draws(0, 0, 0, 1))
    np.testing.assert_allclose(once @ LUMA, clip().numpy() @ LUMA, atol=1e-2)
    assert np.abs(once - clip().numpy()).mean() > 10
    grey = torch.full((1, 2, 2, 3), 77, dtype=torch.uint8)
    np.testing.assert_allclose(moved(grey, augment, draws(0, 0, 0, 1)), 77, atol=0.05)
    matrix = colour_matrix(clip(), augment, draws=draws(0, 0, 0, 1))[:, :3].double()
    torch.testing.assert_close(
        torch.linalg.matrix_power(matrix, 3), torch.eye(3).double(), atol=1e-5, rtol=0
    )
    back = colour_matrix(clip(), augment, draws=draws(0, 0, 0, -1))[:, :3].double()
    torch.testing.assert_close(matrix @ back, torch.eye(3).double(), atol=1e-5, rtol=0)


def test_grey_is_luma_and_comes_last():
    augment = Augment(brightness=0.5, contrast=0, saturation=0, hue=0, grayscale=0.3)
    found = moved(clip(), augment, draws(1, 0, 0, 0, grey=0.29))
    expected = np.repeat((clip().numpy() @ LUMA * 1.5)[..., None], 3, -1)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    coloured = moved(clip(), augment, draws(1, 0, 0, 0, grey=0.31))
    assert np.ptp(coloured, axis=-1).max() > 50


def test_pixels_are_rounded_and_clipped_once():
    augment = Augment(flip=0, brightness=0.9, contrast=0, saturation=0, hue=0, grayscale=0)
    plain_grey = torch.full((1, 4, 4, 3), 200, dtype=torch.uint8)
    found = {int(augment_clip(plain_grey, augment, size=4, seed=s).max()) for s in range(40)}
    assert min(found) < 100
    assert max(found) == 255


def test_all_frames_are_changed_alike():
    still = clip(1).expand(5, -1, -1, -1).contiguous()
    places = set()
    for seed in range(30):
        found = augment_clip(still, Augment(), size=9, seed=seed)
        assert (found == found[:1]).all()
        places.add(found[0].numpy().tobytes())
    assert len(places) > 25
    moving = clip(5)
    order = torch.tensor([3, 0, 4, 1, 2])
    one = augment_clip(moving, Augment(), size=9, seed=3)
    assert (augment_clip(moving[order], Augment(), size=9, seed=3) == one[order]).all()


def test_the_crop_is_at_one_place_and_every_place_comes():
    frames = clip(2, side=6)
    windows = {
        frames[:, y : y + 4, x : x + 4].numpy().tobytes(): (y, x)
        for y in range(3)
        for x in range(3)
    }
    found = [augment_clip(frames, STILL, size=4, seed=s).numpy().tobytes() for s in range(200)]
    assert {windows[w] for w in found} == set(windows.values())
    middle = Augment(**{**STILL.to_dict(), "crop": False})
    assert (augment_clip(frames, middle, size=4, seed=1) == frames[:, 1:5, 1:5]).all()


def test_the_flip_is_a_mirror_about_half_of_the_time():
    frames = clip(2, side=4)
    augment = Augment(**{**STILL.to_dict(), "flip": 0.5})
    found = [augment_clip(frames, augment, size=4, seed=s) for s in range(200)]
    mirrored = sum(bool((f == frames.flip(2)).all()) for f in found)
    kept = sum(bool((f == frames).all()) for f in found)
    assert mirrored + kept == 200
    assert 70 < mirrored < 130


def test_one_seed_one_result_and_no_random_state_is_touched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (augment_clip(clip(), Augment(), size=8, seed=11) for _ in range(2))
    assert (one == two).all()
    assert (torch.get_rng_state() == before).all()
    assert (one != augment_clip(clip(), Augment(), size=8, seed=12)).any()


def test_the_crop_alone_leaves_colours_and_sides():
    frames = clip(2, side=6)
    windows = {
        frames[:, y : y + 4, x : x + 4].numpy().tobytes() for y in range(3) for x in range(3)
    }
    for seed in range(30):
        found = augment_clip(frames, Augment(flip=1), size=4, seed=seed, appearance=False)
        assert found.numpy().tobytes() in windows


@pytest.mark.parametrize(
    ("spec", "resize", "crop", "side"),
    [
        (Preprocess(resize=256, size=224, crop="stretch-center"), 0, "stretch", 256),
        (Preprocess(resize=256, size=224), 0, "center", 256),
        (Preprocess(resize=224, size=224), 256, "center", 256),
        (Preprocess(size=64, crop="stretch"), 0, "stretch", 64),
        (Preprocess(size=64, crop="pad"), 72, "pad", 72),
    ],
)
def test_clips_are_decoded_with_room_for_the_crop(spec, resize, crop, side):
    found = Augment(resize=resize).decoding(spec)
    assert (found.crop, found.size, found.resize, found.sampling) == (crop, side, side, "random")
    assert (found.frames, found.mean, found.std) == (spec.frames, spec.mean, spec.std)


def test_what_cannot_be_is_refused():
    with pytest.raises(ArgumentError, match="give resize=224 or more"):
        Augment(resize=200).decoding(Preprocess())
    with pytest.raises(ArgumentError, match="decode them with Augment"):
        augment_clip(clip(side=8), Augment(), size=9, seed=0)


@pytest.mark.parametrize(
    "values",
    [
        {"flip": 1.5},
        {"flip": -0.1},
        {"hue": 0.6},
        {"sides": "support"},
        {"crop": 1},
        {"resize": -1},
        {"tint": 1},
    ],
)
def test_bad_settings_are_refused(values):
    with pytest.raises(ArgumentError, match=next(iter(values))):
        Augment.from_dict(values)


def test_settings_survive_json():
    augment = Augment(flip=0.25, sides="both", resize=300)
    assert Augment.from_dict(augment.to_dict()) == augment
