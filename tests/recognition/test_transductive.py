"""Queries answered together, and what is said of supports that tell little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from a2m2_zoo import classify, load_model
from a2m2_zoo.errors import A2M2Error, ArgumentError
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.synthetic import draw_named

pytestmark = pytest.mark.usefixtures("seen_once")

NAMES = ("kick", "squat", "wave")


def clip(name: str, seed: int) -> np.ndarray:
    return draw_named(name, 0, seed=seed, studio=2)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    supports = {name: [clip(name, 0)] for name in NAMES}
    return Recognizer(load_model(device="cpu"), supports)


@pytest.fixture(scope="module")
def queries() -> list[np.ndarray]:
    return [clip(name, seed) for name in NAMES for seed in (1, 2)]


def test_answers_come_in_order_and_know_of_each_other(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    alone = recognizer.classify(queries)
    together = recognizer.classify(queries, transductive=True)
    assert [answer.label for answer in together] == [name for name in NAMES for _ in range(2)]
    assert all(sum(answer.probabilities.values()) == pytest.approx(1) for answer in together)
    assert all(a.probabilities != b.probabilities for a, b in zip(alone, together, strict=True))
    assert [a.known for a in alone] == pytest.approx([b.known for b in together], abs=1e-6)
    fewer = recognizer.classify(queries[:3], transductive=True)
    assert fewer[0].probabilities != together[0].probabilities


def test_one_query_alone_is_answered_as_ever(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    one, same = recognizer(queries[0]), recognizer(queries[0], transductive=True)
    assert one.probabilities == same.probabilities


@pytest.mark.usefixtures("computed_anew")
def test_neither_batches_nor_workers_change_an_answer(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    some = queries[::2]
    first = recognizer.classify(some, transductive=True, batch_size=1, workers=1)
    second = recognizer.classify(some, transductive=True, batch_size=2, workers=3)
    assert [a.probabilities for a in first] == [a.probabilities for a in second]


def test_a_clip_that_cannot_be_read_keeps_its_place(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    def given() -> Iterator[object]:
        yield queries[0]
        yield "missing.mp4"
        yield queries[2]

    found = list(recognizer.iter_classify(given(), transductive=True))
    assert [isinstance(answer, A2M2Error) for answer in found] == [False, True, False]
    sound = recognizer.classify([queries[0], queries[2]], transductive=True)
    answers = [answer.probabilities for answer in found if not isinstance(answer, A2M2Error)]
    assert answers == [answer.probabilities for answer in sound]
    assert list(recognizer.iter_classify([], transductive=True)) == []


def test_plans_and_pictures_come_with_answers_given_together(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    [answer, _] = recognizer.classify(queries[:2], transductive=True, plans=True)
    assert set(answer.plans) == set(NAMES)


def test_a_model_without_ridge_is_refused_by_name() -> None:
    supports = {name: [clip(name, 0)] for name in NAMES}
    with pytest.raises(ArgumentError, match="protonet-lite0 answers otherwise"):
        classify([clip("kick", 1)], supports, model="protonet-lite0", transductive=True)


def test_supports_that_are_all_the_same_say_so() -> None:
    one = clip("kick", 0)
    recognizer = Recognizer(load_model(device="cpu"), {"a": [one] * 3, "b": [one] * 3})
    answer = recognizer(clip("squat", 1))
    assert set(answer.probabilities.values()) == {0.5}
    assert any("look the same" in text for text in answer.warnings)


def test_classes_of_very_different_sizes_are_answered_with_a_word() -> None:
    supports = {"kick": [clip("kick", 0)] * 20, "squat": [clip("squat", 0)]}
    recognizer = Recognizer(load_model(device="cpu"), supports)
    answers = recognizer.classify([clip("kick", 1), clip("squat", 1)])
    assert [answer.label for answer in answers] == ["kick", "squat"]
    assert all("from 1 to 20 supports" in " ".join(answer.warnings) for answer in answers)


def test_where_nobody_is_seen_at_all_it_is_said() -> None:
    draw = np.random.default_rng(0)
    clips = [draw.integers(0, 255, (8, 64, 64, 3), dtype=np.uint8) for _ in range(3)]
    recognizer = Recognizer(load_model(device="cpu"), {"a": clips[:1], "b": clips[1:2]})
    answer = recognizer(clips[2])
    assert answer.pose_frames == 0
    assert any("nor in the supports" in text for text in answer.warnings)
    assert all(0 <= value <= 1 for value in answer.probabilities.values())
