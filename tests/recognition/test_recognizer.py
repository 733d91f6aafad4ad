"""A model bound to its supports: one clip, several, and what is no clip."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import a2m2_zoo
from a2m2_zoo import Prediction, Recognizer, load_model
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition import model as module
from a2m2_zoo.synthetic import draw_named

pytestmark = pytest.mark.usefixtures("seen_once")

NAMES = ("kick", "squat")


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(load_model(), {name: [draw_named(name, 0, studio=2)] for name in NAMES})


@pytest.fixture(scope="module")
def queries() -> list[np.ndarray]:
    return [draw_named(name, 1, studio=2) for name in NAMES]


@pytest.mark.usefixtures("computed_anew")
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
    with pytest.raises(ArgumentError, match="model is the number 3"):
        Recognizer(3, recognizer.bank)  # type: ignore[arg-type]


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


def several(recognizer: Recognizer, count: int) -> dict[str, torch.Tensor]:
    """Descriptors of as many clips, all different."""
    noise = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in recognizer.bank.descriptors.items():
        clips = tensor.repeat(count, *[1] * (tensor.ndim - 1))[:count]
        found[name] = clips * (1 + 0.1 * torch.rand(clips.shape, generator=noise))
    return found


@pytest.mark.parametrize("threads", [1, 3])
def test_pairs_in_tiles_are_the_pairs(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    query, support = several(recognizer, 7), several(recognizer, 5)
    whole = recognizer.model.pairs(query, support)
    assert whole is not None
    assert whole.shape == (7, 5)
    monkeypatch.setattr(module, "_TILE", 2)
    a2m2_zoo.set_threads(threads)
    try:
        against = recognizer.model.against(support)
        assert against is not None
        torch.testing.assert_close(against(query), whole, atol=1e-5, rtol=1e-5)
        # A support's tile is its place among the supports: who is asked beside has no part in it.
        alone = [against(take(query, slice(i, i + 1))) for i in range(7)]
        torch.testing.assert_close(torch.cat(alone), whole, atol=1e-5, rtol=1e-5)
    finally:
        a2m2_zoo.set_threads(None)


def test_pairs_whose_score_depends_on_the_other_supports_are_not_cut(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = recognizer.model.method
    assert isinstance(method, A2M2)
    centred = replace(recognizer.model, method=A2M2(replace(method.config, centring=2.0)).eval())
    query, support = several(recognizer, 3), several(recognizer, 5)
    whole = centred.pairs(query, support)
    monkeypatch.setattr(module, "_TILE", 2)
    cut = centred.pairs(query, support)
    assert whole is not None
    assert cut is not None
    torch.testing.assert_close(cut, whole, atol=1e-5, rtol=1e-5)


def test_supports_of_several_tiles_answer_alike(
    recognizer: Recognizer, queries: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {name: [draw_named(name, i, studio=2) for i in range(2)] for name in NAMES}
    for together in (False, True):
        monkeypatch.undo()
        whole = Recognizer(recognizer.model, clips).classify(queries, transductive=together)
        monkeypatch.setattr(module, "_TILE", 3)
        cut = Recognizer(recognizer.model, clips).classify(queries, transductive=together)
        for one, other in zip(whole, cut, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_classes_that_were_not_told_apart_are_said(recognizer: Recognizer) -> None:
    one, other = (draw_named(name, 0, studio=2) for name in NAMES)
    supports = {"again": [one.copy()], "kick": [one], "squat": [other]}
    (told,) = Recognizer(recognizer.model, supports).classify([draw_named("kick", 1, studio=2)])
    assert told.margin < 1e-6
    assert [said for said in told.warnings if "as probable as each other" in said] == [
        "'again' and 'kick' are as probable as each other"
    ]
    assert not any("as probable" in said for said in recognizer(one).warnings)


def test_probabilities_that_nobody_fitted_are_said_to_be_none(recognizer: Recognizer) -> None:
    def said(**changes: object) -> bool:
        other = replace(recognizer.model, **changes)  # type: ignore[arg-type]
        bank = replace(recognizer.bank, weights_hash=other.weights_hash)
        return any("nobody fitted" in line for line in Recognizer(other, bank).warnings)

    assert said(weights_hash="", scales={1: 1.0})
    assert not said()
    assert not said(weights_hash="")


def test_copies_and_pickles_answer_the_same(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    expected = recognizer.classify(queries)
    for other in (pickle.loads(pickle.dumps(recognizer)), copy.deepcopy(recognizer)):
        assert other.classify(queries) == expected
        assert other.class_names == recognizer.class_names


def test_options_that_there_are_not_are_refused(
    recognizer: Recognizer, queries: list[np.ndarray]
) -> None:
    for ask in (
        recognizer.classify,
        recognizer.iter_classify,
        lambda q, **o: recognizer(q[0], **o),
    ):
        with pytest.raises(TypeError, match=r"no option 'topk'; it has batch_size, .*, top_k"):
            ask(queries, topk=1)
    with pytest.raises(TypeError, match=r"Recognizer has no option 'pose'; it has class_names"):
        Recognizer(recognizer.model, recognizer.bank, pose=False)
    for name in ("plans", "transductive"):
        with pytest.raises(ArgumentError, match=f"{name} is a str; expected True or False"):
            recognizer.classify(queries, **{name: "no"})
    with pytest.raises(ArgumentError, match="pose is the number 0; expected True or False"):
        load_model(pose=0)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="device 'meta' cannot be used here"):
        load_model(device="meta")
