"""People and their joints in the frames of a clip, by the embedded BlazePose, and a kernel between them."""

from __future__ import annotations

from a2m2_zoo.pose.blazepose import BlazePose, build_blazepose
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES
from a2m2_zoo.pose.kernel import people_tensor, pose_pairs, pose_presence
from a2m2_zoo.pose.people import Poses, find_people

__all__ = [
    "LIMBS",
    "MIRROR",
    "NAMES",
    "BlazePose",
    "Poses",
    "build_blazepose",
    "find_people",
    "people_tensor",
    "pose_pairs",
    "pose_presence",
]
