"""People and their joints in the frames of a clip, by the embedded BlazePose, and how alike they move."""

from __future__ import annotations

from a2m2_zoo.pose.blazepose import BlazePose, build_blazepose
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES
from a2m2_zoo.pose.kernel import NEUTRAL, people_tensor, pose_pairs, pose_presence
from a2m2_zoo.pose.people import PEOPLE, Poses, find_people, frames_with_people, nobody

__all__ = [
    "LIMBS",
    "MIRROR",
    "NAMES",
    "NEUTRAL",
    "PEOPLE",
    "BlazePose",
    "Poses",
    "build_blazepose",
    "find_people",
    "frames_with_people",
    "nobody",
    "people_tensor",
    "pose_pairs",
    "pose_presence",
]
