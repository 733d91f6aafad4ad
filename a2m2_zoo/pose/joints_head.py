"""What a person does around each frame, as one vector: the limbs, and what a small network makes of them.

One action looks different from every side: two views of it may be less alike than two actions from one
side. The network maps how the limbs lie in the picture, some frames before and after included, to vectors
whose cosine says whether the same is done. It was trained on what the generator knows exactly, joints in
space, seen by cameras from anywhere, with the errors that are made when people are found in pictures:
noise, joints out of place or hidden, frames without anybody (``tools/train_joints.py``). That needs no
picture and no real clip, and drawings and cameras do not differ. A third of the cosine is that of the
limbs as they lie in the picture: people move in more ways than the generator knows.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Bool, Float
from a2m2_zoo.backbones.base import StateDict
from a2m2_zoo.backbones.files import build_embedded
from a2m2_zoo.pose.body import LIMBS, MIRROR, NAMES

EMBEDDED = "joints_head.safetensors"
_LEARNED = 64  # numbers of what is learned in a vector
_WIDTH, _BLOCKS = 128, 3
# Each hand seen from the hip of its side, too: the sum of two limbs, where the noise of the elbow cancels.
_SEGMENTS = (*LIMBS, (23, 15), (24, 16))
_WEIGHTS = (*(0.5,) * 4, *(1.0,) * 10)  # the trunk, which hardly turns, weighs half
_SHOULDERS, _WRISTS, _HIPS = (11, 12), (15, 16), (23, 24)
_FAR = 6.0  # sizes of a body: what is further away tells no more
_LENGTH = 2.0  # of all limbs of a person together, in the network's inputs
_PLACES = 0.3  # by what places are multiplied, to be about as large as directions
_DIRECTIONS, _PATH, _OTHER = 2 * len(_SEGMENTS), 2, 7
INPUTS = _DIRECTIONS + len(_SEGMENTS) + _PATH + _OTHER
#: Numbers of a vector; a frame has one of the clip and one of its mirror image.
DIM = _LEARNED + _DIRECTIONS
_PLAIN = 1 / 3  # share of the limbs as they are in the cosine of two vectors


class JointsHead(nn.Module):
    """Joints of people to a vector for each person and frame; three convolutions over time."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, _WIDTH)
        self.over_time = nn.ModuleList(
            nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1) for _ in range(_BLOCKS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in range(_BLOCKS))
        self.mixed = nn.ModuleList(nn.Linear(_WIDTH, _WIDTH) for _ in range(_BLOCKS))
        self.last = nn.Linear(_WIDTH, _LEARNED)

    def forward(self, people: Float[Tensor, "*b p t 33 3"]) -> Float[Tensor, "*b p t d"]:
        """Vectors of length one, or zero where a person is not seen.

        Args:
            people: As `people_tensor` gives them.

        Returns:
            The vector of the clip and that of its mirror image, side by side: d = 2 · `DIM`.
        """
        front, (p, t) = people.shape[:-4], people.shape[-4:-2]
        clips = people.reshape(-1, *people.shape[-4:])
        both = torch.stack((clips, mirrored(clips)), 1)
        # Squares of what stands in files: in double precision they are finite.
        inputs, seen = joint_inputs(both.flatten(0, 1).double())
        inputs = inputs.to(self.last.weight)
        mask = seen.reshape(-1, t, 1).to(inputs)
        hidden = functional.gelu(self.first(inputs.reshape(-1, t, INPUTS)))
        for convolution, norm, mixed in zip(self.over_time, self.norms, self.mixed, strict=True):
            around = norm(convolution((hidden * mask).mT).mT)
            hidden = hidden + mixed(functional.gelu(around))
        learned = functional.normalize(self.last(hidden), dim=-1) * mask
        learned = learned.view(len(clips), 2, p, t, _LEARNED)
        limbs = inputs[..., :_DIRECTIONS].view(len(clips), 2, p, t, _DIRECTIONS) / _LENGTH
        parts = ((1 - _PLAIN) / 2) ** 0.5 * learned, (_PLAIN / 2) ** 0.5 * limbs
        vectors = torch.cat(parts, -1)
        return torch.cat((vectors[:, 0], vectors[:, 1]), -1).view(*front, p, t, 2 * DIM)


