"""Resize, crop, turn and normalise against NumPy, scikit-image and torchvision's formula."""

from __future__ import annotations

import gc
import json

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize as reference_resize

from a2m2_zoo.errors import ArgumentError, VideoLimitError
from a2m2_zoo.video import Limits, Preprocess, normalise, read_clip, resize_frame
from a2m2_zoo.video.clip import Job, Watch
from a2m2_zoo.video.preprocess import CROPS, INTERPOLATIONS, Resizer, cropped, scaled_size


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without fine detail, which all good scalers shrink alike."""
    y, x = np.mgrid[0:height, 0:width]
    red = 127 + 120 * np.sin(x / width * 5)
    green = 127 + 120 * np.cos(y / height * 4)
    blue = 127 + 100 * np.sin((x + y) / (width + height) * 7)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def as_frame(array: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(array, "rgb24")


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("height", "width"), [(256, 340), (340, 256), (240, 240), (1080, 1920)])
def test_centre_crop_against_scikit_image(height, width, interpolation):
    picture = smooth(height, width)
    spec = Preprocess(resize=128, size=112, interpolation=interpolation)
    small_width, small_height = scaled_size(width, height, spec)
    small = reference_resize(picture, (small_height, small_width), anti_aliasing=True) * 255
    top, left = (small_height - 112) // 2, (small_width - 112) // 2
    expected = small[top : top + 112, left : left + 112]
    got = resize_frame(as_frame(picture), spec)
    assert got.shape == (112, 112, 3)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert np.abs(got - expected).mean() < 1.5


@pytest.mark.parametrize("crop", CROPS)
def test_crops_keep_what_they_should(crop):
    picture = smooth(120, 200)
    picture[:, :20], picture[:, -20:] = (255, 0, 0), (0, 0, 255)
    got = resize_frame(as_frame(picture), Preprocess(resize=64, size=64, crop=crop)).astype(int)
    edges = {"left": got[32, 1], "right": got[32, -2]}
    red, blue = edges["left"][0] > 240, edges["right"][2] > 240
    assert bool(red and blue) is (crop != "center")
    assert bool(got[0].sum() == 0) is (crop == "pad")
    if crop == "pad":
        rows = np.flatnonzero(got.sum(axis=(1, 2)))
        assert (rows[0], rows[-1]) == (13, 50)  # 64 * 120 / 200 rounds to 38 rows.


@pytest.mark.parametrize(("height", "width"), [(120, 200), (300, 90)])
def test_stretch_center_is_the_middle_of_the_stretched_picture(height, width):
    frame = as_frame(smooth(height, width))
    whole = resize_frame(frame, Preprocess(size=128, crop="stretch"))
    middle = resize_frame(frame, Preprocess(resize=128, size=96, crop="stretch-center"))
    assert (middle == whole[16:112, 16:112]).all()
    with pytest.raises(ArgumentError, match="resize=64 is below size=96"):
        Preprocess(resize=64, size=96, crop="stretch-center")


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(CROPS), st.integers(1, 96))
@settings(max_examples=60)
def test_every_shape_gives_the_square(width, height, crop, size):
    spec = Preprocess(resize=max(size, 32), size=size, crop=crop)
    assert resize_frame(av.VideoFrame(width, height, "rgb24"), spec).shape == (size, size, 3)


def test_a_thread_of_a_picture_is_refused_not_allocated():
    with pytest.raises(VideoLimitError, match="too narrow"):
        resize_frame(av.VideoFrame(8000, 1, "rgb24"), Preprocess())


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p10le", "nv12", "gray", "rgb24", "yuvj420p"])
def test_pixel_formats_give_the_same_colours(pixels):
    if pixels == "yuvj420p" and int(av.__version__.split(".")[0]) < 17:
        pytest.skip("this PyAV makes such frames with the wrong range")
    white, grey = np.full((64, 64, 3), 255, np.uint8), np.full((64, 64, 3), 100, np.uint8)
    for picture in (white, grey):
        frame = as_frame(picture).reformat(format=pixels)
        got = resize_frame(frame, Preprocess(resize=32, size=32))
        assert np.abs(got.astype(int) - picture[0, 0]).max() <= 2


def test_untouched_size_is_untouched():
    picture = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    assert (resize_frame(as_frame(picture), Preprocess(resize=48, size=48)) == picture).all()


@pytest.mark.parametrize("shape", [(2, 6, 5, 3), (4, 2, 6, 5, 3)])
def test_normalise_is_the_textbook_formula(shape):
    spec = Preprocess(mean=(0.1, 0.5, 0.9), std=(0.5, 0.25, 2.0))
    frames = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    got = normalise(torch.from_numpy(frames), spec)
    expected = (frames / 255 - np.array(spec.mean)) / np.array(spec.std)
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    np.testing.assert_allclose(got.numpy(), np.moveaxis(expected, -1, -3), atol=1e-6)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(2, 4, 4, 3),
        torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(4, 4, 3).byte(),
    ],
)
def test_normalise_refuses(frames):
    # Called below the shape checker, which would refuse first in the tests.
    with pytest.raises(ArgumentError, match="give uint8"):
        getattr(normalise, "__wrapped__", normalise)(frames, Preprocess())


def test_the_description_survives_json():
    spec = Preprocess(frames=16, resize=256, size=224, crop="pad", mean=(0.5, 0.5, 0.5))
    assert Preprocess.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert hash(spec) == hash(Preprocess.from_dict(spec.to_dict()))


def test_from_dict_names_what_is_wrong():
    values = Preprocess().to_dict()
    del values["size"]
    values["colour"] = "red"
    with pytest.raises(ArgumentError, match=r"unknown colour; missing size"):
        Preprocess.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        {"frames": 0},
        {"frames": 8.0},
        {"size": True, "resize": 5},
        {"resize": 100, "size": 112},
        {"resize": 10**6},
        {"crop": "centre"},
        {"interpolation": "lanczos"},
        {"sampling": "uniform"},
        {"mean": (0.5, 0.5)},
        {"mean": "abc"},
        {"std": (0.2, 0.0, 0.2)},
        {"std": (0.2, float("nan"), 0.2)},
    ],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(ArgumentError) as caught:
        Preprocess(**values)
    assert next(iter(values)) in str(caught.value)


def test_frames_are_freed_when_they_are_let_go():
    """Long videos must not wait for the garbage collector: a frame in a cycle holds megabytes."""

    def alive() -> int:
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    resize = Resizer(Preprocess())
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for _ in range(20):
            resize(av.VideoFrame(340, 256, "rgb24"))
        assert alive() == before
    finally:
        gc.enable()


@pytest.mark.parametrize("crop", CROPS)
def test_a_clip_carries_the_whole_pictures(crop: str) -> None:
    source = np.random.default_rng(0).integers(0, 255, (4, 48, 80, 3), np.uint8)
    spec = Preprocess(frames=2, size=32, resize=40, crop=crop)
    clip = read_clip(source, spec)
    width, height = scaled_size(80, 48, spec)
    assert clip.wide.shape == (2, height, width, 3)
    squares = [cropped(picture, spec) for picture in clip.wide]
    assert (clip.frames == np.stack(squares)).all()


def test_very_long_pictures_and_those_of_many_shapes_carry_the_frames_only() -> None:
    spec = Preprocess(frames=2, size=32, resize=32)
    long = read_clip(np.zeros((2, 16, 80, 3), np.uint8), spec)
    assert long.wide is long.frames
    mixed = [np.zeros((32, 40, 3), np.uint8), np.zeros((40, 32, 3), np.uint8)]
    job = Job("mixed", spec, Limits(), Watch("mixed", Limits()))
    clip = job.clip(mixed, (0, 1), times=(), count=2, losses=())
    assert clip.wide is clip.frames
    assert clip.frames.shape == (2, 32, 32, 3)
