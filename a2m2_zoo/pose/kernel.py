"""How alike the people of two clips move: a kernel between clips by their poses.

A person in a frame is the vector of all limbs as they lie in the picture, stacked and of length one: it knows
neither where the person stands nor how large, and a limb that points at the camera, whose direction cannot
be read, weighs as little as it is long. The cosines of two people's vectors are made sharp by an
exponential, every frame is compared with the best of the other clip, in both directions, where being early
or late costs something, and of the clip and its mirror image the one more alike counts. With several people
in a frame their vectors are stacked, in the order that fits best, and one who is missing lowers the cosine.

Nothing is fitted, and no frame is filled in. The best frames in both directions are HyRSM's set matching
(Wang et al., CVPR 2022).
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES
from a2m2_zoo.pose.people import Poses

#: What `pose_pairs` says of a clip in which nobody is seen.
NEUTRAL = 0.0
_WIDTH = 0.15  # what 1 - cosine is divided by
_LAG = 0.5  # cost of the whole clip's length, in logarithms
_PEOPLE = 4  # at most: every order is tried
_BUDGET = 2**22  # similarities of frames that are held at once

# Each hand from the hip of its side, too: it is read well even where the elbow is not. The trunk, which
# hardly ever moves, weighs half.
_SEGMENTS = (*LIMBS, (15, 23), (16, 24))
_WEIGHTS = (*(0.5,) * 4, *(1.0,) * 10)


def people_tensor(poses: Poses) -> Float[Tensor, "p t 33 3"]:
    """Points and visibility of people in one tensor without NaN, as files and kernels take them.

    Args:
        poses: The people of a clip.

    Returns:
        x and y in heights of the picture and the visibility, for each of `a2m2_zoo.pose.body.NAMES`; all
        three are exactly 0 where a person is not seen.
    """
    people = torch.cat((poses.points, poses.visibility[..., None]), -1)
    return people.where(poses.found[..., None, None], 0.0)


def pose_pairs(
    query: Float[Tensor, "*e q p t j 3"], support: Float[Tensor, "*e n r s j 3"]
) -> Float[Tensor, "*e q n"]:
    """How alike the people of every query and every support of an episode move.

    The same for all places, sizes and mirror images of a clip, and for any order of its people. Each
    pair is computed as if alone, up to rounding in float64. Symmetric, and 1 for a clip and itself, but not
    positive definite.

    Args:
        query: People as `people_tensor` gives them, of Q clips.
        support: The same of N clips; the numbers of people and frames may differ from the queries'.

    Returns:
        0 to 1, larger is more alike; `NEUTRAL` where either clip shows nobody.

    Raises:
        ArgumentError: If a shape does not fit, or there are more than four people.

    Example:
        >>> people = torch.rand(3, 2, 8, 33, 3)
        >>> pairs = pose_pairs(people, people)
        >>> tuple(pairs.shape), bool((pairs.diagonal() > 0.999).all())
        ((3, 3), True)
    """
    for people in (query, support):
        _check(people, axes=5)
    if query.shape[:-5] != support.shape[:-5]:
        raise ArgumentError(
            f"queries have axes {tuple(query.shape[:-5])} in front and supports "
            f"{tuple(support.shape[:-5])}; both must be of the same episodes"
        )
    most = max(query.shape[-4], support.shape[-4])
    either = torch.stack((_bodies(query, most), _bodies(_mirrored(query), most)), -4)
    either = either.reshape(-1, *either.shape[-5:])
    others = _bodies(support, most)
    others = others.reshape(-1, *others.shape[-4:])
    (e, q), n = either.shape[:2], others.shape[1]
    held = either[0, 0, ..., 0].numel() * others[0, ..., 0].numel() if e and q and n else 1
    some = min(max(_BUDGET // held, 1), max(q, 1))
    episodes = max(_BUDGET // (held * some), 1)
    found = either.new_zeros(e, q, n)
    for i in range(0, e, episodes):
        for j in range(0, q, some):
            here = slice(i, i + episodes), slice(j, j + some)
            found[here] = _compare(either[here], others[here[0]])
    return found.view(*query.shape[:-5], q, n).to(torch.promote_types(query.dtype, support.dtype))


def pose_presence(people: Float[Tensor, "*b p t j 3"]) -> Float[Tensor, "*b"]:
    """How much of a clip shows somebody whose limbs can be read, 0 to 1.

    The mean over the frames of how visible the limbs of the best seen person are.

    Args:
        people: As `people_tensor` gives them.

    Raises:
        ArgumentError: If the shape does not fit.
    """
    _check(people, axes=4)
    _, visible = _segments(people)
    return visible.mean(-1).amax(-2).mean(-1).to(people.dtype)


def _check(people: Tensor, *, axes: int) -> None:
    shape = tuple(people.shape)
    if len(shape) < axes or shape[-2:] != (len(NAMES), 3) or 0 in shape[-4:-2]:
        names = (
            "(..., clips, people, frames, 33, 3)" if axes == 5 else "(..., people, frames, 33, 3)"
        )
        raise ArgumentError(f"people of shape {shape}; give {names}")
    if shape[-4] > _PEOPLE:
        raise ArgumentError(f"{shape[-4]} people in a clip; give {_PEOPLE} at most")


def _mirrored(people: Tensor) -> Tensor:
    """The clip in a mirror: left becomes right in the picture and at the body."""
    return people[..., MIRROR, :] * people.new_tensor((-1.0, 1.0, 1.0))


def _segments(people: Tensor) -> tuple[Float[Tensor, "*b l 2"], Float[Tensor, "*b l"]]:
    """Limbs as vectors in the picture, and how visible both of their ends are, in float64."""
    first, last = (people[..., ends, :].double() for ends in zip(*_SEGMENTS, strict=True))
    visible = (first[..., 2] * last[..., 2]).clamp(0, 1).sqrt()
    return (last - first)[..., :2], visible


def _bodies(people: Tensor, most: int) -> Float[Tensor, "*b most t d"]:
    """Each person's limbs in each frame as one vector of length one, or zero; places for `most` people."""
    limbs, visible = _segments(people)
    weights = visible * visible.new_tensor(_WEIGHTS)
    stacked = (limbs * weights[..., None]).flatten(-2)
    length = torch.linalg.vector_norm(stacked, dim=-1, keepdim=True)
    unit = (stacked / length).where(length > 1e-9, 0.0)
    missing = unit.new_zeros(*unit.shape[:-3], most - unit.shape[-3], *unit.shape[-2:])
    return torch.cat((unit, missing), -3)


