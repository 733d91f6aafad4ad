"""Skeletons drawn over the frames in which they were found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.body import LIMBS, NAMES
from a2m2_zoo.pose.kernel import people_tensor
from a2m2_zoo.recognition.thumbnails import shrunk_by

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.pose.people import Poses
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.video import Clip

# Of Okabe and Ito (2008), told apart with every common kind of colour vision; on white and on black.
_COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
_HIDDEN = 0.5  # below this visibility a limb is drawn faintly
_FAINT = 0.45
_FAR = 20  # pictures away from the first; nobody is found there


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
    height, width = frames.shape[1:3]
    return _drawn(frames, people_tensor(poses).numpy(), whole=(height, width))


def with_skeletons(
    clip: Clip, people: Float[np.ndarray, "p t 33 3"]
) -> UInt8[np.ndarray, "t s s 3"]:
    """The frames that the backbone saw with the skeletons that were found in the whole pictures.

    Args:
        clip: The clip.
        people: Who was found in it, as `a2m2_zoo.pose.people_tensor` gives them.
    """
    height, width = clip.wide.shape[1:3]
    return _drawn(clip.frames, people, whole=(height, width))


def thumbnails_with_skeletons(
    bank: SupportBank, n: int, *, side: int
) -> UInt8[np.ndarray, "t _ _ 3"]:
    """A support's small pictures with the skeletons that were found in the whole ones.

    Without them where the bank does not know where the pictures lay in the whole ones, as those of earlier
    versions, or holds no people.

    Args:
        bank: The supports.
        n: Which of them.
        side: Of the square of pixels that the backbone saw, which the small pictures are of.

    Returns:
        As large as those that the backbone saw, but for what is no whole small pixel; as small as they are
        kept where nothing is drawn.
    """
    small: NDArray[np.uint8] = bank.thumbnails[n].numpy()
    people, factor = bank.descriptors.get("people"), shrunk_by(side)
    fits = people is not None and people.shape[2:] == (len(small), len(NAMES), 3)
    if people is None or not fits or not bank.shapes or {*small.shape[1:3]} != {side // factor}:
        return small
    large = small.repeat(factor, 1).repeat(factor, 2)
    return _drawn(large, people[n].float().numpy(), whole=bank.shapes[n], side=side)


def _drawn(
    frames: NDArray[np.uint8],
    people: NDArray[np.float32],
    *,
    whole: tuple[int, int],
    side: int | None = None,
) -> NDArray[np.uint8]:
    """Skeletons over frames that are the middle of whole pictures, of (height, width), or hold them.

    With ``side`` the frames lack some of the last of so many rows and columns.
    """
    sides = (side or frames.shape[1], side or frames.shape[2])
    top, left = (_start(own, length) for own, length in zip(sides, whole, strict=True))
    drawn = frames.astype(np.float32)
    # What a strange file says may be anywhere, and no number.
    near = (np.abs(people[..., :2]) < _FAR).all((-2, -1), keepdims=True)
    people = np.where(near, people, 0)
    points = people[..., :2] * whole[0] + (left, top) - 0.5  # the middle of the first pixel is 0
    seen = people[..., 2]
    for person, frame in np.argwhere((seen > 0).any(-1)):
        body, sure = points[person, frame].astype(np.float32), seen[person, frame]
        colour = np.array(_COLOURS[person % len(_COLOURS)], np.float32)
        lines = [(body[a], body[b], min(sure[a], sure[b])) for a, b in LIMBS]
        neck = body[11:13].mean(0)
        lines.append((neck, body[0], min(sure[0], sure[11:13].max())))
        for start, end, visibility in lines:
            alpha = 1.0 if visibility >= _HIDDEN else _FAINT
            _line(drawn[frame], start, end, colour, alpha=alpha, width=max(1.5, sides[0] / 90))
    done: NDArray[np.uint8] = np.clip(drawn.round(), 0, 255).astype(np.uint8)
    return done


def _start(side: int, length: int) -> int:
    """Where pictures of this length begin in their middle, as `a2m2_zoo.video.preprocess.cropped` cuts it."""
    return (side - length) // 2 if side >= length else -((length - side) // 2)


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
