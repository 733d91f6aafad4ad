"""From a program and an instance to joints in space.

A program is first written out on a fixed grid of its own clock: key poses blended by minimum-jerk
steps, periodic movement on top. The figure then stands on the floor, and travels because the joints
that bear its weight stay where they are; walking needs no speed of its own, and a squat moves the
hips back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.synthetic.instance import Instance
from a2m2_zoo.synthetic.programs import STANDING, MotionProgram, Step
from a2m2_zoo.synthetic.skeleton import CHANNEL, JOINTS, place_joints
from a2m2_zoo.synthetic.vocabulary import pose_vector

_GRID = 145
_GRAVITY = 5.8  # body heights a second squared
_HANDS = (JOINTS.index("left_hand"), JOINTS.index("right_hand"))
_HIPS = (JOINTS.index("left_hip"), JOINTS.index("right_hip"))


@dataclass(frozen=True)
class Motion:
    """Where everything is at the times asked for.

    Attributes:
        joints: Joint positions of each figure, in body heights; shape (figures, t, 20, 3). x is the
            first figure's forward at the start, y is up from the floor, z its right.
        prop: Both ends of the object, (t, 2, 3); equal ends for a ball or a box. None without.
    """

    joints: Float[np.ndarray, "f t 20 3"]
    prop: Float[np.ndarray, "t 2 3"] | None


def _ease(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimum-jerk profile (Flash and Hogan, 1985): 0 to 1 with rest at both ends."""
    v = np.clip(v, 0.0, 1.0)
    return v * v * v * (10.0 + v * (6.0 * v - 15.0))


def _wave(shape: str, phase: NDArray[np.float64]) -> NDArray[np.float64]:
    if shape == "bump":
        return 0.5 - 0.5 * np.cos(2 * np.pi * phase)
    sine = np.sin(2 * np.pi * phase)
    return np.maximum(sine, 0.0) if shape == "arc" else sine


def _bounds(steps: tuple[Step, ...], returns: bool, instance: Instance) -> NDArray[np.float64]:
    """Start of each step, and the end of the last, on the program's clock."""
    weights = [one.weight for one in steps] + [0.7] * returns
    paced = np.array(weights) * instance.tempo[: len(weights)]
    return np.concatenate([[0.0], np.cumsum(paced) / paced.sum()])


def pose_track(
    program: MotionProgram, instance: Instance, *, figure: int = 0
) -> Float[np.ndarray, "g 32"]:
    """Poses over the program's own clock, played forwards.

    Args:
        program: What is done.
        instance: By whom and how.
        figure: 0 for the first figure, 1 for its partner.

    Returns:
        Poses at 145 evenly spaced points of the clock; forward and side hold leaps only.
    """
    steps = (program.partner if figure else program.steps)[:7]
    clock = np.linspace(0.0, 1.0, _GRID)
    bounds = _bounds(program.steps[:7], program.returns, instance)
    neutral = pose_vector(STANDING)
    amplitude = instance.amplitude[figure]

    def meant(pose: tuple[float, ...], index: int) -> NDArray[np.float64]:
        shaped = neutral + amplitude * (np.array(pose) - neutral)
        return np.asarray(shaped + instance.jitter[figure, index])

    start = meant(program.start, len(steps))
    track = np.repeat(start[None], _GRID, 0)
    before = start
    for index, one in enumerate(steps):
        local = (clock - bounds[index]) / (bounds[index + 1] - bounds[index])
        target = meant(one.pose, index)
        track += _ease(local / one.rise)[:, None] * (target - before)
        before = target
        window = _ease(np.minimum(local, 1.0 - local) / 0.12)
        for cycle in one.cycles:
            phase = one.periods * instance.rate * cycle.ratio * local + cycle.phase
            swing = cycle.amplitude * amplitude[cycle.channel] * window
            track[:, cycle.channel] += swing * _wave(cycle.shape, phase)
        track[:, CHANNEL["yaw"]] += one.turn * _ease(local)
        track[:, :2] += np.clip(local, 0, 1)[:, None] * np.array(one.drift)
    if program.returns:
        local = (clock - bounds[-2]) / (bounds[-1] - bounds[-2])
        track += _ease(local)[:, None] * (start - before)
    for side in ("left", "right"):
        # Feet stay level where the leg alone would tip them.
        tip = track[:, CHANNEL[f"{side}_knee"]] - track[:, CHANNEL[f"{side}_leg_forward"]]
        track[:, CHANNEL[f"{side}_ankle"]] += np.clip(tip + track[:, CHANNEL["pitch"]], -0.8, 0.8)
        track[:, CHANNEL[f"{side}_knee"]] = np.clip(track[:, CHANNEL[f"{side}_knee"]], 0.0, 2.5)
        track[:, CHANNEL[f"{side}_elbow"]] = np.clip(track[:, CHANNEL[f"{side}_elbow"]], -0.05, 2.6)
    return track


