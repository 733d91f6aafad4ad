"""The page's own HTML: what it says, and that no name can be more than a name."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import av
import numpy as np
import pytest
import torch

from a2m2_zoo import Prediction, SupportBank
from a2m2_zoo.app import view
from a2m2_zoo.archive import Hit
from a2m2_zoo.recognition.episode import Plan
from a2m2_zoo.spotting import UNKNOWN, Segment
from a2m2_zoo.video.png import data_address

EVIL = '<img src=x onerror="alert(1)">"\'&\u202e'


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def tags(html: str) -> _Tags:
    parser = _Tags()
    parser.feed(html)
    return parser


def prediction(**changes: object) -> Prediction:
    values: dict[str, object] = {
        "query": "q.mp4",
        "label": EVIL,
        "probabilities": {EVIL: 0.875, "wave": 0.125},
        "margin": 0.75,
        "rejected": False,
        "frames": (1, 2),
        "model": "m",
        "seconds": 0.25,
        "warnings": (f"only {EVIL}",),
    }
    return Prediction(**{**values, **changes})


def bank(count: int = 1) -> SupportBank:
    return SupportBank(
        class_names=(EVIL,),
        labels=(0,) * count,
        descriptors={"d": torch.zeros(count, 2)},
        thumbnails=torch.zeros(count, 8, 10, 12, 3, dtype=torch.uint8),
        sources=(EVIL,) * count,
        model="m",
        weights_hash="0",
    )


@pytest.mark.parametrize(
    "html",
    [
        view.answer(prediction(), EVIL),
        view.answer(prediction(rejected=True)),
        view.class_row(bank(), 0),
        view.segments([Segment(0.0, 1.0, EVIL, 0.5)]),
        view.note(EVIL, bad=True),
        view.top(EVIL),
        view.heading(EVIL, EVIL),
    ],
)
def test_names_stay_names(html: str) -> None:
    found = tags(html)
    assert "onerror" not in found.attributes
    assert found.tags.count("img") == html.count("data:image/png;base64,")
    assert "\u202e" not in html


def test_an_answer_says_how_sure_it_is() -> None:
    said = view.answer(prediction(), "wave")
    assert "88%" in said
    assert "width:87.5%" in said
    assert "Margin 0.75" in said
    assert "which is wrong" in said
    assert "Unknown" not in said
    assert "Unknown" in view.answer(prediction(rejected=True))
    many = {f"c{i}": 1 / 14 for i in range(14)}
    assert "and 4 less probable" in view.answer(prediction(label="c0", probabilities=many))


def test_an_answer_says_what_it_stands_on() -> None:
    assert "a-grounds" not in view.answer(prediction())
    seen = view.answer(prediction(known=0.75, pose_frames=1))
    assert "<dt>Any of these classes</dt><dd>75%</dd>" in seen
    assert "<dt>People</dt><dd>seen in 1 of 2 frames</dd>" in seen
    plan = Plan(0, np.eye(2) / 2, np.eye(2))
    drawn = view.answer(prediction(pose_frames=2, plans={EVIL: plan}))
    assert "seen in 2 of 2 frames, drawn in the picture below" in drawn
    assert "nobody seen</dd>" in view.answer(prediction(pose_frames=0, plans={EVIL: plan}))


def test_segments_are_a_table_in_order() -> None:
    found = view.segments(
        [Segment(0.0, 61.25, "wave", 0.9), Segment(61.25, 3700.0, UNKNOWN, 0.4, known=False)]
    )
    assert "<td>0:00.0</td><td>1:01.2</td>" in found
    assert "<td>61:40.0</td>" in found
    assert found.count('class="none"') == 1
    assert "None of the classes" in view.segments([])


def test_a_place_with_a_small_probability_is_not_nought() -> None:
    def shown(score: float) -> str:
        said = view.place(1, Hit("/videos/a.mp4", 1.0, 3.0, "kick", score, "0"))
        return said.partition("<b>")[2].partition("</b>")[0]

    assert shown(0.004) == shown(0.0) == shown(0.0099) == "1. <bdi>kick</bdi><span>&lt;1%</span>"
    assert shown(0.01).endswith("<span>1%</span>")
    assert "only the order counts" in view.found(1)
    assert view.found(1).startswith("1 place found")
    assert view.found(0) == "0 places found."


def test_thumbnails_are_the_frames(tmp_path: object) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    kind, data = data_address(frame).split(",")
    assert kind == "data:image/png;base64"
    with av.open(io.BytesIO(base64.b64decode(data))) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.array_equal(shown, frame)
    many = view.class_row(bank(9), 0)
    assert many.count("<img") == 6
    assert "+3" in many


def test_a_note_is_one_line() -> None:
    assert "\n" not in view.note("first\nsecond")
    assert view.note("") == ""
    assert 'role="alert"' in view.note("x", bad=True)
