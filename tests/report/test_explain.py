from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from a2m2_zoo import Prediction, Recognizer, SupportBank, build_bank, classify, load_model
from a2m2_zoo.errors import ArgumentError, DependencyError, SaveError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.report import explain as module
from a2m2_zoo.report.explain import explain
from a2m2_zoo.report.picture import DARK, LIGHT, Look, check_ready, matplotlib_pyplot
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import Clip, read_clip

pytestmark = pytest.mark.usefixtures("seen_once")

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


def test_the_title_has_the_class_and_the_file_and_the_supports_are_named(
    model: Model, bank: SupportBank, tmp_path: Path
) -> None:
    query = draw_named("kick", 1, studio=2)
    answer = classify(query, bank, model=model, plans=True)
    clip, answer = read_clip(query, model.preprocess), replace(answer, query="shots/a_1.mp4")
    named = replace(bank, sources=("there/wave_7.mp4", "kick_8.mp4", "jump_9.mp4"))
    drawn = explain(answer, clip, named, tmp_path / "why.svg").read_text()
    words = re.findall("<!-- (.*?) -->", drawn)  # every text, in words
    title = words.index(f"{'x' * 59}…, probability {answer.probability:.2f}")
    assert words[title + 1].startswith("a_1.mp4   ·   people seen in")
    for place, name in zip(("winner", "runner-up"), answer.probabilities, strict=False):
        at = next(i for i, said in enumerate(words) if said.startswith(f"{place}: "))
        assert words[at + 1].startswith(Path(named.sources[answer.plans[name].support]).name)


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_all_words_can_be_read_on_their_paper(look: Look) -> None:
    for words in (look.ink, look.soft, look.win, look.runner):
        assert contrast(words, look.paper) >= 4.5  # WCAG 2.2, AA
    assert contrast(look.rest, look.grid) >= 2


def test_a_dark_picture_is_dark_where_a_light_one_is_light(
    model: Model, bank: SupportBank, tmp_path: Path
) -> None:
    query = draw_named("kick", 1, studio=2)
    answer = classify(query, bank, model=model, plans=True)
    clip = read_clip(query, model.preprocess)
    light, dark = (
        picture(explain(answer, clip, bank, tmp_path / f"{dark}.png", dark=dark)).astype(int)
        for dark in (False, True)
    )
    assert light.shape == dark.shape
    assert (light[0, 0].min(), dark[0, 0].max()) == (255, int(DARK.paper[-2:], 16))
    edges = np.r_[0:20, -5:0]
    assert (np.ptp(light[edges], 1) == 0).all()  # nothing is cut at the edges
    words = [one[25:75, 25:500].sum(-1) for one in (light, dark)]
    assert words[0].min() < 150
    assert words[1].max() > 600
    # What is no drawing of ours is as it is: the frames.
    frame = (slice(160, 270), slice(340, 450))
    assert (light[frame] == dark[frame]).mean() > 0.95


def contrast(one: str, other: str) -> float:
    """The contrast of two colours after WCAG 2.2, 1 to 21."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


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


@pytest.fixture(scope="module")
def people() -> tuple[Prediction, Clip, SupportBank]:
    """An answer about drawn people in whom the networks believe, in wide pictures."""

    def wide(name: str, i: int) -> np.ndarray:
        drawn = draw_named(name, i, seed=3, frames=8, size=224, style="scene")
        return np.pad(drawn, ((0, 0), (0, 0), (90, 30), (0, 0)), mode="edge")

    recognizer = Recognizer(load_model(), {n: [wide(n, 0)] for n in ("kick", "jump")})
    clip = read_clip(wide("kick", 2), recognizer.model.preprocess)
    return recognizer(wide("kick", 2), plans=True), clip, recognizer.bank


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written in pictures from now on."""
    said: list[str] = []
    text = matplotlib_pyplot().Figure.text

    def written(figure: Any, x: float, y: float, words: str, **how: Any) -> Any:
        said.append(words)
        return text(figure, x, y, words, **how)

    monkeypatch.setattr(matplotlib_pyplot().Figure, "text", written)
    return said


def test_skeletons_are_drawn_in_all_three_rows_and_nobody_is_looked_for_again(
    people: tuple[Prediction, Clip, SupportBank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction, clip, bank = people
    assert prediction.people is not None
    assert prediction.pose_frames
    monkeypatch.delattr(module, "find_people")
    said = texts(monkeypatch)
    drawn = picture(explain(prediction, clip, bank, tmp_path / "all.png")).astype(int)
    assert f"people seen in {prediction.pose_frames} of 8 frames" in said[1]
    bare = replace(bank, shapes=())  # as of an earlier version
    query = picture(explain(prediction, clip, bare, tmp_path / "query.png"))
    none = replace(prediction, people=None, pose_frames=None)
    plain = picture(explain(none, clip, bank, tmp_path / "plain.png"))
    assert "seen" not in said[-1]
    rows = [slice(134, 262), slice(377, 505), slice(621, 749)]  # winner, query, runner-up
    for one, other, shown in ((drawn, query, [1, 0, 1]), (query, plain, [0, 1, 0])):
        changed = np.abs(one - other.astype(int)).max(-1) > 40
        assert [int(changed[row, 330:1420].sum() > 500) for row in rows] == shown


def test_without_the_people_at_hand_they_are_looked_for(
    people: tuple[Prediction, Clip, SupportBank], tmp_path: Path
) -> None:
    prediction, clip, bank = people
    first = explain(prediction, clip, bank, tmp_path / "first.png")
    again = explain(replace(prediction, people=None), clip, bank, tmp_path / "again.png")
    assert first.read_bytes() == again.read_bytes()


def test_nobody_is_said_to_be_seen_where_nobody_is(
    people: tuple[Prediction, Clip, SupportBank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction, clip, bank = people
    assert prediction.people is not None
    said = texts(monkeypatch)
    nobody = replace(prediction, people=prediction.people * 0, pose_frames=0)
    explain(nobody, clip, bank, tmp_path / "nobody.png")
    assert "nobody seen" in said[1]
