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
