"""The figure: twenty joints, thirty-two angles, and how the angles place the joints.

Axes are the figure's own: x forward, y up, z to its right. Lengths are in body heights, angles in
radians. A ball joint is driven by a swing (forward and outward, as one rotation vector, so that any
two poses can be blended linearly without a singular direction) followed by a twist about the bone.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo._utils.typing import Float

_LIMB = ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "toe")
JOINTS = (
    "pelvis",
    "waist",
    "neck",
    "head",
    *(f"{side}_{part}" for side in ("left", "right") for part in _LIMB),
)
"""Names of the twenty joints; the left limb's eight come before the right limb's eight."""

PARENTS = (-1, 0, 1, 2, 1, 4, 5, 6, 0, 8, 9, 10, 1, 12, 13, 14, 0, 16, 17, 18)
"""Index of each joint's parent in `JOINTS`; the pelvis has none."""

_ANGLES = (
    *("arm_forward", "arm_out", "arm_twist", "elbow", "wrist"),
    *("leg_forward", "leg_out", "leg_twist", "knee", "ankle"),
)
CHANNELS = (
    *("forward", "side", "lift", "yaw", "pitch", "roll"),
    *("bend", "lean", "twist", "nod", "tilt", "look"),
    *(f"{side}_{angle}" for side in ("left", "right") for angle in _ANGLES),
)
"""Names of the thirty-two numbers of a pose: three lengths (forward, side, lift), then angles."""

CHANNEL = MappingProxyType({name: index for index, name in enumerate(CHANNELS)})
"""Position of each channel in a pose vector."""

_REST = np.zeros((20, 3))
_REST[1:4] = [[0, 0.08, 0], [0, 0.23, 0], [0.01, 0.12, 0]]
for _start, _sign in ((4, -1.0), (12, 1.0)):
    _REST[_start : _start + 8] = [
        [0, 0.20, 0.10 * _sign],
        [0, -0.165, 0],
        [0, -0.150, 0],
        [0, -0.070, 0],
        [0, -0.02, 0.055 * _sign],
        [0, -0.235, 0],
        [0, -0.225, 0],
        [0.105, -0.025, 0],
    ]
REST: NDArray[np.float64] = _REST
"""Offset of each joint from its parent in the rest pose, arms hanging; shape (20, 3)."""
REST.setflags(write=False)


def _swing_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear maps from the 32 channels to each joint's swing vector and to its twist."""
    swing = np.zeros((20, 3, 32))
    twist = np.zeros((20, 32))

    def put(joint: str, axis: int, channel: str, sign: float) -> None:
        swing[JOINTS.index(joint), axis, CHANNEL[channel]] = sign

    for joint, names in (
        ("pelvis", ("pitch", "roll", "yaw")),
        ("waist", ("bend", "lean", "twist")),
        ("neck", ("nod", "tilt", "look")),
    ):
        put(joint, 2, names[0], -1.0)
        put(joint, 0, names[1], 1.0)
        twist[JOINTS.index(joint), CHANNEL[names[2]]] = 1.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for ball, limb in (("shoulder", "arm"), ("hip", "leg")):
            joint = f"{side}_{ball}"
            put(joint, 2, f"{side}_{limb}_forward", 1.0)
            put(joint, 0, f"{side}_{limb}_out", sign)
            twist[JOINTS.index(joint), CHANNEL[f"{side}_{limb}_twist"]] = sign
        for hinge, bends in (("elbow", 1.0), ("wrist", 1.0), ("knee", -1.0), ("ankle", 1.0)):
            put(f"{side}_{hinge}", 2, f"{side}_{hinge}", bends)
    return swing, twist


_SWING, _TWIST = _swing_table()


def rotations(vectors: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3 3"]:
    """Rotation matrices of rotation vectors (Rodrigues' formula).

    Args:
        vectors: Axis times angle in radians.

    Returns:
        One orthonormal matrix for each vector.
    """
    angle = np.sqrt((vectors**2).sum(-1))[..., None, None]
    axis = vectors / np.maximum(angle[..., 0], 1e-12)
    x, y, z = axis[..., 0], axis[..., 1], axis[..., 2]
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    result: NDArray[np.float64] = (
        np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    )
    return result


def place_joints(
    poses: Float[np.ndarray, "t 32"], bones: Float[np.ndarray, "20 3"]
) -> Float[np.ndarray, "t 20 3"]:
    """Positions of the joints with the pelvis at the origin, before the ground is looked for.

    Args:
        poses: One pose a row, in the order of `CHANNELS`; the three lengths are not used here.
        bones: Offset of each joint from its parent at rest, such as `REST`.

    Returns:
        Joint positions in body heights, turned by the pelvis's yaw, pitch and roll.

    Example:
        >>> standing = place_joints(np.zeros((1, 32)), REST)
        >>> float(round(standing[0, JOINTS.index("left_ankle"), 1], 3))
        -0.48
    """
    swing = np.tensordot(poses, _SWING, axes=(1, 2))
    turn = np.zeros_like(swing)
    turn[..., 1] = poses @ _TWIST.T
    # The pelvis turns last, about the world's vertical; other joints twist about their bone first.
    swing[:, 0], turn[:, 0] = turn[:, 0].copy(), swing[:, 0].copy()
    local = rotations(swing) @ rotations(turn)
    joints = np.zeros((len(poses), 20, 3))
    frames = [local[:, 0]]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        joints[:, joint] = joints[:, parent] + frames[parent] @ bones[joint]
        frames.append(frames[parent] @ local[:, joint])
    return joints