def _compare(
    query: Float[Tensor, "e q m p t d"], support: Float[Tensor, "e n p s d"]
) -> Float[Tensor, "e q n"]:
    """The best of both mirror images (m) and all orders of the people."""
    (e, q, m, p, t, _), (_, n, _, s, _) = query.shape, support.shape
    cosines = query.flatten(1, 4) @ support.flatten(1, 3).mT
    cosines = cosines.view(e, q, m, p, t, n, p, s)
    rows, columns = (bodies.any(-1).sum(-2) for bodies in (query, support))  # how many are seen
    counts = rows[..., None, None] * columns[:, None, None, None]
    divisor = counts.clamp_min(1).sqrt()
    times = (torch.linspace(0, 1, frames, dtype=query.dtype) for frames in (t, s))
    early, late = (when.to(query.device) for when in times)
    cost = 1 / _WIDTH + _LAG * (early[:, None, None] - late).abs()
    shares = [
        side / side.sum(-1, keepdim=True).clamp_min(1)
        for side in ((rows > 0).double(), (columns > 0).double())
    ]
    scores = []
    for order in permutations(range(p)):
        together = sum(cosines[:, :, :, i, :, :, j] for i, j in enumerate(order)) / divisor
        alike = (together / _WIDTH - cost).exp().where(counts > 0, 0.0)
        forth = (alike.amax(-1) * shares[0][..., None]).sum(-2)
        back = (alike.amax(-3) * shares[1][:, None, None]).sum(-1)
        scores.append(((forth + back) / 2).amax(2))
    found = torch.stack(scores).amax(0)
    nobody = (rows.sum((-2, -1)) == 0)[..., None] | (columns.sum(-1) == 0)[:, None]
    return found.where(~nobody, NEUTRAL)
