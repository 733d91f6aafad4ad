"""Who is in a clip and how they move: at most a few people, followed from frame to frame.

People are detected in the first frame. From then on the region in which the landmark network looks is the
one that it gave in the frame before, which needs no person to be seen whole and costs half as much as
detecting. Frames of a clip lie far apart: when somebody was lost, and while there is nobody, the detector
looks at the same frame again, and while there is room for more people at every third. (Looking at each frame
found two people in 78 % of the frames of 34 clips of two, eight frames each; at every third in 76 %, at every
fourth in 65 %.) At last each is followed backwards, too, from where they were first found.

Clips are worked on one by one, and a frame's people in one batch: the result depends on the clip alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float, Int, UInt8
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.blazepose import LANDMARK_SIDE, LANDMARKS, BlazePose, build_blazepose
from a2m2_zoo.pose.regions import detect, places, radii, same_person, squares

#: Names the networks and rules by which people are found, for those who keep what was found.
PEOPLE = "BlazePose lite, 1"

_AGAIN = 3  # frames after which the detector looks for more people
_LEAST = 0.5  # probability from which on there is a person
_LONGEST = (
    448  # longer pictures are made smaller: the detector sees 224 pixels, and halves are exact
)


@dataclass(frozen=True)
class Poses:
    """The people of a clip and their joints; a person who is not seen in a frame is NaN there.

    People are numbered from left to right, by the middle of where they were; those that do not exist come
    last and are missing in all frames.

    Attributes:
        points: x and y of `a2m2_zoo.pose.body.NAMES`, both in heights of the picture from its upper left
            corner: (p, t, 33, 2). They may lie outside of the picture.
        visibility: Probability that the point is seen and not hidden: (p, t, 33).
        presence: Probability that there is a person where one was looked for, 0 where none was or
            where only somebody else was found: (p, t).
    """

    points: Float[Tensor, "p t 33 2"] = field(repr=False)
    visibility: Float[Tensor, "p t 33"] = field(repr=False)
    presence: Float[Tensor, "p t"]

    @property
    def found(self) -> Bool[Tensor, "p t"]:
        """Who is seen in which frame."""
        return self.points[..., 0, 0].isfinite()


@apart
@torch.inference_mode()
def find_people(
    frames: UInt8[np.ndarray, "t h w 3"], *, most: int = 2, network: BlazePose | None = None
) -> Poses:
    """Find the people of a clip and follow them.

    On one core a frame takes about half as long as the embedded backbone's for each person, and as long
    as that again at most where there are fewer than `most`. The same frames give the same bits, whatever is
    computed beside them.

    Args:
        frames: RGB, uint8, in the order of time; the whole picture rather than its middle. Some 256 pixels
            for the longer side are enough.
        most: People at most, 1 to 8.
        network: Both networks; by default the embedded ones, kept after the first call.

    Returns:
        Places for `most` people in every frame.

    Raises:
        ArgumentError: If the frames are not such, or `most` is out of range.

    Example:
        >>> import numpy as np
        >>> poses = find_people(np.zeros((2, 64, 48, 3), np.uint8))
        >>> tuple(poses.points.shape), bool(poses.found.any())
        ((2, 2, 33, 2), False)
    """
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ArgumentError(
            f"frames {frames.shape} {frames.dtype}: give uint8 of shape (T, H, W, 3), none of them 0"
        )
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 8:
        raise ArgumentError(f"most={most!r}: give an integer from 1 to 8")
    pictures = _pictures(frames)
    search = _Search(network or _embedded(), pictures, most)
    for t in range(len(pictures)):
        search.forward(t)
    for t in reversed(range(len(pictures) - 1)):
        search.follow(t, t + 1)
    return search.poses()


def nobody(clips: int, frames: int, *, most: int = 2) -> Float[Tensor, "b p t 33 3"]:
    """What `people_tensor` gives of clips in which no one is seen.

    >>> nobody(3, 8).shape
    torch.Size([3, 2, 8, 33, 3])
    """
    return torch.zeros(clips, most, frames, LANDMARKS, 3)


def frames_with_people(people: Float[Tensor, "*b p t j 3"]) -> Int[Tensor, "*b"]:
    """In how many frames somebody is seen.

    Args:
        people: As `people_tensor` gives them.
    """
    found: Tensor = (people[..., 2] > 0).any(-1).any(-2).sum(-1)
    return found


class _Search:
    """What is known of a clip's people so far: a row for each person, a column for each frame."""

    def __init__(self, network: BlazePose, pictures: Tensor, most: int) -> None:
        self._network, self._pictures, self._most = network, pictures, most
        shape = (most, len(pictures))
        self._points = torch.full((*shape, LANDMARKS, 2), torch.nan)
        self._visibility = torch.full((*shape, LANDMARKS), torch.nan)
        self._presence = torch.zeros(shape)
        self._next = torch.full((*shape, 4), torch.nan)  # where to look in the frame beside
        self._detected = -_AGAIN  # the frame at which the detector looked last
        self._last: list[Tensor | None] = [None] * most  # where each was seen last

    def forward(self, t: int) -> None:
        """Follow everybody into frame `t`, and look for more where there is room."""
        if t:
            self.follow(t, t - 1)
        now = self._seen(t)
        before = len(self._seen(t - 1)) if t else 0
        due = t - self._detected >= _AGAIN or len(now) < max(before, 1)
        if len(now) == self._most or not due:
            return
        self._detected = t
        regions = detect(self._network, self._pictures[t], most=self._most)
        regions = regions[~same_person(regions, self._next[now, t]).any(1)]
        free = [row for row in range(self._most) if row not in now]
        rows = []
        for region in regions[: len(free)]:
            row = min(free, key=lambda row: self._distance(row, region))
            free.remove(row)
            rows.append(row)
        self._look(t, rows, regions[: len(rows)])

    def follow(self, t: int, beside: int) -> None:
        """Look for those who are seen in the frame beside and not yet in `t`."""
        rows = [row for row in self._seen(beside) if row not in self._seen(t)]
        self._look(t, rows, self._next[rows, beside])

    def poses(self) -> Poses:
        """Everybody, from left to right, in heights of the picture."""
        height = self._pictures.shape[-2]
        middles = self._points[:, :, 23:25, 0].nanmean((1, 2)).nan_to_num(nan=torch.inf)
        order = middles.argsort(stable=True)
        return Poses(self._points[order] / height, self._visibility[order], self._presence[order])

    def _seen(self, t: int) -> list[int]:
        return [row for row in range(self._most) if self._points[row, t, 0, 0].isfinite()]

    def _distance(self, row: int, region: Tensor) -> float:
        """How far a region is from where a person was last; a body's length from one not yet seen."""
        last = self._last[row]
        if last is None:
            return 2 * float(radii(region[None]))
        return float((last[:2] - region[:2]).norm())

    def _look(self, t: int, rows: list[int], regions: Tensor) -> None:
        """Find the landmarks in the regions and keep them where they are somebody's own."""
        if not rows:
            return
        pictures = self._pictures[t].expand(len(rows), -1, -1, -1)
        output, logits = self._network.landmarker(squares(pictures, regions, LANDMARK_SIDE) / 255)
        found = places(output[..., :2] / LANDMARK_SIDE, regions)
        hips, circle = found[:, LANDMARKS], found[:, LANDMARKS + 1]
        ahead = torch.cat((hips, circle - hips), -1)
        for i in logits.argsort(descending=True, stable=True).tolist():
            row, presence = rows[i], logits[i].sigmoid()
            taken = same_person(ahead[i : i + 1], self._next[self._seen(t), t]).any()
            self._presence[row, t] = 0 if taken else presence
            if taken or presence < _LEAST:
                continue
            self._points[row, t] = found[i, :LANDMARKS]
            self._visibility[row, t] = output[i, :LANDMARKS, 3].sigmoid()
            self._next[row, t] = self._last[row] = ahead[i]


def _pictures(frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "t 3 _ _"]:
    """Frames as floats, 0 to 255, made smaller where they are large."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    longest = max(pictures.shape[-2:])
    if longest <= _LONGEST:
        return pictures
    height, width = (max(1, round(side * _LONGEST / longest)) for side in pictures.shape[-2:])
    return functional.interpolate(pictures, (height, width), mode="bilinear", antialias=True)


@lru_cache(maxsize=1)
def _embedded() -> BlazePose:
    return build_blazepose()
