"""How alike the people of two clips move: a kernel between clips by their poses.

A person in a frame is one vector of length one: all limbs as they lie in the picture, stacked. It knows
neither where the person stands nor how large, and a limb that points at the camera, whose direction cannot
be read, weighs as little as it is long. Several people are stacked again, so that one who is missing lowers
the cosine. Two things are compared, and their similarities added:

- **Poses.** Every frame with the best of the other clip, in both directions (the set matching of HyRSM, Wang
  et al., CVPR 2022); being early or late costs something.
- **Motion.** The covariance of the limbs over the clip, a second-order moment over joints (Hussein et al.,
  "Human action recognition using a temporal hierarchy of covariance descriptors on 3D joint locations",
  IJCAI 2013), by the cosine.

Of the clip and its mirror image, and of all orders of the people, the most alike counts. Nothing is fitted,
and no frame is filled in: those in which nobody is seen weigh nothing.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES
from a2m2_zoo.pose.people import Poses

#: What `pose_pairs` says where one of the clips shows nobody.
NEUTRAL = 0.0
_WIDTH = 0.3  # what 1 - cosine is divided by; 0.2 to 0.5 are equal within noise
_LAG = 1.0  # what a frame is divided by, as a logarithm, that is the whole clip early or late
_MOTION = 0.3  # weight of the motion; the rest is that of the poses
_STILL = 0.05  # a covariance as small as that is noise: those who stand still are alike
_PEOPLE = 4  # at most, since every order is tried
_BUDGET = 2**22  # similarities of frames that are held at once

# Each hand seen from the hip of its side, too: the sum of two limbs, where the noise of the elbow cancels.
_SEGMENTS = (*LIMBS, (23, 15), (24, 16))
_WEIGHTS = (*(0.5,) * 4, *(1.0,) * 10)  # the trunk, which hardly turns, weighs half


def people_tensor(poses: Poses) -> Float[Tensor, "p t 33 3"]:
    """The people of a clip in one tensor without NaN, as files and the kernel take it.

    Args:
        poses: What `find_people` found.

    Returns:
        x and y in heights of the picture, and the visibility, of each of `a2m2_zoo.pose.body.NAMES`. All
        three are exactly 0 where a person is not seen.
    """
    people = torch.cat((poses.points, poses.visibility[..., None]), -1)
    return people.where(poses.found[..., None, None], 0.0)


def pose_pairs(
    query: Float[Tensor, "*e q p t j 3"], support: Float[Tensor, "*e n r s j 3"]
) -> Float[Tensor, "*e q n"]:
    """How alike the people of every query and of every support of an episode move.

    It does not depend on where people are in the picture, how large they are, whether the picture is
    mirrored and in which order people come; nor on the other clips, up to rounding in float64. Symmetric,
    and 1 for a clip and itself, but not positive definite.

    Args:
        query: People of Q clips, each as `people_tensor` gives them.
        support: People of N clips; the numbers of people and frames may differ from the queries'.

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
        _check(people, names="(..., clips, people, frames, 33, 3)")
    front = query.shape[:-5]
    if front != support.shape[:-5]:
        raise ArgumentError(
            f"queries {tuple(query.shape)} and supports {tuple(support.shape)}; give both of the same "
            "episodes, which are the axes before the last five"
        )
    most = max(query.shape[-4], support.shape[-4])
    both = torch.stack((_bodies(query, most), _bodies(_mirrored(query), most)), -4)
    others = _bodies(support, most)
    both, others = (
        both.flatten(0, -6) if front else both[None],
        others.flatten(0, -5) if front else others[None],
    )
    (e, q), n = both.shape[:2], others.shape[1]
    held = max(both.shape[2:-1].numel() * others.shape[1:-1].numel(), 1)  # by one query
    some = max(min(_BUDGET // held, q), 1)
    episodes = max(_BUDGET // (held * some), 1)
    found = both.new_zeros(e, q, n)
    for i in range(0, e, episodes):
        for j in range(0, q, some):
            part = both[i : i + episodes, j : j + some]
            found[i : i + episodes, j : j + some] = _compare(part, others[i : i + episodes])
    return found.view(*front, q, n).to(torch.promote_types(query.dtype, support.dtype))


def pose_presence(people: Float[Tensor, "*b p t j 3"]) -> Float[Tensor, "*b"]:
    """How much of a clip shows somebody whose limbs can be read, 0 to 1.

    The mean over the frames of how visible the limbs of the person seen best are.

    Args:
        people: As `people_tensor` gives them.

    Raises:
        ArgumentError: If the shape does not fit, or there are more than four people.
    """
    _check(people, names="(..., people, frames, 33, 3)")
    _, visible = _segments(people)
    return visible.mean(-1).amax(-2).mean(-1).to(people.dtype)


def _check(people: Tensor, *, names: str) -> None:
    shape = tuple(people.shape)
    if len(shape) <= names.count(",") - 1 or shape[-2:] != (len(NAMES), 3) or 0 in shape[-4:]:
        raise ArgumentError(f"people of shape {shape}; give {names}, none of the last four 0")
    if shape[-4] > _PEOPLE:
        raise ArgumentError(f"{shape[-4]} people in a clip; give {_PEOPLE} at most")


def _mirrored(people: Tensor) -> Tensor:
    """The clip in a mirror: left becomes right in the picture and of the body."""
    return people[..., MIRROR, :] * people.new_tensor((-1.0, 1.0, 1.0))


def _segments(people: Tensor) -> tuple[Float[Tensor, "*b l 2"], Float[Tensor, "*b l"]]:
    """Limbs as vectors in the picture, and how visible both of their ends are."""
    first, last = (people[..., ends, :].double() for ends in zip(*_SEGMENTS, strict=True))
    visible = (first[..., 2] * last[..., 2]).clamp(0, 1).sqrt()
    return (last - first)[..., :2], visible


def _bodies(people: Tensor, most: int) -> Float[Tensor, "*b {most} t d"]:
    """A vector of length one, or zero, for each person in each frame; places for `most` people."""
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
    """The best of both mirror images (m) and of all orders of the people."""
    found = query.new_zeros(*query.shape[:2], support.shape[1])
    for order in permutations(range(query.shape[-3])):
        others = support[:, :, order]
        alike = (1 - _MOTION) * _poses(query, others) + _MOTION * _motions(query, others)
        found = torch.maximum(found, alike.amax(2))
    queries, supports = query[:, :, 0].flatten(2).any(-1), support.flatten(2).any(-1)
    return found.where(queries[..., None] & supports[:, None], NEUTRAL)


def _poses(
    query: Float[Tensor, "e q m p t d"], support: Float[Tensor, "e n p s d"]
) -> Float[Tensor, "e q m n"]:
    """Every frame with the best of the other clip, the mean of both directions."""
    first, second = _together(query), _together(support)
    cosines = torch.einsum("eqmtd,ensd->eqmtns", first, second)
    times, others = (torch.linspace(0, 1, side.shape[-2]).to(side) for side in (query, support))
    late = (times[:, None, None] - others).abs()
    alike = ((cosines - 1) / _WIDTH - _LAG * late).exp()
    rows, columns = (side.any(-1).double() for side in (first, second))  # where somebody is seen
    alike = alike * rows[..., None, None] * columns[:, None, None, None]
    forth = alike.amax(-1).sum(-2) / rows.sum(-1, keepdim=True).clamp_min(1)
    back = alike.amax(-3).sum(-1) / columns.sum(-1).clamp_min(1)[:, None, None]
    return (forth + back) / 2


def _together(bodies: Float[Tensor, "*b p t d"]) -> Float[Tensor, "*b t pd"]:
    """Everybody in a frame as one vector of length one, or zero where nobody is seen."""
    count = bodies.any(-1).sum(-2).clamp_min(1).to(bodies)
    return bodies.transpose(-3, -2).flatten(-2) / count.sqrt()[..., None]


def _motions(
    query: Float[Tensor, "e q m p t d"], support: Float[Tensor, "e n p s d"]
) -> Float[Tensor, "e q m n"]:
    """Covariances over the clip, person by person; those who are seen longer weigh more.

    The inner product of two covariances is the mean square of the inner products of centred frames. A
    constant is stacked to each: without it noise would decide what those who stand still resemble.
    """
    first, second = _centred(query), _centred(support)
    products = torch.einsum("eqmptd,enpsd->eqmnpts", first, second).square().sum((-2, -1))
    norms = [
        (side @ side.mT).square().sum((-2, -1)).add(_STILL**2).sqrt() for side in (first, second)
    ]
    shares = [side.any(-1).double().mean(-1) for side in (query, support)]
    weights = [(share / share.sum(-1, keepdim=True).clamp_min(1e-9)).sqrt() for share in shares]
    left, right = (weight / norm for weight, norm in zip(weights, norms, strict=True))
    cosines = torch.einsum("eqmnp,eqmp,enp->eqmn", products + _STILL**2, left, right)
    return ((cosines - 1) / _WIDTH).exp()


def _centred(bodies: Float[Tensor, "*b p t d"]) -> Float[Tensor, "*b p t d"]:
    """Each person less the own mean over time, divided by the root of the number of frames."""
    seen = bodies.any(-1, keepdim=True).double()
    count = seen.sum(-2, keepdim=True).clamp_min(1)
    return (bodies - bodies.sum(-2, keepdim=True) / count) * seen / count.sqrt()
