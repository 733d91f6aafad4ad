from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest

from a2m2_zoo import SupportBank, build_bank, classify, load_model
from a2m2_zoo.errors import ArgumentError, DependencyError, SaveError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.report.explain import check_ready, explain
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import read_clip

# Names that a careless picture would stumble over: mathematics, length, another script.
NAMES = {"wave": "a $cost$ of _waving_", "kick": "x" * 90, "jump": "跳ぶ"}


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def bank(model: Model) -> SupportBank:
    supports = {name: [draw_named(action, 0, studio=2)] for action, name in NAMES.items()}
    return build_bank(supports, model=model)


def picture(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_the_picture_shows_the_query_and_both_matches(
    model: Model, bank: SupportBank, tmp_path: Path
) -> None:
    query = draw_named("kick", 1, studio=2)
    answer = classify(query, bank, model=model, reject_below=0.999, plans=True)
    clip = read_clip(query, model.preprocess)
    drawn = picture(explain(answer, clip, bank, tmp_path / "why.png"))
    assert drawn.shape == (814, 1672, 3)
    blank = explain(answer, read_clip(query * 0, model.preprocess), bank, tmp_path / "black.png")
    changed = (drawn != picture(blank)).any(-1)
    rows = np.flatnonzero(changed.mean(1) > 0.2)
    assert 100 < len(rows) < 200  # the query's row and no other depends on the query's pixels
    assert (drawn.std(-1) > 30).mean() > 0.04  # coloured frames, lines and bars


def test_one_probability_and_no_plans_still_make_a_picture(
    model: Model, bank: SupportBank, tmp_path: Path
) -> None:
    query = draw_named("wave", 1, studio=2)
    single = classify(query, bank, model=model, top_k=1, plans=True)
    clip = read_clip(query, model.preprocess)
    explain(single, clip, bank, tmp_path / "one.png")
    baseline = load_model("protonet-lite0")
    plain = build_bank({n: [draw_named(a, 0)] for a, n in NAMES.items()}, model=baseline)
    explain(classify(query, plain, model=baseline), clip, plain, tmp_path / "plain.svg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.png", "plain.svg"]


def test_what_would_fail_later_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArgumentError, match=r"should end in \.png"):
        check_ready(tmp_path / "why.doc")
    with pytest.raises(SaveError, match="does not exist; create it"):
        check_ready(tmp_path / "no" / "why.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match=r"a2m2_zoo\[pictures\]"):
        check_ready(tmp_path / "why.png")
