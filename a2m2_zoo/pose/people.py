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

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float, Int, UInt8
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.blazepose import LANDMARK_SIDE, LANDMARKS, BlazePose, build_blazepose
from a2m2_zoo.pose.onnx_run import OnnxPose, onnx_pose
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
    frames: UInt8[np.ndarray, "t h w 3"],
    *,
    most: int = 2,
    network: BlazePose | OnnxPose | None = None,
) -> Poses:
    """Find the people of a clip and follow them.

    On one core a frame takes about half as long as the embedded backbone's for each person, and as long
    as that again at most where there are fewer than `most`. The same frames give the same bits, whatever is
    computed beside them.

    Args:
        frames: RGB, uint8, in the order of time; the whole picture rather than its middle. Some 256 pixels
            for the longer side are enough.
        most: People at most, 1 to 8.
        network: Both networks; by default the embedded ones, kept after the first call. See `embedded_pose`.

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
    _check("frames", frames, "(T, H, W, 3)")
    follower = Follower(most=most, network=network)
    seen = [follower._step(picture) for picture in _pictures(frames)]
    for earlier, later in zip(reversed(seen[:-1]), reversed(seen[1:]), strict=True):
        earlier.follow(later)
    middles = torch.stack([one.points[:, 23:25, 0] for one in seen], 1)
    order = middles.nanmean((1, 2)).nan_to_num(nan=torch.inf).argsort(stable=True)
    return _poses(seen, order.tolist())


def frames_with_people(people: Float[Tensor, "*b p t j 3"]) -> Int[Tensor, "*b"]:
    """In how many frames somebody is seen.

    Args:
        people: As `people_tensor` gives them.
    """
    found: Tensor = (people[..., 2] > 0).any(-1).any(-2).sum(-1)
    return found


class Follower:
    """Follows people from one picture to the next, for those who do not have all of them at once.

    What `find_people` does, less the way back: who is found late stays missing in the pictures before. Not
    for several threads at once.

    Args:
        most: People at most.
        network: Both networks; by default the embedded ones.

    Raises:
        ArgumentError: `most` is out of range.

    >>> import numpy as np
    >>> follower = Follower()
    >>> poses = follower(np.zeros((64, 48, 3), np.uint8))
    >>> tuple(poses.points.shape), bool(poses.found.any())
    ((2, 1, 33, 2), False)
    """

    def __init__(self, *, most: int = 2, network: BlazePose | OnnxPose | None = None) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 8:
            raise ArgumentError(f"most={most!r}: give an integer from 1 to 8")
        self._most, self._network = most, network
        self._forget()

    def _forget(self) -> None:
        self._before: _Seen | None = None
        self._since = _AGAIN - 1  # pictures after the one at which the detector looked last
        self._last: list[Tensor | None] = [None] * self._most  # where each was seen last

    @apart
    @torch.inference_mode()
    def __call__(self, picture: UInt8[np.ndarray, "h w 3"]) -> Poses:
        """Who is in the next picture; another size of it begins anew.

        Returns:
            One frame. People keep their places from picture to picture, and are not sorted.

        Raises:
            ArgumentError: It is no picture.
        """
        _check("picture", picture, "(H, W, 3)")
        return _poses([self._step(_pictures(picture[None])[0])], range(self._most))

    def _step(self, picture: Float[Tensor, "3 h w"]) -> _Seen:
        """Follow everybody into the next picture, and look for more where there is room."""
        if self._before is not None and self._before.picture.shape != picture.shape:
            self._forget()
        seen = _Seen(self._network or embedded_pose(), picture, self._most)
        before = 0
        if self._before is not None:
            seen.follow(self._before)
            before = len(self._before.rows)
        self._since += 1
        due = self._since >= _AGAIN or len(seen.rows) < max(before, 1)
        if due and len(seen.rows) < self._most:
            self._since = 0
            seen.look(*self._more(seen))
        for row in seen.rows:
            self._last[row] = seen.ahead[row]
        self._before = seen
        return seen

    def _more(self, seen: _Seen) -> tuple[list[int], Float[Tensor, "k 4"]]:
        """Where the detector sees others, and the rows that are theirs."""
        regions = detect(seen.network, seen.picture, most=self._most)
        regions = regions[~same_person(regions, seen.ahead[seen.rows]).any(1)]
        free = [row for row in range(self._most) if row not in seen.rows]
        rows = []
        for region in regions[: len(free)]:
            row = min(free, key=lambda row: self._distance(row, region))
            free.remove(row)
            rows.append(row)
        return rows, regions[: len(rows)]

    def _distance(self, row: int, region: Tensor) -> float:
        """How far a region is from where a person was last; a body's length from one not yet seen."""
        last = self._last[row]
        if last is None:
            return 2 * float(radii(region[None]))
        return float((last[:2] - region[:2]).norm())


