"""Ordered tuples of frames: which there are, their projections, their distances.

A tuple is ω frames side by side, and its linear projection is a sum of ω projections of single frames, one
per position. Frames are therefore projected once per position, into T·ω rows, and the 0/1 matrix P of
``tuple_rows`` adds up those of each tuple. For eight frames and triples, 24 rows stand for 56 tuples.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.ops.precision import promote
from a2m2_zoo.ops.shots import class_slots

_MOST_TUPLES = 50_000


def check_cardinalities(cardinalities: tuple[int, ...], *, frames: int) -> None:
    """Refuse an empty or repeated choice, and tuples longer than a clip.

    Raises:
        ArgumentError: One of the three, or far too many tuples.
    """
    some = set(cardinalities)
    if not some or len(some) < len(cardinalities) or not 1 <= min(some) <= max(some) <= frames:
        raise ArgumentError(
            f"cardinalities is {cardinalities!r}; expected different whole numbers of 1 to "
            f"{frames}, the frames of a clip"
        )
    if sum(comb(frames, cardinality) for cardinality in some) > _MOST_TUPLES:
        raise ArgumentError(
            f"{frames} frames have too many tuples of {cardinalities!r}; expected at most {_MOST_TUPLES:,}"
        )


def ordered_tuples(frames: int, cardinality: int) -> Int[Tensor, "m c"]:
    """All increasing choices of ``cardinality`` frame indices, in lexicographic order.

    Raises:
        ArgumentError: A tuple would be empty or longer than the clip.

    >>> ordered_tuples(3, 2).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    check_cardinalities((cardinality,), frames=frames)
    return torch.tensor(list(combinations(range(frames), cardinality)))


def tuple_rows(frames: int, cardinality: int) -> Float[Tensor, "m n"]:
    """P: which of the rows (frame t, position a), numbered t·ω + a, belong to which tuple.

    Raises:
        ArgumentError: A tuple would be empty or longer than the clip.

    >>> tuple_rows(3, 2)
    tensor([[1., 0., 0., 1., 0., 0.],
            [1., 0., 0., 0., 0., 1.],
            [0., 0., 1., 0., 0., 1.]])
    """
    rows = ordered_tuples(frames, cardinality) * cardinality + torch.arange(cardinality)
    return functional.one_hot(rows, frames * cardinality).sum(1).float()


def position_rows(
    x: Float[Tensor, "b t d"],
    weight: Float[Tensor, "o c_d"],
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b n o"]:
    """Rows t·ω + a, whose sum over a tuple is the tuple's linear projection.

    Args:
        x: Frames.
        weight: Of the projection of a tuple, ω frames side by side.
        bias: Of the same; every position gets its share.
    """
    cardinality = weight.shape[1] // x.shape[-1]
    by_position = torch.unflatten(weight, 1, (cardinality, -1)).transpose(0, 1).flatten(0, 1)
    rows = torch.unflatten(promote(functional.linear(x, by_position)), 2, (cardinality, -1))
    rows = rows.flatten(1, 2)
    return rows if bias is None else rows + bias / cardinality


class FramePositions(nn.Module):
    """Adds a tenth of the usual sine and cosine encoding of time, then dropout.

    Args:
        frames: Length of the sequence.
        dim: Channels.
        dropout: After the sum.
    """

    encoding: Tensor

    def __init__(self, frames: int, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.register_buffer("encoding", 0.1 * pair_positions(frames, dim), persistent=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*b t d"]) -> Float[Tensor, "*b t d"]:
        """Tokens of the same shape."""
        found: Tensor = self.dropout(x + self.encoding)
        return found


class TupleDistance(nn.Module):
    """Distance of query tuples to the nearest tuple of a class, after one linear layer and ReLU.

    STRM's query-class similarity (Thatipelli et al., CVPR 2022): the class's logit is −mean over query
    tuples of the minimum over the tuples of all the class's shots of ‖·‖₂.

    Args:
        dim: Channels of a frame vector (d).
        frames: Frames per clip (T).
        cardinality: Frames per tuple (ω).
        out: Channels of a projected tuple.
        dropout: On the frames.
    """

    rows: Tensor

    def __init__(
        self, dim: int, *, frames: int, cardinality: int, out: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.register_buffer("rows", tuple_rows(frames, cardinality), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(cardinality * dim, out)

    def encode(self, frames: Float[Tensor, "b t d"]) -> Float[Tensor, "b m o"]:
        """The projected tuples of B clips."""
        rows = position_rows(self.dropout(frames), self.project.weight, self.project.bias)
        return (self.rows @ rows).relu()

    def forward(
        self,
        query: Float[Tensor, "e q m o"],
        support: Float[Tensor, "e n m o"],
        *,
        labels: Int[Tensor, " n"],
        way: int,
    ) -> Float[Tensor, "e q w"]:
        """Logits of every query over the classes of its episode.

        Args:
            query: What ``encode`` gives, by episode.
            support: The same.
            labels: Class of each support, 0..W−1.
            way: W.

        Raises:
            EpisodeError: A label outside 0..W−1, or a class without a support.
        """
        slots, exists = class_slots(labels.to(query.device), way=way)
        with torch.autocast(query.device.type, enabled=False):
            # Distances do not see what all tuples share. It is taken off before the squares, where
            # float32 would lose as many digits of a difference as the share is larger than it.
            share = support.detach().mean((1, 2), keepdim=True)
            queries, supports = (query - share).flatten(1, 2), (support - share)[:, slots]
            products = queries @ supports.flatten(1, 3).mT
            squares = supports.square().sum(-1).masked_fill(~exists[..., None], torch.inf)
            squares = (
                squares.flatten(1)[:, None] - 2 * products + queries.square().sum(-1)[..., None]
            )
            nearest = torch.unflatten(squares, 2, (way, -1)).amin(-1)
            # The root has no slope at 0, where clips are the same.
            distance = nearest.clamp_min(torch.finfo(nearest.dtype).tiny).sqrt()
            return -torch.unflatten(distance, 1, query.shape[1:3]).mean(2)
