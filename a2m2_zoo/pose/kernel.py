"""How alike the people of two clips move: a kernel between clips by their joints.

The joints head (`a2m2_zoo.pose.joints_head`) gives a vector for each person in each frame. Several people
are stacked, so that one who is missing lowers the cosine. Every frame is compared with the best of the
other clip, in both directions (the set matching of HyRSM, Wang et al., CVPR 2022); being early or late
costs something. Of the clip and its mirror image, and of all orders of the people, the most alike counts.
No frame is filled in: those in which nobody is seen weigh nothing.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose.body import NAMES
from a2m2_zoo.pose.joints_head import embedded, segments
from a2m2_zoo.pose.people import Poses

#: What `pose_pairs` says where one of the clips shows nobody.
NEUTRAL = 0.0
_WIDTH = 0.3  # what 1 - cosine is divided by; 0.2 to 0.5 are equal within noise
_LAG = 0.7  # what a cosine is lowered by for a frame that is the whole clip early or late
_PEOPLE = 4  # at most, since every order is tried
_BUDGET = 2**22  # similarities of frames that are held at once


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
    mirrored and in which order people come; nor on the other clips, up to rounding. Symmetric, and 1 for a
    clip and itself, but not positive definite.

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
    return vector_pairs(joint_vectors(query), joint_vectors(support))


def joint_vectors(people: Float[Tensor, "*b p t j 3"]) -> Float[Tensor, "*b p t d"]:
    """What the embedded joints head makes of people: the part of `pose_pairs` that each clip has for itself.

    Args:
        people: As `people_tensor` gives them.

    Returns:
        In the same precision; of length one, or zero where a person is not seen.

    Raises:
        ArgumentError: If the shape does not fit, or there are more than four people.
    """
    _check(people, names="(..., people, frames, 33, 3)")
    head = embedded(people.device)
    vectors: Tensor = head(people.to(torch.float32))
    return vectors.to(people.dtype)


def vector_pairs(
    query: Float[Tensor, "*e q p t d"], support: Float[Tensor, "*e n r s d"]
) -> Float[Tensor, "*e q n"]:
    """`pose_pairs` of what `joint_vectors` gives."""
    found = alike(frame_cosines(query.double(), support.double()))
    return found.to(torch.promote_types(query.dtype, support.dtype))


def alike(cosines: Tensor) -> Tensor:
    """From mean cosines of frames to a kernel that ridge regression takes well; 1 to 1."""
    return ((cosines - 1) / _WIDTH).exp()


def frame_cosines(
    query: Float[Tensor, "*e q p t d"], support: Float[Tensor, "*e n r s d"]
) -> Float[Tensor, "*e q n"]:
    """The mean cosine of every frame and the best of the other clip, of queries and supports.

    Args:
        query: Vectors of people of Q clips, of length one or zero.
        support: Vectors of people of N clips.

    Returns:
        At most 1, and −∞ where either clip shows nobody.

    Raises:
        ArgumentError: If queries and supports are not of the same episodes.
    """
    front = query.shape[:-4]
    if front != support.shape[:-4]:
        raise ArgumentError(
            f"queries {tuple(query.shape)} and supports {tuple(support.shape)}; give both of the same "
            "episodes, which are the axes before the last four"
        )
    most = max(query.shape[-3], support.shape[-3])
    queries, supports = (_places(side, most) for side in (query, support))
    queries = queries.flatten(0, -5) if front else queries[None]
    supports = supports.flatten(0, -5) if front else supports[None]
    (e, q), n = queries.shape[:2], supports.shape[1]
    held = max(queries.shape[-2] * supports.shape[1] * supports.shape[-2], 1)  # by one query
    some = max(min(_BUDGET // held, q), 1)
    episodes = max(_BUDGET // (held * some), 1)
    found = queries.new_zeros(e, q, n)
    for i in range(0, e, episodes):
        for j in range(0, q, some):
            part = queries[i : i + episodes, j : j + some]
            found[i : i + episodes, j : j + some] = _compare(part, supports[i : i + episodes])
    return found.view(*front, q, n)


def pose_presence(people: Float[Tensor, "*b p t j 3"]) -> Float[Tensor, "*b"]:
    """How much of a clip shows somebody whose limbs can be read, 0 to 1.

    The mean over the frames of how visible the limbs of the person seen best are.

    Args:
        people: As `people_tensor` gives them.

    Raises:
        ArgumentError: If the shape does not fit, or there are more than four people.
    """
    _check(people, names="(..., people, frames, 33, 3)")
    _, visible = segments(people.double())
    return visible.mean(-1).amax(-2).mean(-1).to(people.dtype)


def _check(people: Tensor, *, names: str) -> None:
    shape = tuple(people.shape)
    if len(shape) <= names.count(",") - 1 or shape[-2:] != (len(NAMES), 3) or 0 in shape[-4:]:
        raise ArgumentError(f"people of shape {shape}; give {names}, none of the last four 0")
    if shape[-4] > _PEOPLE:
        raise ArgumentError(f"{shape[-4]} people in a clip; give {_PEOPLE} at most")


def _places(vectors: Tensor, most: int) -> Float[Tensor, "*b {most} t d"]:
    """With places for as many people as the other side has."""
    missing = vectors.new_zeros(*vectors.shape[:-3], most - vectors.shape[-3], *vectors.shape[-2:])
    return torch.cat((vectors, missing), -3)


def _compare(
    query: Float[Tensor, "e q p t d"], support: Float[Tensor, "e n p s d"]
) -> Float[Tensor, "e q n"]:
    """The best of the clip and its mirror image and of all orders of the people."""
    clip, mirror = query.chunk(2, -1)
    best: Tensor | None = None
    for first in (query, torch.cat((mirror, clip), -1)):
        for order in permutations(range(query.shape[-3])):
            found = _matched(first, support[:, :, order])
            best = found if best is None else torch.maximum(best, found)
    assert best is not None
    return best


def _matched(
    query: Float[Tensor, "e q p t d"], support: Float[Tensor, "e n p s d"]
) -> Float[Tensor, "e q n"]:
    """Every frame with the best of the other clip, the mean of both directions."""
    first, second = _together(query), _together(support)
    times, others = (torch.linspace(0, 1, side.shape[-2]).to(side) for side in (first, second))
    late = (times[:, None, None] - others).abs()
    cosines = torch.einsum("eqtd,ensd->eqtns", first, second) - _LAG * late
    rows, columns = (side.any(-1) for side in (first, second))  # where somebody is seen
    forth = cosines.masked_fill(~columns[:, None, None], -torch.inf).amax(-1)
    back = cosines.masked_fill(~rows[..., None, None], -torch.inf).amax(-3)
    forth = forth.masked_fill(~rows[..., None], 0).sum(-2) / rows.sum(-1).clamp_min(1)[..., None]
    back = back.masked_fill(~columns[:, None], 0).sum(-1) / columns.sum(-1).clamp_min(1)[:, None]
    nobody = ~(rows.any(-1)[..., None] & columns.any(-1)[:, None])
    return ((forth + back) / 2).masked_fill(nobody, -torch.inf)


def _together(vectors: Float[Tensor, "*b p t d"]) -> Float[Tensor, "*b t pd"]:
    """Everybody in a frame as one vector of length one, or zero where nobody is seen."""
    count = vectors.any(-1).sum(-2).clamp_min(1).to(vectors)
    return vectors.transpose(-3, -2).flatten(-2) / count.sqrt()[..., None]
