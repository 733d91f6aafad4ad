"""Drawn clips: pure, diverse, inside the frame; shapes agree with an independent rasteriser."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.synthetic import (
    NAMED_ACTIONS,
    STYLES,
    draw_clip,
    draw_named,
    program,
    trajectory,
)
from a2m2_zoo.synthetic.appearance import quantise
from a2m2_zoo.synthetic.background import smooth_noise
from a2m2_zoo.synthetic.camera import FIT_TIMES, aim
from a2m2_zoo.synthetic.instance import sample_instance
from a2m2_zoo.synthetic.motion import perform
from a2m2_zoo.synthetic.programs import generator
from a2m2_zoo.synthetic.raster import Paint, box, capsule, shadow

WHITE = Paint((255.0, 255.0, 255.0))


@pytest.mark.parametrize("style", STYLES)
def test_same_call_same_bytes_whatever_was_drawn_before(style):
    first = draw_clip(4, 21, 2, size=96, style=style)
    draw_clip(5, 22, 3, size=48)
    assert first.dtype == np.uint8
    assert first.shape == (8, 96, 96, 3)
    assert first.tobytes() == draw_clip(4, 21, 2, size=96, style=style).tobytes()


def test_another_process_draws_the_same_bytes():
    code = (
        "import hashlib; from a2m2_zoo.synthetic import draw_clip;"
        "print(hashlib.sha256(b''.join(draw_clip(1, c, 7, size=64).tobytes() for c in range(6))).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = b"".join(draw_clip(1, c, 7, size=64).tobytes() for c in range(6))
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_importing_the_generator_needs_no_torch():
    code = (
        "import sys, a2m2_zoo.synthetic as s; s.draw_clip(0, 0, 0, frames=1, size=32);"
        "print(sorted({'torch', 'av', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(2, 12))
def test_a_frame_depends_on_its_time_only(class_index, instance, frames):
    clip = draw_clip(0, class_index, instance, frames=frames, size=48)
    last = draw_clip(0, class_index, instance, times=np.array([(frames - 0.5) / frames]), size=48)
    assert (clip[-1] == last[0]).all()


def test_instances_differ_in_every_respect():
    clips = np.stack([draw_clip(0, 12, k, size=48) for k in range(24)]).astype(float)
    flat = clips.reshape(24, -1)
    apart = np.abs(flat[:, None] - flat[None]).mean(-1)[np.triu_indices(24, 1)]
    assert apart.min() > 4
    brightness = clips.mean((1, 2, 3, 4))
    assert np.ptp(brightness) > 80
    made = [sample_instance(generator(2, 0, 12, k)) for k in range(200)]
    assert {one.style for one in made} == set(STYLES)
    assert {one.mirror for one in made} == {True, False}
    assert np.std([one.azimuth for one in made]) > 0.8
    assert np.std([one.begin for one in made]) > 0.04


@pytest.mark.parametrize("style", STYLES)
def test_clips_show_movement(style):
    moved = []
    for class_index in range(40):
        clip = draw_clip(0, class_index, 1, size=64, style=style).astype(float)
        moved.append((np.abs(np.diff(clip, axis=0)).max(-1) > 24).mean((1, 2)).max())
    assert np.mean(np.array(moved) > 0.004) > 0.9


def test_figures_stay_in_the_frame_and_are_large_enough_to_see():
    inside, heights = [], []
    for class_index in range(150):
        instance = sample_instance(generator(2, 0, class_index, 0))
        what = program(0, class_index)
        camera = aim(perform(what, instance, FIT_TIMES).joints, instance, size=224)
        times = np.linspace(0, 1, 40)
        seen = np.concatenate(
            [camera.project(one, times) for one in perform(what, instance, times).joints], 1
        )
        inside.append(((seen[..., :2] > 0) & (seen[..., :2] < 224)).all(-1).mean())
        heights.append(np.median(seen[..., 2]) / 224)
    assert np.mean(inside) > 0.98
    assert np.min(inside) > 0.7
    assert np.median(heights) > 0.35
    assert np.min(heights) > 0.08


def test_feet_project_onto_the_floor_below_its_edge():
    for class_index in range(30):
        instance = sample_instance(generator(2, 1, class_index, 0))
        camera = aim(
            perform(program(1, class_index), instance, FIT_TIMES).joints, instance, size=200
        )
        target = camera.target(FIT_TIMES)[:1, None] * (1, 0, 1)
        row = camera.project(target, FIT_TIMES[:1])[0, 0, 1] - camera.tremble(FIT_TIMES[:1])[0, 1]
        if instance.elevation > 0.02 and not instance.follow:
            assert camera.floor_edge(2.0) < row + 1e-6


def test_camera_matches_opencv():
    cv2 = pytest.importorskip("cv2")
    instance = sample_instance(generator(2, 0, 9, 0))
    joints = perform(program(0, 9), instance, FIT_TIMES).joints
    camera = aim(joints, instance, size=160)
    target, points = camera.target(FIT_TIMES[3:4])[0], joints[0, 3]
    turn = camera.axes * np.array([[1], [-1], [-1]])  # OpenCV looks along z, y down
    shift = -turn @ target + np.array([0, 0, camera.distance])
    middle = camera.tremble(FIT_TIMES[3:4])[0] + camera.centre
    matrix = np.array([[camera.focal, 0, middle[0]], [0, camera.focal, middle[1]], [0, 0, 1.0]])
    expected, _ = cv2.projectPoints(points, cv2.Rodrigues(turn)[0], shift, matrix, None)
    ours = camera.project(points[None], FIT_TIMES[3:4])[0, :, :2]
    np.testing.assert_allclose(ours, expected[:, 0], atol=1e-6)


@settings(max_examples=40)
@given(
    st.tuples(*[st.floats(-10, 50)] * 4), st.floats(1, 9), st.floats(1, 9), st.integers(0, 2**31)
)
def test_capsules_cover_what_their_distance_says(ends, first, second, seed):
    ax, ay, bx, by = ends
    canvas = np.zeros((3, 40, 40), np.float32)
    capsule(canvas, (ax, ay, first), (bx, by, second), WHITE)
    y, x = np.random.default_rng(seed).integers(0, 40, (2, 200))
    line = np.array([bx - ax, by - ay])
    along = np.clip(((x - ax) * line[0] + (y - ay) * line[1]) / max(line @ line, 1e-6), 0, 1)
    distance = np.hypot(x - ax - along * line[0], y - ay - along * line[1])
    radius = first + (second - first) * along
    drawn = canvas[0, y, x]
    assert (drawn[distance < radius - 0.7] == 255).all()
    assert (drawn[distance > radius + 0.7] == 0).all()


def test_boxes_cover_their_area_whatever_their_angle():
    for angle in (0.0, 0.4, 1.2):
        canvas = np.zeros((3, 80, 80), np.float32)
        box(canvas, (40.0, 38.0), (15.0, 9.0), WHITE, angle=angle)
        assert canvas[1].sum() / 255 == pytest.approx(4 * 15 * 9, rel=0.02)


def test_shapes_outside_the_canvas_draw_nothing():
    canvas = np.full((3, 20, 20), 7, np.float32)
    capsule(canvas, (-30, -30, 4), (-20, 90, 4), WHITE)
    box(canvas, (300.0, 10.0), (5.0, 5.0), WHITE)
    shadow(canvas, (10.0, -50.0), (20.0, 5.0), strength=0.5)
    assert (canvas == 7).all()


def test_quantiser_matches_scipy_and_spares_the_rest():
    from scipy.fft import dctn, idctn

    canvas = np.random.default_rng(0).uniform(0, 255, (3, 20, 28)).astype(np.float32)
    steps = 10.0 * (0.6 + 0.35 * np.add.outer(np.arange(8), np.arange(8)))
    expected = canvas.astype(float)
    for top in (0, 8):
        for left in (0, 8, 16):
            block = dctn(expected[:, top : top + 8, left : left + 8], axes=(1, 2), norm="ortho")
            rounded = np.rint(block / steps) * steps
            expected[:, top : top + 8, left : left + 8] = idctn(rounded, axes=(1, 2), norm="ortho")
    ours = quantise(canvas, 10.0)
    assert (ours[:, 16:] == canvas[:, 16:]).all()
    assert (np.abs(ours - expected) < 1e-2).mean() > 0.99  # float32 may round the other way


def test_smooth_noise_passes_through_its_grid():
    made = smooth_noise(np.random.default_rng(1), (41, 31), 10)
    grid = np.random.default_rng(1).standard_normal((11, 11), dtype=np.float32)
    np.testing.assert_allclose(made[::4, ::3], grid, atol=1e-5)


@pytest.mark.parametrize("action", NAMED_ACTIONS)
def test_named_actions_draw(action):
    clip = draw_named(action, 3, frames=5, size=64)
    assert clip.shape == (5, 64, 64, 3)
    assert (clip == draw_named(action, 3, frames=5, size=64)).all()
    assert (clip != draw_named(action, 4, frames=5, size=64)).any()
    assert (clip != draw_named(action, 3, seed=1, frames=5, size=64)).any()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"size": 8}, "size must be from 16"),
        ({"frames": 0}, "frames must be from 1"),
        ({"style": "oil"}, "stick, capsule, scene"),
        ({"times": np.array([1.5])}, "values from 0 to 1"),
        ({"times": np.array([np.nan])}, "values from 0 to 1"),
        ({"times": np.zeros(0)}, "non-empty"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(fields, said):
    with pytest.raises(ArgumentError, match=said) as caught:
        draw_clip(0, 0, 0, **fields)
    assert "\n" not in str(caught.value)


def test_unknown_actions_are_refused_with_the_known_ones():
    with pytest.raises(ArgumentError, match="wave, jump, squat, walk, kick"):
        draw_named("dance", 0)


def test_trajectories_and_clips_show_the_same_instance():
    still = np.array([0.5])
    assert trajectory(0, 3, 1, times=still).shape == (1 + bool(program(0, 3).partner), 1, 20, 3)
    # A style asked for changes the picture only, never the motion's own draw.
    first, second = (draw_clip(0, 3, 1, times=still, style=s, size=64) for s in STYLES[:2])
    assert (first != second).any()


def test_one_studio_is_one_place_with_different_people() -> None:
    same = [
        draw_named(a, i, style="scene", studio=2, size=64)[0]
        for a in ("wave", "kick")
        for i in (0, 1)
    ]
    other = draw_named("wave", 0, style="scene", studio=3, size=64)[0]
    border = np.ones((64, 64), bool)
    border[8:60, 6:58] = False  # where a figure may stand
    reference = same[0][border].astype(float)
    elsewhere = np.abs(other[border] - reference).mean()
    for picture in same[1:]:
        assert np.abs(picture[border] - reference).mean() < elsewhere / 2
        assert (picture != same[0]).any()


def test_a_studio_does_not_change_what_is_drawn_without_one() -> None:
    anywhere = draw_clip(0, 5, 1, frames=2, size=64)
    assert (anywhere == draw_clip(0, 5, 1, frames=2, size=64, studio=None)).all()
    assert (anywhere != draw_clip(0, 5, 1, frames=2, size=64, studio=0)).any()
