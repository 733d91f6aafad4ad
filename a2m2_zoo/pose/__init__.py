"""People and their joints in the frames of a clip, by the embedded BlazePose, and how alike they move."""

from __future__ import annotations

from a2m2_zoo.pose.blazepose import BlazePose, build_blazepose
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES
from a2m2_zoo.pose.kernel import (
    NEUTRAL,
    joint_vectors,
    people_tensor,
    pose_pairs,
    pose_presence,
    vector_pairs,
)
from a2m2_zoo.pose.people import (
    PEOPLE,
    Follower,
    Poses,
    embedded_pose,
    find_people,
    frames_with_people,
)

__all__ = [
    "LIMBS",
    "MIRROR",
    "NAMES",
    "NEUTRAL",
    "PEOPLE",
    "BlazePose",
    "Follower",
    "Poses",
    "build_blazepose",
    "embedded_pose",
    "find_people",
    "frames_with_people",
    "joint_vectors",
    "people_tensor",
    "pose_pairs",
    "pose_presence",
    "vector_pairs",
]
