"""The model card: sound front matter whatever people write, and no figure that was not measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_uploads import FRONT
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub.card import LICENSES, Base, Facts, known_license, model_card
from a2m2_zoo.hub.methods import METHODS as DESCRIBED
from a2m2_zoo.hub.receipts import Figure, read_figures
from a2m2_zoo.methods import METHODS

CLIP = Base("clip-rn50", "MIT", "CLIP RN50, published by timm", repo_id="timm/resnet50_clip.openai")
FACTS = Facts("org/name", "a2m2", "trained", CLIP, "apache-2.0", "Clips drawn by a program.")
FIGURE = Figure("stick figures", 5, 1, 600, 0, 61.25, 1.1, "metrics.json")
HOSTILE = "x\n---\nlicense: mit\n---\n# <script>alert(1)</script> | `[a](b)` *b* $$x$$ \u202e\x1b[31m {{ x }}"


def front(text: str) -> dict[str, Any]:
    match = FRONT.match(text)
    assert match is not None
    data: dict[str, Any] = yaml.safe_load(match[1])
    assert ModelCard(text).data.to_dict() == {
        **ModelCard(text).data.to_dict(),
        "library_name": "a2m2_zoo",
    }
    return data


def body(text: str) -> str:
    match = FRONT.match(text)
    assert match is not None
    return text[match.end() :]


def test_the_front_matter_says_what_the_hub_sorts_by() -> None:
    data = front(model_card(replace(FACTS, datasets=("org/clips",))))
    assert data["library_name"] == "a2m2_zoo"
    assert data["pipeline_tag"] == "video-classification"
    assert data["license"] == "apache-2.0"
    assert data["base_model"] == "timm/resnet50_clip.openai"
    assert data["base_model_relation"] == "adapter"
    assert data["datasets"] == ["org/clips"]
    assert "model-index" not in data
    assert "metrics" not in data


def test_a_backbone_that_is_not_on_the_hub_is_no_base_model() -> None:
    own = Base("resnet50", "mit", "trained with the head", file="backbone.safetensors")
    text = model_card(replace(FACTS, base=own))
    assert "base_model" not in front(text)
    assert "`backbone.safetensors`" in body(text)


def test_figures_come_with_what_repeats_them() -> None:
    text = model_card(replace(FACTS, figures=(FIGURE, replace(FIGURE, shot=5, accuracy=70.0))))
    (index,) = front(text)["model-index"]
    assert index["name"] == "name"
    (result,) = index["results"]
    assert result["dataset"] == {"name": "stick figures", "type": "stick-figures"}
    assert [metric["value"] for metric in result["metrics"]] == [61.25, 70.0]
    assert result["metrics"][0]["args"] == {
        "way": 5, "shot": 1, "episodes": 600, "seed": 0, "interval_95": 1.1, "receipt": "metrics.json",
    }  # fmt: skip
    assert "| stick figures | 5-way 1-shot | 61.2 ± 1.1 | 20.0 | 600 | `metrics.json` |" in text


def test_a_card_without_receipts_has_no_figure() -> None:
    text = model_card(FACTS)
    assert "Nothing has been measured" in text
    assert "±" not in text
    assert "%" not in text


def test_every_method_is_told_and_a2m2_is_a_reconstruction() -> None:
    assert set(DESCRIBED) == set(METHODS)
    assert "this is a reconstruction" in model_card(FACTS)
    for method in set(METHODS) - {"a2m2"}:
        assert "not the authors' own" in model_card(replace(FACTS, method=method)), method


def test_what_people_write_stays_text() -> None:
    base = replace(CLIP, origin=HOSTILE)
    figure = replace(FIGURE, data=HOSTILE)
    card = model_card(replace(FACTS, data=HOSTILE, base=base, figures=(figure,)))
    data, text = front(card), body(card)
    assert data["license"] == "apache-2.0"
    assert data["model-index"][0]["results"][0]["dataset"]["name"].startswith("x --- license: mit")
    assert text.count("\n# ") == 1
    assert "<script>" not in text
    assert "[a](" not in text
    assert "$$" not in text
    assert "\x1b" not in card
    assert "\u202e" not in card
    (row,) = [line for line in text.splitlines() if line.startswith("| x")]
    assert row.count("|") == 7


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_card(data: str, name: str) -> None:
    facts = replace(FACTS, data=f"made of {data}", figures=(replace(FIGURE, data=f"d {name}"),))
    card = model_card(facts)
    assert front(card)["license"] == "apache-2.0"
    headings = [line for line in body(card).splitlines() if line.startswith("#")]
    assert headings == [
        line for line in body(model_card(FACTS)).splitlines() if line.startswith("#")
    ]


def test_licences() -> None:
    assert known_license(" MIT ") == "mit"
    assert len(set(LICENSES)) == len(LICENSES)
    with pytest.raises(ArgumentError, match=r"'apache2' .* did you mean apache-2.0"):
        known_license("apache2")
    with pytest.raises(ArgumentError, match="does not say what the model was made from"):
        model_card(replace(FACTS, data=" \n"))


HASH = "ab" * 32
EVALUATED: dict[str, Any] = {
    "format": 1,
    "way": 5,
    "episodes": 600,
    "seed": 0,
    "receipt": {"model": {"id": "run", "weights_hash": HASH}, "data": {"name": "stick"}},
    "results": [
        {"method": "a2m2", "shot": 1, "accuracy": 61.254, "interval": 1.123, "status": "trained"},
        {"method": "otam", "shot": 1, "accuracy": 41.0, "interval": 1.1, "status": "no parameters"},
    ],
}
MEASURED: dict[str, Any] = {
    "episodes": 2000,
    "seed": 0,
    "weights": {"mine": HASH, "other": "cd" * 32},
    "results": [
        {"data": "a", "model": "mine", "way": 5, "shot": 1, "accuracy": 50.0, "interval": 1.0},
        {"data": "a", "model": "other", "way": 5, "shot": 1, "accuracy": 90.0, "interval": 1.0},
    ],
}


def read(tmp_path: Path, raw: Any) -> tuple[Figure, ...]:
    path = tmp_path / "r.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return read_figures(path, weights_hash=HASH, method="a2m2", name="metrics.json")


def test_only_the_models_own_figures_are_taken(tmp_path: Path) -> None:
    assert read(tmp_path, EVALUATED) == (
        Figure("stick", 5, 1, 600, 0, 61.25, 1.12, "metrics.json"),
    )
    assert read(tmp_path, MEASURED) == (Figure("a", 5, 1, 2000, 0, 50.0, 1.0, "metrics.json"),)


def changed(raw: dict[str, Any], **first_result: Any) -> dict[str, Any]:
    return {**raw, "results": [{**raw["results"][0], **first_result}, *raw["results"][1:]]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{", r"is not JSON.* `a2m2 evaluate --out FILE` writes"),
        ("[" * 100_000, r"is not JSON.* `a2m2 evaluate --out FILE` writes"),
        ("[]", r"has another form.* `a2m2 evaluate --out FILE` writes"),
        ({"results": []}, r"has another form.* `a2m2 evaluate --out FILE` writes"),
        (
            {**MEASURED, "weights": {"mine": "00" * 32, "other": "11" * 32}},
            "is about other weights",
        ),
        ({**EVALUATED, "results": []}, "has no figure of these weights"),
        ({**EVALUATED, "way": 1}, "way is 1"),
        ({**EVALUATED, "episodes": True}, "episodes is True"),
        (changed(EVALUATED, accuracy=float("nan")), "NaN is no number"),
        (changed(EVALUATED, accuracy=100.1), "accuracy is 100.1"),
        (changed(EVALUATED, accuracy="61"), "accuracy is '61'"),
        (changed(EVALUATED, interval=-1), "interval is -1"),
        (changed(EVALUATED, status="untrained"), "untrained head"),
        (changed(MEASURED, data=" "), "does not name its data"),
        (changed(MEASURED, data=3), "does not name its data"),
    ],
)
def test_receipts_are_read_strictly(tmp_path: Path, raw: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        read(tmp_path, raw)


def test_a_missing_receipt(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot read the receipt"):
        read_figures(tmp_path / "none.json", weights_hash=HASH, method="a2m2")
