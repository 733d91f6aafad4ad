"""From a path to the few small frames a model looks at.

>>> from a2m2_zoo.video import segment_centres
>>> segment_centres(300, 4)
(37, 112, 187, 262)
"""

from __future__ import annotations

from a2m2_zoo.video.clip import Clip, Limits
from a2m2_zoo.video.decode import read_clip, read_clips
from a2m2_zoo.video.preprocess import Preprocess, normalise, resize_frame
from a2m2_zoo.video.sample import (
    dense,
    frame_at,
    segment_centres,
    segment_random,
    time_centres,
    time_random,
)

__all__ = [
    "Clip",
    "Limits",
    "Preprocess",
    "dense",
    "frame_at",
    "normalise",
    "read_clip",
    "read_clips",
    "resize_frame",
    "segment_centres",
    "segment_random",
    "time_centres",
    "time_random",
]
