"""Skeletons drawn over the frames in which they were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo._utils.typing import UInt8
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.body import LIMBS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.pose.people import Poses
    from a2m2_zoo.video import Clip

# Of Okabe and Ito (2008), told apart with every common kind of colour vision; on white and on black.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
_HIDDEN = 0.5  # below this visibility a limb is drawn faintly
_FAINT = 0.45


def draw_skeletons(
    frames: UInt8[np.ndarray, "t h w 3"], poses: Poses
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draw every person's trunk, arms, legs and head over a copy of the frames.

    Each person has a colour of their own; limbs that are likely hidden are faint. Nothing is drawn where
    nobody was found.

    Args:
        frames: RGB, of any size of the shape in which the people were found.
        poses: The people, as `a2m2_zoo.pose.find_people` gives them.

    Raises:
        ArgumentError: If there are more or fewer frames than the poses have.
    """
    if len(frames) != poses.points.shape[1]:
        raise ArgumentError(
            f"{len(frames)} frames, but poses of {poses.points.shape[1]}: give the frames they are of"
        )
    height = frames.shape[1]
    drawn = frames.astype(np.float32)
    points = poses.points.numpy() * height - 0.5  # the middle of the first pixel is 0
    seen = poses.visibility.numpy()
    for person, frame in np.argwhere(poses.found.numpy()):
        body, sure = points[person, frame], seen[person, frame]
        colour = np.array(_COLOURS[person % len(_COLOURS)], np.float32)
        lines = [(body[a], body[b], min(sure[a], sure[b])) for a, b in LIMBS]
        neck = body[11:13].mean(0)
        lines.append((neck, body[0], min(sure[0], sure[11:13].max())))
        for start, end, visibility in lines:
            alpha = 1.0 if visibility >= _HIDDEN else _FAINT
            _line(drawn[frame], start, end, colour, alpha=alpha, width=max(1.5, height / 90))
    whole: NDArray[np.uint8] = np.clip(drawn.round(), 0, 255).astype(np.uint8)
    return whole


def with_skeletons(clip: Clip, poses: Poses) -> UInt8[np.ndarray, "t s s 3"]:
    """The frames that the backbone saw with the skeletons that were found in the whole pictures."""
    wide = draw_skeletons(clip.wide, poses)
    side = clip.frames.shape[1]
    height, width = wide.shape[1:3]
    if min(height, width) < side:  # a picture that was filled up to a square has no skeletons drawn
        return clip.frames
    top, left = (height - side) // 2, (width - side) // 2
    return wide[:, top : top + side, left : left + side]


def _line(
    picture: NDArray[np.float32],
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    colour: NDArray[np.float32],
    *,
    alpha: float,
    width: float,
) -> None:
    """A smooth line with a dark rim, within the pixels around it."""
    rim = width / 2 + max(1.0, width / 3)
    low = np.floor(np.minimum(start, end) - rim - 1).astype(int).clip(0)
    high = np.ceil(np.maximum(start, end) + rim + 2).astype(int)
    part = picture[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if not part.size:
        return
    y, x = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float32)
    at = np.stack((x + low[0], y + low[1]), -1) - start
    way = end - start
    along = ((at @ way) / max(float(way @ way), 1e-6)).clip(0, 1)
    gap = np.hypot(*np.moveaxis(at - along[..., None] * way, -1, 0))
    for reach, tint in ((rim, np.float32(0)), (width / 2, colour)):
        cover = alpha * (reach + 0.5 - gap).clip(0, 1)[..., None]
        part += cover * (tint - part)