def _path(track: NDArray[np.float64], bones: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the pelvis goes over the floor so that weight-bearing joints do not slide; (g, 2)."""
    joints = place_joints(track, bones)
    height = joints[..., 1] - joints[..., 1].min(1, keepdims=True)
    bearing = np.exp(-height / 0.004)
    bearing /= bearing.sum(1, keepdims=True)
    moved = np.diff(joints[..., ::2], axis=0)
    carried = -(0.5 * (bearing[1:] + bearing[:-1])[..., None] * moved).sum(1)
    carried[track[1:, CHANNEL["lift"]] > 0.01] = 0.0
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(carried, 0)])
    heading = track[:, CHANNEL["yaw"]]
    cos, sin = np.cos(heading), np.sin(heading)
    leap = np.diff(track[:, :2], axis=0, prepend=track[:1, :2])
    leap = np.stack([leap[:, 0] * cos + leap[:, 1] * sin, leap[:, 1] * cos - leap[:, 0] * sin], 1)
    return np.asarray(path + np.cumsum(leap, 0))


def _figure(
    program: MotionProgram,
    instance: Instance,
    figure: int,
    clock: NDArray[np.float64],
    times: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Joints of one figure at points of the program's clock; (t, 20, 3)."""
    track = pose_track(program, instance, figure=figure)
    bones = instance.bones[figure]
    both = np.concatenate([track, _path(track, bones)], 1)
    spot = clock * (_GRID - 1)
    lower = np.minimum(spot.astype(int), _GRID - 2)
    share = (spot - lower)[:, None]
    values = (1.0 - share) * both[lower] + share * both[lower + 1]
    poses, path = values[:, :32], values[:, 32:]
    amplitude, frequency, phase = instance.sway[figure]
    poses = poses + amplitude * np.sin(times[:, None] * frequency + phase)
    joints = place_joints(poses, bones)
    joints[..., 1] += (poses[:, CHANNEL["lift"]] - joints[..., 1].min(1))[:, None]
    joints[..., ::2] += path[:, None]
    if figure:
        cos, sin = np.cos(program.facing), np.sin(program.facing)
        x, z = joints[..., 0].copy(), joints[..., 2].copy()
        beside = abs(sin) < 0.5 < cos
        joints[..., 0] = x * cos + z * sin + (0.0 if beside else program.gap)
        joints[..., 2] = z * cos - x * sin + (program.gap if beside else 0.0)
    return np.asarray(joints)


def _carried(joints: NDArray[np.float64], mode: str, size: float) -> NDArray[np.float64]:
    """Centre of an object in the hands, at rest under them, or pushed ahead; (t, 3)."""
    hands = joints[:, _HANDS].mean(1)
    if mode == "held":
        return np.asarray(hands)
    across = joints[:, _HIPS[1]] - joints[:, _HIPS[0]]
    ahead = np.stack([across[:, 2], np.zeros(len(across)), -across[:, 0]], 1)
    ahead /= np.maximum(np.sqrt((ahead**2).sum(1, keepdims=True)), 1e-9)
    centre = hands + ahead * (size if mode == "pushed" else 0.0)
    centre[:, 1] = size
    return np.asarray(centre)


def _prop_track(
    program: MotionProgram,
    joints: NDArray[np.float64],
    at_switch: NDArray[np.float64],
    since: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Ends of the object; `since` is the time after the switch in seconds, negative before it."""
    prop = program.prop
    assert prop is not None
    resting = prop.size if prop.kind != "stick" else 0.02
    before, after = (_carried(joints, mode, resting) for mode in (prop.before, prop.after))
    still = _carried(at_switch, "rest", resting)
    if prop.before == "rest":
        before = np.repeat(still, len(joints), 0)
    if prop.after == "rest":
        after = np.repeat(_carried(at_switch, prop.before, resting), len(joints), 0)
        after[:, 1] = resting
    spin = np.zeros(len(joints))
    if prop.after == "free":
        origin = _carried(at_switch, "held", resting)
        ahead = _carried(at_switch, "pushed", 1.0) - _carried(at_switch, "pushed", 0.0)
        late = np.maximum(since, 0.0)[:, None]
        rise = np.array([0.0, 1.0, 0.0])
        fall = origin[0, 1] - resting
        landing = (
            prop.speed[1] + np.sqrt(max(prop.speed[1] ** 2 + 2 * _GRAVITY * fall, 0.0))
        ) / _GRAVITY
        after = origin + np.minimum(late, 1.4 * landing) * prop.speed[0] * ahead * (1.0, 0.0, 1.0)
        after = after + (prop.speed[1] * late - 0.5 * _GRAVITY * late**2) * rise
        after[:, 1] = np.maximum(after[:, 1], resting)
        spin = np.minimum(late[:, 0], landing) * 5.0
    centre = np.where(since[:, None] < 0, before, after)
    half = prop.size if prop.kind == "stick" else 0.0
    grip = joints[:, _HANDS[1]] - joints[:, _HANDS[1] - 2]
    held = np.where(since < 0, prop.before == "held", prop.after == "held")[:, None]
    lying = np.stack([np.cos(spin), np.sin(spin), np.zeros(len(spin))], 1)
    along = np.where(held, grip / np.sqrt((grip**2).sum(1, keepdims=True)), lying)
    return np.stack([centre - half * along, centre + half * along], 1)


def perform(program: MotionProgram, instance: Instance, times: NDArray[np.float64]) -> Motion:
    """Carry a program out.

    Args:
        program: What is done.
        instance: By whom and how.
        times: Times in clip lengths, 0 to 1, shape (t,).

    Returns:
        Joints and object at those times.
    """
    clock = instance.progress(np.asarray(times, np.float64))
    clock = 1.0 - clock if program.reverse else clock
    switch = 0.0
    if program.prop is not None:
        bounds = _bounds(program.steps[:7], program.returns, instance)
        switch = float(bounds[min(program.prop.switch, len(bounds) - 1)])
    instants = np.concatenate([clock, [switch]])
    moments = np.concatenate([times, [0.0]])
    figures = [
        _figure(program, instance, k, instants, moments) for k in range(1 + bool(program.partner))
    ]
    prop = None
    if program.prop is not None:
        since = (clock - switch) * program.seconds
        # A switch at the very end of the program never happens.
        since = since - 1e-9 if switch >= 1.0 else since
        prop = _prop_track(program, figures[0][:-1], figures[0][-1:], since)
    joints = np.stack(figures)[:, :-1]
    if instance.mirror:
        joints = joints[:, :, [*range(4), *range(12, 20), *range(4, 12)]] * (1.0, 1.0, -1.0)
        prop = None if prop is None else prop * (1.0, 1.0, -1.0)
    return Motion(joints, prop)
