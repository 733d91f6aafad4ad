from __future__ import annotations

import pytest

from a2m2_zoo import Episode, build_episode
from a2m2_zoo.errors import ArgumentError, EpisodeError

CLIPS = {
    name: [f"{name}{i}.mp4" for i in range(6)]
    for name in ("wave", "jump", "sit", "run", "kick", "bow")
}


def test_a_drawn_episode_is_labelled_and_disjoint() -> None:
    episode = build_episode(CLIPS, way=3, shot=2, query=2, seed=5)
    assert episode.class_names == tuple(sorted(episode.class_names))
    assert len(episode.supports) == len(episode.queries) == 6
    assert not set(episode.supports) & set(episode.queries)
    for clip, label in zip(episode.supports, episode.support_labels, strict=True):
        assert str(clip).startswith(episode.class_names[label])
    for clip, label in zip(episode.queries, episode.query_labels, strict=True):
        assert str(clip).startswith(episode.class_names[label])


def test_the_same_seed_gives_the_same_episode_whatever_the_order_of_the_mapping() -> None:
    shuffled = dict(reversed(CLIPS.items()))
    assert build_episode(CLIPS, seed=3) == build_episode(shuffled, seed=3)
    assert len({build_episode(CLIPS, seed=s).supports for s in range(20)}) > 15


def test_explicit_supports_and_queries() -> None:
    episode = build_episode(supports={"b": ["1"], "a": ["2", "3"]}, queries={"b": ["4"]})
    assert episode.class_names == ("a", "b")
    assert episode.support_labels == (0, 0, 1)
    assert episode.query_labels == (1,)
    assert episode.by_class() == {"a": ["2", "3"], "b": ["1"]}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build_episode(), ArgumentError, "give either data"),
        (lambda: build_episode(CLIPS, supports=CLIPS), ArgumentError, "give either data"),
        (lambda: build_episode(CLIPS, queries=["a"]), ArgumentError, "queries go with supports"),
        (
            lambda: build_episode(CLIPS, shot=6),
            EpisodeError,
            r"need 7 clips per class; too few in 'bow' \(6\)",
        ),
        (lambda: build_episode(CLIPS, way=7), EpisodeError, "7-way episodes need 7 classes"),
        (lambda: build_episode(["a.mp4"]), ArgumentError, "clips are given as a list"),
        (
            lambda: build_episode(supports={"a": ["1"], "b": []}),
            EpisodeError,
            "class 'b' has no clip",
        ),
        (lambda: build_episode(supports={"a": ["1"]}), EpisodeError, "there is one class, 'a'"),
        (lambda: build_episode(supports={"a": ["1"], "A": ["1"]}), EpisodeError, "same name"),
        (
            lambda: build_episode(supports={"a": ["1"], "b": ["2"]}, queries={"c": ["3"]}),
            EpisodeError,
            "queries of class 'c' have no supports",
        ),
        (lambda: Episode(("a", "b"), ("1",), (0,)), EpisodeError, "class 'b' has no support"),
        (lambda: Episode(("a", "b"), ("1", "2"), (0, 2)), EpisodeError, "label 2 is not an index"),
        (lambda: Episode(("a", "b"), ("1", "2"), (0,)), EpisodeError, "2 supports have 1 labels"),
        (
            lambda: Episode(("a", "b"), ("1", "2"), (0, 1), ("q",), (0, 1)),
            EpisodeError,
            "1 queries have 2",
        ),
        (lambda: Episode((), (), ()), EpisodeError, "there is no class"),
    ],
)
def test_refusals(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
