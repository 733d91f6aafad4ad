"""Programs and joints: classes are distinct, bodies stay whole, nothing depends on the call."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.synthetic import FAMILY, NAMED_ACTIONS, program, trajectory
from a2m2_zoo.synthetic.instance import sample_instance
from a2m2_zoo.synthetic.motion import perform, pose_track
from a2m2_zoo.synthetic.programs import generator
from a2m2_zoo.synthetic.skeleton import (
    CHANNEL,
    JOINTS,
    PARENTS,
    REST,
    place_joints,
    rotations,
)

TIMES = np.linspace(0.0, 1.0, 17)
WORD = st.integers(0, 2**32 - 1)


def instance_of(seed, class_index, instance):
    return sample_instance(generator(2, seed, class_index, instance))


def test_rotations_match_scipy():
    from scipy.spatial.transform import Rotation

    vectors = np.random.default_rng(0).normal(0, 2, (50, 3))
    vectors[0] = 0
    np.testing.assert_allclose(
        rotations(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12
    )


@pytest.mark.parametrize(
    ("channel", "joint", "axis", "sign"),
    [
        ("left_arm_forward", "left_hand", 0, 1),
        ("right_arm_out", "right_hand", 2, 1),
        ("left_arm_out", "left_hand", 2, -1),
        ("right_leg_forward", "right_ankle", 0, 1),
        ("right_knee", "right_ankle", 0, -1),
        ("right_elbow", "right_hand", 0, 1),
        ("bend", "head", 0, 1),
        ("lean", "head", 2, 1),
        ("pitch", "head", 0, 1),
    ],
)
def test_channels_move_what_they_name(channel, joint, axis, sign):
    pose = np.zeros((1, 32))
    before = place_joints(pose, REST)[0, JOINTS.index(joint), axis]
    pose[0, CHANNEL[channel]] = 0.6
    moved = place_joints(pose, REST)[0, JOINTS.index(joint), axis] - before
    assert sign * moved > 0.03


def test_yaw_turns_the_figure_to_its_left():
    pose = np.zeros((1, 32))
    pose[0, CHANNEL["yaw"]] = np.pi / 2
    toe = place_joints(pose, REST)[0, JOINTS.index("left_toe")]
    ankle = place_joints(pose, REST)[0, JOINTS.index("left_ankle")]
    assert (toe - ankle)[2] < -0.08


@settings(max_examples=40)
@given(WORD, WORD, WORD)
def test_bones_keep_their_length_and_feet_the_floor(seed, class_index, instance):
    joints = trajectory(seed, class_index, instance, times=TIMES)
    assert np.isfinite(joints).all()
    lengths = np.sqrt(((joints[:, :, 1:] - joints[:, :, list(PARENTS[1:])]) ** 2).sum(-1))
    np.testing.assert_allclose(lengths, lengths[:, :1].repeat(len(TIMES), 1), atol=1e-9)
    assert joints[..., 1].min() > -1e-9
    assert joints[..., 1].max() < 2.2


@settings(max_examples=25)
@given(WORD, st.integers(0, 10**6), WORD, st.floats(0, 1))
def test_a_moment_does_not_depend_on_the_others(seed, class_index, instance, moment):
    alone = trajectory(seed, class_index, instance, times=np.array([moment]))
    among = trajectory(seed, class_index, instance, times=np.append(TIMES, moment))
    np.testing.assert_allclose(alone[:, 0], among[:, -1], atol=1e-12)


def test_thousands_of_classes_are_finite_and_move():
    rng = np.random.default_rng(3)
    still = 0
    for _ in range(700):
        seed, class_index = rng.integers(0, 2**32, 2).tolist()
        joints = trajectory(seed, class_index, 0, frames=4)
        assert np.isfinite(joints).all()
        assert np.abs(joints).max() < 15
        still += np.abs(np.diff(joints, axis=1)).max() < 0.05
    assert still < 7


def test_a_thousand_programs_have_a_thousand_names_and_contents():
    made = [program(5, k) for k in range(1000)]
    assert len({one.name for one in made}) == 1000
    assert len({(one.steps, one.reverse, one.partner, one.prop, one.start) for one in made}) > 990
    assert all(re.fullmatch(r"p\d{4,}_[a-z_-]+", one.name) for one in made)


def test_families_share_their_pieces():
    kinds = {"base": 0, "reversed": 0, "reordered": 0, "exchanged": 0}
    for family in range(60):
        base, *sisters = (program(1, FAMILY * family + k) for k in range(FAMILY))
        assert base.kinship == "base"
        for sister in sisters:
            kinds[sister.kinship] += 1
            assert sister.family == base.family == family
            if sister.kinship == "reversed":
                assert (sister.steps, sister.reverse) == (base.steps, True)
            elif sister.kinship == "reordered":
                assert sorted(map(repr, sister.steps)) == sorted(map(repr, base.steps))
                assert sister.steps not in (base.steps, base.steps[::-1])
            else:
                differing = [a != b for a, b in zip(base.steps, sister.steps, strict=True)]
                assert sum(differing) == 1
    assert min(kinds["reversed"], kinds["reordered"], kinds["exchanged"]) > 15


def test_a_reversed_program_runs_through_the_poses_backwards():
    from dataclasses import replace

    for class_index in range(0, 40, FAMILY):
        instance = instance_of(2, class_index, 0)
        even = replace(
            instance, begin=0.0, end=1.0, warp=np.ones(6), sway=np.zeros_like(instance.sway)
        )
        forwards = program(2, class_index)
        backwards = replace(forwards, reverse=True)
        ahead = perform(forwards, even, TIMES)
        back = perform(backwards, even, 1.0 - TIMES)
        np.testing.assert_allclose(ahead.joints, back.joints, atol=1e-9)
        if ahead.prop is not None:
            apart = np.abs(ahead.prop - back.prop).max((1, 2))
            assert (apart > 1e-6).mean() < 0.1  # at the moment of release either side is right


def centred(joints):
    """One figure's joints without its place and heading, which a viewpoint would hide anyway."""
    first = joints[0] - joints[0, :, :1]
    across = first[:, JOINTS.index("right_hip")] - first[:, JOINTS.index("left_hip")]
    angle = np.arctan2(across[:, 0], across[:, 2])
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, z = first[..., 0], first[..., 2]
    return np.stack([x * cos - z * sin, first[..., 1], x * sin + z * cos], -1)