class _Seen:
    """Who is seen in one picture: a row for each person."""

    def __init__(self, network: BlazePose | OnnxPose, picture: Tensor, most: int) -> None:
        self.network, self.picture = network, picture
        self.points = torch.full((most, LANDMARKS, 2), torch.nan)
        self.visibility = torch.full((most, LANDMARKS), torch.nan)
        self.presence = torch.zeros(most)
        self.ahead = torch.full((most, 4), torch.nan)  # where to look in the picture beside

    @property
    def rows(self) -> list[int]:
        """Those who are seen."""
        return self.points[:, 0, 0].isfinite().nonzero()[:, 0].tolist()

    def follow(self, beside: _Seen) -> None:
        """Look for those who are seen in the picture beside and not yet in this one."""
        rows = [row for row in beside.rows if row not in self.rows]
        self.look(rows, beside.ahead[rows])

    def look(self, rows: list[int], regions: Float[Tensor, "k 4"]) -> None:
        """Find the landmarks in the regions and keep them where they are somebody's own."""
        if not rows:
            return
        pictures = self.picture.expand(len(rows), -1, -1, -1)
        output, logits = self.network.landmarker(squares(pictures, regions, LANDMARK_SIDE) / 255)
        found = places(output[..., :2] / LANDMARK_SIDE, regions)
        hips, circle = found[:, LANDMARKS], found[:, LANDMARKS + 1]
        ahead = torch.cat((hips, circle - hips), -1)
        for i in logits.argsort(descending=True, stable=True).tolist():
            row, presence = rows[i], logits[i].sigmoid()
            taken = same_person(ahead[i : i + 1], self.ahead[self.rows]).any()
            self.presence[row] = 0 if taken else presence
            if taken or presence < _LEAST:
                continue
            self.points[row] = found[i, :LANDMARKS]
            self.visibility[row] = output[i, :LANDMARKS, 3].sigmoid()
            self.ahead[row] = ahead[i]


def _poses(seen: Sequence[_Seen], order: Sequence[int]) -> Poses:
    """Pictures as the frames of a clip, in heights of each, people in that order."""
    points = [one.points[order] / one.picture.shape[-2] for one in seen]
    visibility, presence = (
        [getattr(one, name)[order] for one in seen] for name in ("visibility", "presence")
    )
    return Poses(torch.stack(points, 1), torch.stack(visibility, 1), torch.stack(presence, 1))


def _check(name: str, given: NDArray[Any], shape: str) -> None:
    """Refuse what are no pictures of that shape."""
    fits = given.ndim == len(shape.split(",")) and given.shape[-1] == 3 and 0 not in given.shape
    if not fits or given.dtype != np.uint8:
        raise ArgumentError(
            f"{name} {given.shape} {given.dtype}: give uint8 of shape {shape}, none of them 0"
        )


def _pictures(frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "t 3 _ _"]:
    """Frames as floats, 0 to 255, made smaller where they are large."""
    pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    longest = max(pictures.shape[-2:])
    if longest <= _LONGEST:
        return pictures
    height, width = (max(1, round(side * _LONGEST / longest)) for side in pictures.shape[-2:])
    return functional.interpolate(pictures, (height, width), mode="bilinear", antialias=True)


@lru_cache(maxsize=2)
def embedded_pose(runtime: str = "torch") -> BlazePose | OnnxPose:
    """The embedded networks, made once.

    Args:
        runtime: What computes them: ``torch`` or ``onnxruntime``.
    """
    if runtime == "torch":
        return build_blazepose()
    network = embedded_pose()
    assert isinstance(network, BlazePose)
    return onnx_pose(network)
