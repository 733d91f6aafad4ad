"""Predictions: the best classes, a table of many, and what a notebook shows."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import three_classes
from makers_models import tiny_model

from a2m2_zoo import Prediction, build_bank, classify, explain, load_model, to_frame
from a2m2_zoo.errors import (
    ArgumentError,
    BankError,
    DependencyError,
    ModelNotFoundError,
    VideoError,
)
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_clip

pytestmark = pytest.mark.usefixtures("seen_once")

ANSWER = Prediction(
    query="a.mp4",
    label="kick",
    probabilities={"kick": 0.7, "squat": 0.2, "wave": 0.1},
    margin=0.5,
    rejected=False,
    frames=(0, 4),
    model="m",
    seconds=0.1,
    known=0.5,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(tiny_model(tmp_path_factory.mktemp("tiny")))


def test_the_best_classes() -> None:
    assert ANSWER.top(1) == [("kick", 0.7)]
    assert ANSWER.top(2) == [("kick", 0.7), ("squat", 0.2)]
    assert len(ANSWER.top(9)) == 3
    for k in (0, -1, 1.5, None):
        with pytest.raises(ArgumentError, match="k is"):
            ANSWER.top(k)  # type: ignore[arg-type]


def test_one_vocabulary_everywhere() -> None:
    told = ANSWER.to_dict()
    assert told["probability"] == ANSWER.probability == 0.7
    assert told["probabilities"] == ANSWER.probabilities
    row = to_frame(ANSWER).iloc[0]
    assert row["probability"] == 0.7
    assert row["probability:wave"] == 0.1
    assert row["confidence"] == told["confidence"] == pytest.approx(0.35)


def test_a_table_of_many() -> None:
    error = VideoError("b.mp4: no clip")
    frame = to_frame([ANSWER, error, replace(ANSWER, query="c.mp4", warnings=("short", "dark"))])
    assert list(frame["query"]) == ["a.mp4", "", "c.mp4"]
    assert list(frame["error"]) == ["", "b.mp4: no clip", ""]
    assert frame["warnings"][2] == "short; dark"
    assert frame["probability"].isna().tolist() == [False, True, False]
    assert len(to_frame([])) == 0
    assert len(to_frame(error)) == 1
    for bad in (3, [ANSWER, "b"], None):
        with pytest.raises(ArgumentError, match="to_frame was given"):
            to_frame(bad)  # type: ignore[arg-type]


def test_a_table_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DependencyError, match="pip install pandas"):
        to_frame([ANSWER])


def test_what_a_notebook_shows(data: Path, tmp_path: Path) -> None:
    from html.parser import HTMLParser

    steers = replace(ANSWER, query="<b>a\x1b[2J</b>.mp4", label="<i>", probabilities={"<i>": 1.0})
    steers = replace(steers, warnings=("<script>alert(1)</script>",), model='"><x')
    shown = steers._repr_html_()
    seen: list[str] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: seen.append(tag)  # type: ignore[method-assign]
    reader.feed(shown)
    assert set(seen) <= {"div", "b", "small", "table", "tr", "td", "img"}
    assert "img" not in seen  # there is no such file
    assert "\x1b" not in shown
    assert seen.count("b") == 1
    clip = data / "right" / "r0.mp4"
    shown = replace(ANSWER, query=str(clip))._repr_html_()
    (address,) = re.findall(r"src='([^']*)'", shown)
    assert address.startswith("data:image/png;base64,")
    assert "http" not in shown  # it stands alone
    assert len(shown) < 200_000
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    assert "img" not in replace(ANSWER, query=str(broken))._repr_html_()
    assert "<b>unknown</b>" in replace(ANSWER, rejected=True)._repr_html_()


def test_why_of_a_path(data: Path, tiny: Model, tmp_path: Path) -> None:
    clip = data / "right" / "r1.mp4"
    supports = {"right": [data / "right" / "r0.mp4"], "still": [data / "still" / "s0.mp4"]}
    bank = build_bank(supports)
    answer = classify(clip, bank)  # without plans, which are found again
    file = explain(answer, clip, bank, str(tmp_path / "why.png"))
    planned = classify(clip, bank, plans=True)
    again = explain(planned, clip, bank, tmp_path / "again.png")
    assert file.read_bytes() == again.read_bytes()
    saved = bank.save(tmp_path / "bank.safetensors")
    for given in (str(saved), supports):  # what classify takes as supports
        for asked in (answer, planned):
            other = explain(asked, clip, given, tmp_path / "other.png")
            assert other.read_bytes() == file.read_bytes()
    with pytest.raises(ArgumentError, match="give the supports that the answer is from") as caught:
        explain(
            planned, clip, {"a": supports["right"], "still": supports["still"]}, tmp_path / "w.png"
        )
    assert "\n" not in str(caught.value)
    own = build_bank(supports, model=tiny)
    with pytest.raises(BankError, match="not at hand"):
        explain(answer, clip, own, tmp_path / "own.png")
    mine = classify(clip, own, model=tiny)
    with pytest.raises(ModelNotFoundError, match="'tiny'"):  # by the answer's word, not the default
        explain(mine, clip, supports, tmp_path / "own.png")
    assert explain(mine, clip, own, tmp_path / "own.png", model=tiny).exists()
    with pytest.raises(ArgumentError, match="the picture is"):
        explain(answer, clip, bank, None)  # type: ignore[arg-type]


def test_why_of_arrays_in_the_layout_that_classify_was_given(tmp_path: Path) -> None:
    def drawn(label: int, instance: int) -> Any:
        return np.moveaxis(draw_clip(3, label, instance, frames=8), -1, 1) / np.float32(255)

    supports = {"kick": [drawn(0, 0)], "wave": [drawn(1, 0)]}
    clip, layout = drawn(0, 1), "TCHW 0..1"
    answer = classify(clip, supports, layout=layout)
    file = explain(answer, clip, supports, tmp_path / "why.png", layout=layout)
    plain = np.moveaxis((clip * 255).round().astype(np.uint8), 1, -1)
    other = explain(answer, plain, build_bank(supports, layout=layout), tmp_path / "other.png")
    assert file.read_bytes() == other.read_bytes()
    with pytest.raises(VideoError, match="layout"):
        explain(answer, clip, supports, tmp_path / "none.png")
    with pytest.raises(ArgumentError, match="layout is 'XY'"):
        explain(answer, clip, supports, tmp_path / "none.png", layout="XY")


def test_supports_without_a_class_of_the_answer_are_not_drawn(tmp_path: Path) -> None:
    kick, wave = (draw_clip(3, label, 0, frames=8) for label in range(2))
    answer = classify(draw_clip(3, 0, 1, frames=8), {"kick": [kick], "wave": [wave]})
    for supports in ({"a": [kick], "b": [wave]}, build_bank({"kick": [kick], "b": [wave]})):
        with pytest.raises(ArgumentError, match="the supports have none"):
            explain(answer, kick, supports, tmp_path / "none.png")
    with pytest.raises(ArgumentError, match="the answer is a list"):
        explain([answer], kick, {"kick": [kick], "wave": [wave]}, tmp_path / "none.png")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
