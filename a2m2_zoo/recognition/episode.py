"""What goes into a classification: clips, labelled ones, and episodes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from a2m2_zoo._utils.arguments import kind, whole
from a2m2_zoo.data.index import check_class_names, class_folders, clips_inside
from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.recognition.prediction import Plan as Plan
from a2m2_zoo.recognition.prediction import Prediction as Prediction
from a2m2_zoo.video.inputs import Source as Source
from a2m2_zoo.video.inputs import as_clips, is_path, text_of

#: Class name → its labelled clips, or the folder that they are in.
Supports: TypeAlias = Mapping[str, Source | Iterable[Source]]
#: Clips in question: a folder or a pattern stands for those in it.
Queries: TypeAlias = Source | Iterable[Source]


@dataclass(frozen=True)
class Episode:
    """One W-way K-shot question: labelled supports and the queries to label.

    Attributes:
        class_names: The W class names; a label is an index into them.
        supports: Support clips, those of one class together.
        support_labels: Label of every support.
        queries: Query clips.
        query_labels: True label of every query; empty where nobody knows it.
        seed: The seed it was drawn with; None for an episode put together by hand.
    """

    class_names: tuple[str, ...]
    supports: tuple[Source, ...]
    support_labels: tuple[int, ...]
    queries: tuple[Source, ...] = ()
    query_labels: tuple[int, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        check_class_names(self.class_names)
        if len(self.class_names) < 2:
            raise EpisodeError(
                f"there is one class, {self.class_names[0]!r}; expected two or more to choose from"
                if self.class_names
                else "there is no class; expected two or more to choose from"
            )
        if len(self.support_labels) != len(self.supports):
            raise EpisodeError(
                f"{len(self.supports)} supports have {len(self.support_labels)} labels; "
                "expected one label for each"
            )
        if self.query_labels and len(self.query_labels) != len(self.queries):
            raise EpisodeError(
                f"{len(self.queries)} queries have {len(self.query_labels)} labels; "
                "expected one label for each, or none"
            )
        for label in (*self.support_labels, *self.query_labels):
            if not 0 <= label < len(self.class_names):
                raise EpisodeError(
                    f"label {label} is not an index of the {len(self.class_names)} classes"
                )
        for label, name in enumerate(self.class_names):
            if label not in self.support_labels:
                raise EpisodeError(f"class {name!r} has no support clip; give it at least one")

    @property
    def way(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def by_class(self) -> dict[str, list[Source]]:
        """The supports as a mapping from class name to clips."""
        found: dict[str, list[Source]] = {name: [] for name in self.class_names}
        for clip, label in zip(self.supports, self.support_labels, strict=True):
            found[self.class_names[label]].append(clip)
        return found


def build_episode(
    data: str | os.PathLike[str] | Supports | None = None,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    seed: int = 0,
    supports: str | os.PathLike[str] | Supports | None = None,
    queries: Iterable[Source] | Supports | None = None,
) -> Episode:
    """Draw an episode from a data set, or put one together from explicit clips.

    Args:
        data: A folder with one folder per class, or a mapping {class: [clips]}. The episode is drawn
            from it, the same for the same seed on every machine.
        way: Classes to draw.
        shot: Supports to draw per class.
        query: Queries to draw per class; no clip is both support and query.
        seed: Any integer.
        supports: Explicit supports, in place of ``data``: a folder or a mapping {class: [clips]}.
        queries: Explicit queries: clips whose class is unknown, or a mapping {class: [clips]}.

    Returns:
        The episode; its class names are sorted.

    Raises:
        ArgumentError: Both or neither of ``data`` and ``supports`` are given.
        EpisodeError: Too few classes or clips, a class without clips, or names that clash.

    >>> clips = {"wave": ["w1.mp4", "w2.mp4"], "jump": ["j1.mp4", "j2.mp4"], "sit": ["s1.mp4", "s2.mp4"]}
    >>> episode = build_episode(clips, way=2, seed=1)
    >>> len(episode.supports), len(episode.queries)
    (2, 2)
    >>> build_episode(supports={"wave": ["w1.mp4"], "jump": ["j1.mp4"]}, queries=["q.mp4"]).way
    2
    """
    if (data is None) == (supports is None):
        raise ArgumentError(
            "give either data to draw an episode from, or supports (and queries) to use as they are"
        )
    way, shot, query = (_size(n, v) for n, v in (("way", way), ("shot", shot), ("query", query)))
    if supports is not None:
        return _explicit(as_mapping(supports), queries)
    if queries is not None:
        raise ArgumentError("queries go with supports; an episode drawn from data has its own")
    assert data is not None
    return _drawn(as_mapping(data), way=way, shot=shot, query=query, seed=seed)


def _size(name: str, value: object) -> int:
    found = whole(name, value)
    if found is None:
        raise ArgumentError(f"{name} is None; expected an integer of 1 or more")
    return found


def as_mapping(data: str | os.PathLike[str] | Supports) -> dict[str, list[Source]]:
    """Clips by class, sorted by name, from a folder or a mapping to clips or to folders of them.

    Raises:
        ArgumentError: It is neither.
        VideoNotFoundError: The folder of a class holds no clip.
        EpisodeError: A class has no clip, or two names clash.
    """
    if is_path(data):
        folder = Path(text_of(data, "the folder"))
        return {name: list(clips) for name, clips in class_folders(folder).items()}
    if not isinstance(data, Mapping):
        raise ArgumentError(
            f"clips are given as {kind(data)}; expected a folder with one folder per class, "
            "or a mapping {class: [clips]}"
        )
    found: dict[str, list[Source]] = {}
    for name in data:
        if not isinstance(name, str):
            raise ArgumentError(
                f"a class is named by {kind(name)}; expected text, {{class: [clips]}}"
            )
    for name in sorted(data):
        inside = clips_inside(data[name])  # of a folder, or a pattern
        clips = list(as_clips(data[name], f"class {name!r}")[1] if inside is None else inside)
        if not clips:
            raise EpisodeError(f"class {name!r} has no clip; give it at least one")
        found[name] = clips
    check_class_names(found)
    return found


def _explicit(
    supports: dict[str, list[Source]], queries: Iterable[Source] | Supports | None
) -> Episode:
    names = tuple(sorted(supports))
    clips = [(clip, label) for label, name in enumerate(names) for clip in supports[name]]
    chosen_queries: list[tuple[Source, int]] = []
    given: Any = queries
    if isinstance(given, Mapping):
        by_class = {n: list(as_clips(given[n], f"class {n!r}")[1]) for n in given}
        unexpected = sorted(set(by_class) - set(names))
        if unexpected:
            raise EpisodeError(
                f"queries of class {', '.join(map(repr, unexpected))} have no supports; add supports "
                "of that class, or give the queries as a plain list"
            )
        chosen_queries = [
            (q, names.index(name)) for name in sorted(by_class) for q in by_class[name]
        ]
        labels = tuple(label for _, label in chosen_queries)
    else:
        chosen_queries = [
            (q, -1) for q in (() if queries is None else as_clips(queries, "queries")[1])
        ]
        labels = ()
    return Episode(
        class_names=names,
        supports=tuple(clip for clip, _ in clips),
        support_labels=tuple(label for _, label in clips),
        queries=tuple(q for q, _ in chosen_queries),
        query_labels=labels,
    )


def _drawn(data: dict[str, list[Source]], *, way: int, shot: int, query: int, seed: int) -> Episode:
    names = sorted(data)
    need = shot + query
    short = [f"{name!r} ({len(data[name])})" for name in names if len(data[name]) < need]
    if short and way <= len(names) and shot > 0 and query > 0:
        raise EpisodeError(
            f"{shot} support(s) and {query} query clip(s) need {need} clips per class; too few in "
            f"{', '.join(short[:5])}; lower shot or query, or add clips"
        )
    counts = tuple(len(data[name]) for name in names)
    plan = EpisodePlan(counts, way=way, shot=shot, query=query, seed=seed)
    drawn = plan.episodes(0, 1)
    order = sorted(range(way), key=lambda i: int(drawn.classes[0, i]))
    chosen = [names[drawn.classes[0, i]] for i in order]
    support = [
        [data[n][j] for j in drawn.support[0, i]] for n, i in zip(chosen, order, strict=True)
    ]
    chosen_queries = [
        [data[n][j] for j in drawn.query[0, i]] for n, i in zip(chosen, order, strict=True)
    ]
    return Episode(
        class_names=tuple(chosen),
        supports=tuple(clip for clips in support for clip in clips),
        support_labels=tuple(label for label in range(way) for _ in range(shot)),
        queries=tuple(clip for clips in chosen_queries for clip in clips),
        query_labels=tuple(label for label in range(way) for _ in range(query)),
        seed=seed,
    )
