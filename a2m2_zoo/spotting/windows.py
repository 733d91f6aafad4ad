"""The time grid of a stream, and the windows that are scored on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int, UInt8
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import Follower, embedded_pose, people_tensor
from a2m2_zoo.video import segment_centres

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank

#: Lengths of windows in seconds where nobody knows how long the supports are.
PLAIN_LENGTHS = (1.0, 2.0, 4.0)
#: Two windows a second of every length.
STRIDE = 0.5
_SHORTEST, _LONGEST = 0.25, 120.0
_SLOTS = 1024  # 160 MB of maps of the embedded model
# Part of a support's length: a window inside an action tells more than one that also holds what lies around
# it. Chosen on generated clips.
_FIT = 0.8
_APART = 1.25  # lengths nearer than this factor see the same


@dataclass(frozen=True)
class Window:
    """A stretch of the stream that was scored as one clip.

    Attributes:
        start: Where it begins, in seconds on the stream's clock.
        end: Where it ends.
        probabilities: Calibrated probability of every class, in the bank's order, if it is one of them.
        logits: The raw scores behind them.
        known: Probability that it is any of them, were half of all windows of none, as for clips; None
            where the model cannot tell.
        share: Part of the time in which any of them is taken to happen.
    """

    start: float
    end: float
    probabilities: Float[np.ndarray, " w"]
    logits: Float[np.ndarray, " w"]
    known: float | None = None
    share: float = 0.5

    @property
    def chances(self) -> Float[np.ndarray, " w"]:
        """Probability that it is of each class, unknown actions included where ``known`` is there."""
        if self.known is None:
            return self.probabilities
        # Bayes: another share of unknown windows changes the odds by the odds of the shares.
        yes, no = self.known * self.share, (1 - self.known) * (1 - self.share)
        return self.probabilities * (yes / (yes + no))


@dataclass(frozen=True)
class Grid:
    """Where a stream is looked at.

    Attributes:
        step: Seconds between two slots; a slot holds one frame.
        stride: Slots between two windows.
        lengths: Slots of each window, ascending.
        frames: Frames that a model takes of a window.
    """

    step: float
    stride: int
    lengths: tuple[int, ...]
    frames: int

    @property
    def seconds(self) -> tuple[float, ...]:
        """Lengths of the windows in seconds."""
        return tuple(length * self.step for length in self.lengths)

    def slots(self, last: int, length: int) -> tuple[int, ...]:
        """The slots that a model sees of the window of ``length`` slots that ends with slot ``last``.

        >>> make_grid((1.0, 2.0), stride=0.5, frames=8).slots(last=15, length=16)
        (1, 3, 5, 7, 9, 11, 13, 15)
        """
        first = last - length + 1
        return tuple(first + place for place in segment_centres(length, self.frames))


def make_grid(lengths: Sequence[float], *, stride: float, frames: int) -> Grid:
    """The coarsest grid on which the shortest window has a slot for every frame.

    Args:
        lengths: Seconds of each window; rounded to whole slots.
        stride: Seconds between two windows of one length.
        frames: Frames that a model takes of a window.

    Raises:
        ArgumentError: A length or the stride is out of range.

    >>> grid = make_grid((1.0, 2.0, 4.0), stride=0.5, frames=8)
    >>> grid.step, grid.stride, grid.lengths
    (0.125, 4, (8, 16, 32))
    """
    if not lengths or not all(_SHORTEST <= length <= _LONGEST for length in lengths):
        raise ArgumentError(
            f"window lengths are {tuple(lengths)}; expected seconds from {_SHORTEST:g} to {_LONGEST:g}"
        )
    shortest = min(lengths)
    if not 0 < stride <= shortest:
        raise ArgumentError(
            f"stride is {stride:g} s; expected above 0 and at most the shortest window, {shortest:g} s, "
            "or frames would be in no window"
        )
    parts = max(1, math.ceil(stride * frames / shortest - 1e-9))
    step = stride / parts
    slots = tuple(sorted({max(1, round(length / step)) for length in lengths}))
    if slots[-1] > _SLOTS:
        raise ArgumentError(
            f"windows from {shortest:g} to {max(lengths):g} s every {stride:g} s need {slots[-1]} frames "
            f"in memory, more than {_SLOTS}; leave out the shortest or the longest, or widen the stride"
        )
    return Grid(step, parts, slots, frames)


def window_lengths(bank: SupportBank) -> tuple[float, ...]:
    """Window lengths in seconds that suit a bank: short, middling and long for its supports.

    ``PLAIN_LENGTHS`` where the bank does not know how long its supports are.
    """
    known = [seconds for seconds in bank.durations if seconds]
    if not known:
        return PLAIN_LENGTHS
    chosen: list[float] = []
    for share in (0.1, 0.5, 0.9):
        length = float(np.clip(_FIT * np.quantile(known, share), 2 * _SHORTEST, _LONGEST / 4))
        if not chosen or length >= _APART * chosen[-1]:
            chosen.append(round(length, 3))
    return tuple(chosen)


def weighed(chances: Float[np.ndarray, "*n w"]) -> Float[np.ndarray, "*n v"]:
    """What windows add to the sums of a moment that they hold: squares, and a 1 to count them by."""
    return np.concatenate([chances, np.ones((*chances.shape[:-1], 1))], -1) ** 2


def together(sums: Float[np.ndarray, "*n v"]) -> Float[np.ndarray, "*n w"]:
    """What the windows of a moment say together, one at least: the root of the mean of their squares."""
    found: Float[np.ndarray, "*n w"] = np.sqrt(sums[..., :-1] / sums[..., -1:])
    return found


class FeatureRing:
    """Feature maps of the latest slots.

    Args:
        capacity: Slots that are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._maps: dict[str, Tensor] = {}
        self._pooled: Tensor | None = None

    def write(self, slots: Sequence[int], features: Features) -> None:
        """Keep the frames of a clip (1, T, ...) in ``slots``, over what was there."""
        if self._pooled is None:
            self._maps = {name: self._room(maps) for name, maps in features.maps.items()}
            self._pooled = self._room(features.pooled)
        places = torch.tensor([slot % self._capacity for slot in slots])
        for name, maps in features.maps.items():
            self._maps[name][places] = maps[0]
        self._pooled[places] = features.pooled[0]

    def gather(self, windows: Sequence[Sequence[int]]) -> Features:
        """The frames of windows, each given by its slots, as clips (B, T, ...)."""
        assert self._pooled is not None
        places = _places(windows, self._capacity)
        return Features({n: maps[places] for n, maps in self._maps.items()}, self._pooled[places])

    def _room(self, like: Tensor) -> Tensor:
        return like.new_zeros(self._capacity, *like.shape[2:])


class PeopleRing:
    """The people of the latest slots, followed from slot to slot.

    Args:
        capacity: Slots that are kept.
        runtime: What computes BlazePose's networks, as ``Model.runtime`` has it.
    """

    def __init__(self, capacity: int, *, runtime: str) -> None:
        self._capacity = capacity
        self._follower = Follower(network=embedded_pose(runtime))
        self._people: Tensor | None = None

    def search(self, slot: int, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Look at the picture of a slot, after those of all slots before."""
        found = people_tensor(self._follower(picture))[:, 0]
        if self._people is None:
            self._people = found.new_zeros(self._capacity, *found.shape)
        self._people[slot % self._capacity] = found

    def gather(self, windows: Sequence[Sequence[int]]) -> Float[Tensor, "b p t 33 3"]:
        """Who is seen where in windows, each given by its slots."""
        assert self._people is not None
        places = _places(windows, self._capacity)
        return self._people[places].transpose(1, 2)


def _places(windows: Sequence[Sequence[int]], capacity: int) -> Int[Tensor, "b t"]:
    """Where a ring of so many slots keeps those of windows."""
    return torch.tensor([[slot % capacity for slot in slots] for slots in windows])
