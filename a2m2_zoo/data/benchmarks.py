"""Facts about the five benchmarks of the field: classes, sizes, frames of the official code, known leaks.

Facts only: names, counts and settings, in ``benchmarks.json``. Videos and the official lists, which are
read by ``a2m2_zoo.data.lists``, are the user's.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from a2m2_zoo.errors import ArgumentError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitFacts:
    """One split of a benchmark as the official lists have it.

    Attributes:
        classes: Class names in the order of their ids; None where the lists carry ids only.
        counts: Listed videos of every class, in the same order.
    """

    classes: tuple[str, ...] | None
    counts: tuple[int, ...]

    @property
    def videos(self) -> int:
        """Listed videos of all classes."""
        return sum(self.counts)


@dataclass(frozen=True)
class Leak:
    """Videos on which a model is evaluated here and was trained or selected elsewhere.

    Attributes:
        split: The split of this benchmark.
        benchmark: The other benchmark.
        other_split: Its split.
        videos: Videos of ``split`` that are in it too.
        classes: Classes of ``split`` that they belong to.
    """

    split: str
    benchmark: str
    other_split: str
    videos: int
    classes: int


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        id: Its name here, such as ``ssv2-small``.
        title: Its name in full.
        origin: Where its split comes from.
        sampling_rate: ``SAMPLING_RATE`` of the official configurations of MoLo, CLIP-FSAR and HyRSM: above 40
            a random frame of each of 8 segments, in tests too; else 8 frames over 280 frames of a
            12 frames per second clip, from its middle in tests.
        splits: ``train``, ``val`` and ``test``.
        leaks: Overlaps with other benchmarks that spoil a measurement.
        notes: What else to know, one sentence each.
    """

    id: str
    title: str
    origin: str
    sampling_rate: int
    splits: Mapping[str, SplitFacts]
    leaks: tuple[Leak, ...]
    notes: tuple[str, ...]

    @property
    def bare(self) -> bool:
        """Whether the official lists of numbered classes give ids of videos instead of paths."""
        return any(facts.classes is None for facts in self.splits.values())

    def class_names(self, split: str) -> tuple[str, ...]:
        """Names in the order of the ids; ``val0``, ``val1``, ... where the lists carry ids only.

        Raises:
            ArgumentError: There is no such split.

        >>> benchmark("hmdb51").class_names("test")[:3]
        ('fencing', 'kick', 'kick ball')
        """
        facts = self.splits[known_split(split)]
        return facts.classes or tuple(f"{split}{i}" for i in range(len(facts.counts)))


def list_benchmarks() -> list[str]:
    """Names of the benchmarks.

    >>> list_benchmarks()
    ['kinetics100', 'ssv2-full', 'ssv2-small', 'hmdb51', 'ucf101']
    """
    return list(_benchmarks())


def benchmark(name: str) -> Benchmark:
    """The benchmark called ``name``; ``_`` and ``-`` are the same.

    Raises:
        ArgumentError: There is none; the nearest names are given.

    >>> benchmark("ssv2-full").splits["train"].videos
    67013
    """
    known = _benchmarks()
    if (key := name.lower().replace("_", "-")) in known:
        return known[key]
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.5)
    raise ArgumentError(
        f"no benchmark is called {name!r}; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + f"Known benchmarks: {', '.join(known)}"
    )


def official_preprocess(family: str) -> dict[str, Any]:
    """What the published code of a family feeds its backbone, as values of ``video.Preprocess``.

    Frames are taken at segment centres instead of at random, so that a test can be repeated.

    Args:
        family: ``molo`` (also HyRSM and HyRSM++), ``clip-fsar``, or ``trx`` (also STRM).

    Raises:
        ArgumentError: There is no such family.

    >>> official_preprocess("molo")["mean"]
    [0.45, 0.45, 0.45]
    """
    known = _raw()["preprocess"]
    if family not in known:
        raise ArgumentError(f"no family is called {family!r}; expected one of {', '.join(known)}")
    return dict(known[family])


def known_split(split: str) -> str:
    """``split`` if it is one.

    Raises:
        ArgumentError: It is not.
    """
    if split not in SPLITS:
        raise ArgumentError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    return split


def fold(name: str) -> str:
    """A name without what lists and folders write differently: case, spaces, underscores, brackets.

    >>> fold("Apply Eye Makeup") == fold("ApplyEyeMakeup") == fold("apply_eye_makeup")
    True
    """
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


@cache
def _raw() -> dict[str, Any]:
    text = (Path(__file__).parent / "benchmarks.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


@cache
def _benchmarks() -> dict[str, Benchmark]:
    return {
        raw["id"]: Benchmark(
            id=raw["id"],
            title=raw["title"],
            origin=raw["origin"],
            sampling_rate=raw["sampling_rate"],
            splits={
                split: SplitFacts(
                    facts["classes"] and tuple(facts["classes"]), tuple(facts["videos"])
                )
                for split, facts in raw["splits"].items()
            },
            leaks=tuple(Leak(**leak) for leak in raw["leaks"]),
            notes=tuple(raw["notes"]),
        )
        for raw in _raw()["benchmarks"]
    }