def limbs_alone(vectors: Float[Tensor, "*b d"]) -> Float[Tensor, "*b _"]:
    """The same vectors without what was learned, to compare with; of length one, or zero."""
    parts = [half[..., _LEARNED:] for half in vectors.chunk(2, -1)]
    return torch.cat(parts, -1) / float(_PLAIN**0.5)


def mirrored(people: Tensor) -> Tensor:
    """The clip in a mirror: left becomes right in the picture and of the body."""
    return people[..., MIRROR, :] * people.new_tensor((-1.0, 1.0, 1.0))


def segments(people: Tensor) -> tuple[Float[Tensor, "*b l 2"], Float[Tensor, "*b l"]]:
    """Limbs as vectors in the picture, and how visible both of their ends are."""
    first, last = (people[..., ends, :] for ends in zip(*_SEGMENTS, strict=True))
    visible = (first[..., 2] * last[..., 2]).clamp(0, 1).sqrt()
    return (last - first)[..., :2], visible


def joint_inputs(
    people: Float[Tensor, "b p t 33 3"],
) -> tuple[Float[Tensor, "b p t i"], Bool[Tensor, "b p t"]]:
    """What the network sees of each person in each frame, and who is seen.

    The limbs as one vector of length one, each weighed by how visible it is, and how visible; how far the
    hips are from their mean place in the clip; and where the hips and wrists of the nearest other person
    are. Lengths are in sizes of the person, so that nothing depends on where people stand and how large
    they are in the picture.
    """
    assert people.shape[-2:] == (len(NAMES), 3)
    seen = (people[..., 2] > 0).any(-1)
    limbs, visible = segments(people)
    weighed = (limbs * (visible * visible.new_tensor(_WEIGHTS))[..., None]).flatten(-2)
    unit = _LENGTH * _over(weighed, torch.linalg.vector_norm(weighed, dim=-1, keepdim=True))
    size = _over((limbs.square().sum(-1) * visible).sum(-1), visible.sum(-1)).sqrt()
    size = _over((size * seen).sum(-1), seen.sum(-1).to(size))[..., None, None]
    hips, shoulders = (people[..., pair, :2].mean(-2) for pair in (_HIPS, _SHOULDERS))
    middle = _over((hips * seen[..., None]).sum(-2), seen.sum(-1, keepdim=True).to(hips))
    path = _near(_over(hips - middle[..., None, :], size)) * seen[..., None]
    other, beside = _nearest(people, hips, seen)
    places = torch.cat(
        (
            other[..., _HIPS, :2].mean(-2) - hips,
            other[..., _WRISTS[0], :2] - shoulders,
            other[..., _WRISTS[1], :2] - shoulders,
        ),
        -1,
    )
    places = torch.cat((_near(_over(places, size)), torch.ones_like(places[..., :1])), -1)
    return torch.cat((unit, visible, path, places * beside[..., None]), -1), seen


def _nearest(people: Tensor, hips: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """For each person in each frame the other who is nearest, and whether both are seen."""
    count = people.shape[1]
    if count == 1:
        return people, torch.zeros_like(seen)
    apart = (hips[:, :, None] - hips[:, None]).square().sum(-1)  # (b, p, p, t)
    unseen = ~seen[:, None].expand_as(apart)
    itself = torch.eye(count, dtype=torch.bool, device=people.device)[..., None]
    which = apart.masked_fill(unseen, torch.inf).masked_fill(itself, torch.inf).argmin(2)
    # Where nobody else is seen the first is taken, maybe the person; `beside` says so.
    which = which[..., None, None].expand(-1, -1, -1, *people.shape[-2:])
    found = people.gather(1, which)
    beside = seen & (seen.sum(1, keepdim=True) > 1)
    return found, beside


def _over(value: Tensor, size: Tensor) -> Tensor:
    """The quotient, 0 where what it is divided by says nothing."""
    return (value / size.clamp_min(1e-9)).where(size > 1e-9, 0.0)


def _near(places: Tensor) -> Tensor:
    return _PLACES * places.clamp(-_FAR, _FAR)


def build_joints_head(weights: StateDict | None = None) -> JointsHead:
    """The network with the embedded weights, or with others.

    Raises:
        CheckpointError: The weights are not of this network.
    """
    network = build_embedded(
        JointsHead, weights, name="the joints head", file=EMBEDDED, unpack=dict
    )
    return network.eval().requires_grad_(False)


@lru_cache(maxsize=4)
def embedded(device: torch.device) -> JointsHead:
    """The network with the embedded weights, kept after the first call."""
    return build_joints_head().to(device)