def test_classes_differ_more_than_their_instances():
    classes, clips = range(0, 200, 5), 4
    moves = np.stack(
        [[centred(trajectory(0, c, k, times=TIMES)) for k in range(clips)] for c in classes]
    )
    flat = moves.reshape(len(classes), clips, -1)
    first, second = np.triu_indices(clips, 1)
    inside = np.sqrt(((flat[:, first] - flat[:, second]) ** 2).sum(-1))
    between = np.sqrt(((flat[:, None, 0] - flat[None, :, 1]) ** 2).sum(-1))
    outside = between[~np.eye(len(classes), dtype=bool)]
    assert outside.mean() > 1.2 * inside.mean()
    # Nearest neighbour across 40 classes: far above the 2.5 % of chance even without alignment.
    assert (between.argmin(1) == np.arange(len(classes))).mean() > 0.4


def test_instances_of_a_class_differ():
    clips = np.stack([trajectory(0, 8, k, times=TIMES)[0] for k in range(6)])
    apart = np.abs(clips[:, None] - clips[None]).max((2, 3, 4))
    assert apart[~np.eye(6, dtype=bool)].min() > 0.02


@settings(max_examples=60)
@given(WORD, WORD)
def test_progress_is_monotone_and_complete(seed, instance):
    made = instance_of(seed, 0, instance)
    progress = made.progress(np.linspace(-1, 2, 200))
    assert (np.diff(progress) >= 0).all()
    assert progress[0] == 0.0
    assert progress[-1] == 1.0


def test_walking_travels_without_sliding():
    instance = instance_of(0, 0, 0)
    walk = NAMED_ACTIONS["walk"]
    times = np.linspace(0.3, 0.7, 200)
    joints = perform(walk, instance, times).joints[0]
    gone = np.abs(np.diff(joints[:, 0, 0])).sum()
    assert gone > 0.3
    feet = [
        JOINTS.index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "toe")
    ]
    planted = np.abs(np.diff(joints[:, feet, 0], axis=0)).min(1).sum()
    assert planted < 0.25 * gone


def test_jumping_leaves_the_floor_and_squatting_lowers_the_hips():
    instance = instance_of(0, 0, 0)
    jump = perform(NAMED_ACTIONS["jump"], instance, np.linspace(0, 1, 60)).joints[0]
    assert jump[..., 1].min(1).max() > 0.1
    squat = perform(NAMED_ACTIONS["squat"], instance, np.linspace(0, 1, 60)).joints[0]
    assert squat[..., 1].min(1).max() < 1e-9
    assert squat[:, 0, 1].min() < 0.75 * squat[0, 0, 1]


def test_objects_are_held_then_fall_to_the_floor():
    found = 0
    for class_index in range(0, 400, FAMILY):
        what = program(0, class_index)
        if what.prop is None or what.prop.after != "free" or what.prop.kind != "ball":
            continue
        found += 1
        motion = perform(what, instance_of(0, class_index, 0), TIMES)
        hands = motion.joints[0][:, [JOINTS.index("left_hand"), JOINTS.index("right_hand")]].mean(1)
        np.testing.assert_allclose(motion.prop[0].mean(0), hands[0], atol=1e-9)
        assert motion.prop[:, :, 1].min() >= what.prop.size - 1e-9
        assert motion.prop[-1, 0, 1] < hands[0, 1]
    assert found >= 2


def test_mirrored_instances_are_mirror_images():
    from dataclasses import replace

    one = replace(instance_of(0, 4, 0), mirror=False)
    plain, mirrored = (
        perform(program(0, 4), replace(one, mirror=m), TIMES).joints for m in (False, True)
    )
    swapped = plain[:, :, [*range(4), *range(12, 20), *range(4, 12)]] * (1, 1, -1)
    np.testing.assert_allclose(mirrored, swapped)


def test_pose_track_goes_from_the_start_through_the_last_key_pose():
    checked = 0
    for class_index in range(0, 200, FAMILY):
        what, instance = program(0, class_index), instance_of(0, class_index, 1)
        last = what.steps[-1]
        if what.returns or last.cycles:
            continue
        checked += 1
        track = pose_track(what, instance)
        arm = slice(CHANNEL["left_arm_forward"], CHANNEL["left_arm_forward"] + 3)
        for row, pose, jitter in (
            (0, what.start, len(what.steps)),
            (-1, last.pose, len(what.steps) - 1),
        ):
            meant = np.array(pose)[arm] * instance.amplitude[0, arm]
            apart = np.abs(track[row, arm] - meant - instance.jitter[0, jitter, arm]).max()
            assert apart < 0.06  # the neutral pose itself is not stretched by the amplitude
    assert checked > 10


@pytest.mark.parametrize("bad", [-1, 2**32, 1.5])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ArgumentError, match="whole numbers"):
        program(bad, 0)
    with pytest.raises(ArgumentError, match="whole numbers"):
        program(0, bad)
    with pytest.raises(ArgumentError, match="whole numbers"):
        trajectory(0, 0, bad)
