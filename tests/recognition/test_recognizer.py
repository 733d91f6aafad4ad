"""A model bound to its supports: one clip, several, and what is no clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from a2m2_zoo import Prediction, Recognizer, load_model
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.synthetic import draw_named

NAMES = ("kick", "squat")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(load_model(), {name: [draw_named(name, 0, studio=2)] for name in NAMES})


@pytest.fixture(scope="module")
def queries() -> list[np.ndarray]:
    return [draw_named(name, 1, studio=2) for name in NAMES]


def test_one_clip_and_several_get_the_same_answers(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    several = recognizer.classify(queries)
    assert several == [recognizer(query) for query in queries]
    assert several == list(recognizer.iter_classify(iter(queries), batch_size=2))
    assert [answer.label for answer in several] == list(NAMES)
    pictures = recognizer(list(queries[0]))  # a clip as a list of its frames
    assert isinstance(pictures, Prediction)
    assert pictures.probabilities == several[0].probabilities


def test_what_is_no_clip_is_no_query(recognizer: Recognizer, queries: list[np.ndarray]) -> None:
    with pytest.raises(ArgumentError, match="one clip, or classify"):
        recognizer(queries)
    for picture in (queries[0][0], torch.from_numpy(queries[0][0])):
        with pytest.raises(ArgumentError, match="query is"):
            recognizer(picture)
    with pytest.raises(ArgumentError, match="model is a str"):
        Recognizer("a2m2-lite0", recognizer.bank)


def test_scores_do_not_depend_on_the_caller(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    other = Recognizer(recognizer.model, recognizer.bank)  # that has scored nothing yet
    found = {name: tensor[:1] for name, tensor in recognizer.bank.descriptors.items()}
    plain = recognizer.scores(found)
    with torch.device("meta"):
        scores = other.scores(found)
    assert scores.probabilities.equal(plain.probabilities)
    assert scores.known is not None
    assert plain.known is not None
    assert scores.known.equal(plain.known)


@pytest.fixture(scope="module")
def seeing() -> Recognizer:
    """As ``recognizer``, with people looked for; the supports show one."""
    return Recognizer(load_model(), {name: [person(name, 0)] for name in NAMES})


def person(name: str, i: int) -> np.ndarray:
    return draw_named(name, i, seed=3, frames=8, size=224, style="scene")


def test_people_are_counted_and_kept_where_pictures_are_asked_for(seeing: Recognizer) -> None:
    query = person("kick", 2)
    plain, drawn = seeing(query), seeing(query, plans=True)
    assert plain.people is None
    assert drawn.people is not None
    assert drawn.people.shape == (2, 8, 33, 3)
    assert int((drawn.people[..., 2] > 0).any((0, 2)).sum()) == drawn.pose_frames
    assert 0 < drawn.pose_frames == plain.pose_frames <= 8
    assert plain.warnings == ()
    shown = seeing.with_plans(plain, query)
    assert shown == drawn
    assert shown.people is not None
    assert np.array_equal(shown.people, drawn.people)
    assert "people" not in drawn.to_dict()
    assert plain.to_dict()["pose_frames"] == plain.pose_frames


def test_a_query_without_people_says_so_where_supports_have_some(seeing: Recognizer) -> None:
    empty = np.full((8, 64, 64, 3), 90, np.uint8)
    answer = seeing(empty)
    assert answer.pose_frames == 0
    (said,) = answer.warnings
    assert "nobody was seen in it, while the supports show people" in said
    alike = Recognizer(seeing.model, {name: [empty, empty + i] for i, name in enumerate(NAMES)})
    (said,) = alike(empty).warnings
    assert "nobody was seen in it, nor in the supports" in said
    blind = load_model(pose=False)
    other = Recognizer(blind, {name: [person(name, 0)] for name in NAMES})(empty)
    assert other.pose_frames is None
    assert "pose_frames" not in other.to_dict()
    assert other.warnings == ()
