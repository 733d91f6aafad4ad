"""The 33 points of BlazePose's body: their names, their mirror images and the limbs between them."""

from __future__ import annotations

#: Of the 33 points, in their order.
NAMES = (
    "nose",
    *("left_eye_inner", "left_eye", "left_eye_outer"),
    *("right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky", "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_foot_index", "right_foot_index"),
)


def _other(name: str) -> str:
    swapped = {"left": "right", "right": "left"}
    return "_".join(swapped.get(word, word) for word in name.split("_"))


#: For each point the one on the other side of the body: left and right are the person's own.
MIRROR = tuple(NAMES.index(_other(name)) for name in NAMES)

#: Trunk, arms and legs as pairs of points: twelve limbs, each side's after the other's.
LIMBS = (
    *((11, 12), (23, 24), (11, 23), (12, 24)),
    *((11, 13), (12, 14), (13, 15), (14, 16)),
    *((23, 25), (24, 26), (25, 27), (26, 28)),
)
