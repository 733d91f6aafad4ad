"""Plans of episodes: which classes, supports and queries, as a pure function of (seed, index).

Episode *i* can be had without the ones before it, so a protocol can be split over processes with the
same result. Draws use only 64-bit integer arithmetic (the SplitMix64 finaliser, Steele, Lea and
Flood, 2014), so they do not change with the version of NumPy or Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from a2m2_zoo.errors import ArgumentError, EpisodeError

IntArray = npt.NDArray[np.int64]
_Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class EpisodeIndices:
    """Episodes as indices.

    Attributes:
        classes: (E, W) index of each class of each episode.
        support: (E, W, K) index of each support among the clips of its class.
        query: (E, W, Q) index of each query among the clips of its class.
    """

    classes: IntArray
    support: IntArray
    query: IntArray


@dataclass(frozen=True, kw_only=True)
class EpisodeForm:
    """W-way K-shot episodes: how large each is, how many there are, and which draw of them.

    Attributes:
        way: Classes per episode (W).
        shot: Supports per class (K).
        query: Queries per class (Q).
        episodes: How many (E): in all where something is measured, per batch where something is trained.
        seed: Of the draw; any integer.

    Raises:
        ArgumentError: A size is below one.

    >>> form = EpisodeForm(way=2, episodes=3)
    >>> form.plan((4, 3, 5)).episodes(0, form.episodes).classes.shape
    (3, 2)
    """

    way: int = 5
    shot: int = 1
    query: int = 1
    episodes: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        _check_sizes(self, ("way", "shot", "query", "episodes"))

    def plan(self, counts: Iterable[int]) -> EpisodePlan:
        """The plan among classes of so many clips each.

        Raises:
            EpisodeError: There are too few classes, or a class has too few clips.
        """
        return EpisodePlan(
            tuple(counts), way=self.way, shot=self.shot, query=self.query, seed=self.seed
        )


@dataclass(frozen=True)
class EpisodePlan:
    """A sequence of W-way K-shot episodes, without end.

    Attributes:
        counts: Number of clips of every class.
        way: Classes per episode (W).
        shot: Supports per class (K).
        query: Queries per class (Q).
        seed: Any integer.

    Raises:
        ArgumentError: A size is below one.
        EpisodeError: There are too few classes, or a class has too few clips.

    >>> plan = EpisodePlan(counts=(4, 3, 5), way=2, shot=1, query=1, seed=0)
    >>> plan.episodes(0, 3).classes.shape
    (3, 2)
    >>> bool((plan.episodes(0, 3).support[2] == plan.episodes(2, 3).support[0]).all())
    True
    """

    counts: tuple[int, ...]
    way: int = 5
    shot: int = 1
    query: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_sizes(self, ("way", "shot", "query"))
        if self.way > len(self.counts):
            raise EpisodeError(
                f"{self.way}-way episodes need {self.way} classes and there are {len(self.counts)}; "
                "lower way or add classes"
            )
        need = self.shot + self.query
        short = [str(i) for i, n in enumerate(self.counts) if n < need]
        if short:
            raise EpisodeError(
                f"{self.shot} support(s) and {self.query} query clip(s) need {need} clips per class; "
                f"class index {', '.join(short[:5])} has fewer"
            )

    def episodes(self, start: int, stop: int) -> EpisodeIndices:
        """Episodes ``start`` to ``stop`` - 1 of the plan."""
        index = np.arange(start, stop, dtype=np.uint64)
        keys = _mix(_mix(_word(self.seed), index)[:, None], np.arange(len(self.counts)))
        classes = np.argsort(keys, axis=1, kind="stable")[:, : self.way]
        sizes = np.asarray(self.counts, dtype=np.int64)
        clip_keys = _mix(
            np.take_along_axis(keys, classes, 1)[..., None], 1 + np.arange(sizes.max())
        )
        # Clips a class does not have sort behind all it has: the last key value is kept for them.
        clip_keys >>= np.uint64(1)
        missing = np.arange(sizes.max()) >= sizes[classes][..., None]
        clip_keys[missing] = np.iinfo(np.uint64).max
        order = np.argsort(clip_keys, axis=-1, kind="stable")
        return EpisodeIndices(
            classes=classes.astype(np.int64),
            support=order[..., : self.shot].astype(np.int64),
            query=order[..., self.shot : self.shot + self.query].astype(np.int64),
        )


def _check_sizes(given: EpisodeForm | EpisodePlan, names: tuple[str, ...]) -> None:
    if isinstance(given.seed, bool) or not hasattr(given.seed, "__index__"):
        raise ArgumentError(f"seed is {given.seed!r}; expected an integer")
    for name in names:
        if getattr(given, name) < 1:
            raise ArgumentError(f"{name} is {getattr(given, name)}; expected 1 or more")


def uniform(seed: int, count: int) -> npt.NDArray[np.float64]:
    """``count`` draws from [0, 1), each a function of the seed and its place alone.

    >>> bool((uniform(7, 5)[:3] == uniform(7, 3)).all())
    True
    """
    words = _mix(_mix(_word(seed), 0), np.arange(count))
    return np.asarray((words >> np.uint64(11)) / 2.0**53, dtype=np.float64)


def _word(seed: int) -> _Words:
    return np.asarray(seed % 2**64, dtype=np.uint64)


def _mix(state: _Words, counter: npt.ArrayLike) -> _Words:
    """SplitMix64 of ``state`` advanced by ``counter`` steps, elementwise."""
    with np.errstate(over="ignore"):
        step = (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = np.asarray(state + step)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
