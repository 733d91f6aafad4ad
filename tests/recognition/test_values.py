"""Models, banks, predictions and configurations behave like values: shown, compared, hashed, copied."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest

from a2m2_zoo import Recognizer, build_bank, load_model
from a2m2_zoo.synthetic import draw_named

pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    model = load_model()
    supports = {name: [draw_named(name, 0, studio=2)] for name in ("kick", "squat")}
    bank = build_bank(supports, model=model)
    recognizer = Recognizer(model, bank)
    query = draw_named("kick", 1, studio=2)
    return {
        "model": model,
        "bank": bank,
        "prediction": recognizer(query, plans=True),
        "again": recognizer(query, plans=True),
        "config": model.method.config,
    }


@pytest.mark.parametrize("name", ["model", "bank", "prediction", "config"])
def test_values(values: dict[str, Any], name: str) -> None:
    value = values[name]
    assert len(repr(value)) < 800
    for same in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert same == value
        assert hash(same) == hash(value)
        assert same is not None
        assert {value: 1}[same] == 1
    assert value != "something else"


def test_what_differs_is_different(values: dict[str, Any]) -> None:
    bank, prediction = values["bank"], values["prediction"]
    assert prediction == values["again"]  # the seconds do not count
    assert replace(prediction, margin=0.5) != prediction
    plan = prediction.plans["kick"]
    assert replace(plan, transport=plan.transport + 1) != plan
    assert replace(prediction, plans={}) != prediction
    assert replace(bank, thumbnails=bank.thumbnails // 2) != bank
    changed = {name: tensor + 1 for name, tensor in bank.descriptors.items()}
    assert replace(bank, descriptors=changed) != bank
    model = values["model"]
    assert replace(model, id="other") != model
    assert replace(values["config"], pool=0.5) != values["config"]


def test_a_copied_model_answers_alike(values: dict[str, Any]) -> None:
    other = pickle.loads(pickle.dumps(values["model"]))
    query = draw_named("kick", 1, studio=2)
    assert Recognizer(other, values["bank"])(query, plans=True) == values["prediction"]
