"""Arrays in other layouts, where the caller says which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers_models import tiny_model

from a2m2_zoo import build_bank, classify, load_model
from a2m2_zoo.errors import A2M2Error, ArgumentError, VideoError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video.layout import Layout

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 32, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(tiny_model(tmp_path_factory.mktemp("tiny")))


FORMS: list[tuple[str, Any]] = [
    ("THWC", FRAMES),
    ("TCHW", FRAMES.transpose(0, 3, 1, 2)),
    ("CTHW", torch.from_numpy(FRAMES.transpose(3, 0, 1, 2).copy())),
    ("TCHW 0..1", torch.from_numpy(FRAMES.transpose(0, 3, 1, 2) / 255).float()),
    ("THWC 0..255", FRAMES.astype(np.float32)),
    ("CTHW -1..1", FRAMES.transpose(3, 0, 1, 2) / 127.5 - 1),
    ("TCHW 0..1", torch.from_numpy(FRAMES.transpose(0, 3, 1, 2) / 255).half()),
]


@pytest.mark.parametrize(
    ("layout", "array"), FORMS, ids=[f"{n}-{f}" for n, (f, _) in enumerate(FORMS)]
)
def test_every_layout_is_the_same_clip(layout: str, array: Any, model: Model) -> None:
    assert np.array_equal(Layout.parse(layout).frames(array), FRAMES)
    supports = {"a": [FRAMES], "b": [FRAMES[::-1].copy()]}
    bank = build_bank(supports, model=model)
    want = classify(FRAMES, bank, model=model)
    assert classify(array, bank, model=model, layout=layout) == want
    assert model.embed(array, layout=layout).pooled.equal(model.embed(FRAMES).pooled)
    own = build_bank({"a": [array], "b": [array]}, model=model, layout=layout)
    assert own.descriptors["mean"][0].equal(bank.descriptors["mean"][0])
    assert model.similarity(array, layout=layout).tolist() == [[1.0]]
    assert model.similarity([array], bank, layout=layout).equal(model.similarity(FRAMES, bank))
    assert bank.search(array, model=model, layout=layout) == bank.search(FRAMES, model=model)
    batch = np.stack([np.asarray(array)] * 2)
    assert len(classify(batch, bank, model=model, layout=layout)) == 2


def test_dark_clips_and_numbers_of_eight_bits_of_mantissa_are_taken() -> None:
    dark = FRAMES % 2
    assert np.array_equal(Layout.parse("THWC 0..255").frames(dark.astype(np.float32)), dark)
    halved = torch.from_numpy(FRAMES // 2 * 2).to(
        torch.bfloat16
    )  # which 8 bits hold for the most part
    found = Layout.parse("THWC 0..255").frames(halved).astype(int)
    assert np.abs(found - FRAMES).max() <= 2


def test_paths_and_pictures_stay_what_they_are(model: Model, tmp_path: Path) -> None:
    from makers import draw_video

    clip = draw_video(tmp_path / "a.mp4")
    bank = build_bank({"a": [clip], "b": [FRAMES]}, model=model)
    mixed = [str(clip), list(FRAMES), FRAMES.transpose(0, 3, 1, 2)]
    answers = classify(mixed, bank, model=model, layout="TCHW")
    assert [a.label for a in answers] == ["a", "b", "b"]


@pytest.mark.parametrize(
    "layout", ["TCH", "TCHWX", "TTHW", "tchw", "TCHW 0-1", "TCHW 1..0", "", 3, b"TCHW"]
)
def test_what_is_no_layout(layout: Any, model: Model) -> None:
    with pytest.raises(ArgumentError, match="layout is"):
        model.embed(FRAMES, layout=layout)


@pytest.mark.parametrize(
    ("layout", "array", "message"),
    [
        ("TCHW", FRAMES, "is not TCHW with three channels"),
        ("TCHW 0..1", FRAMES.transpose(0, 3, 1, 2), r"values from 0 to 255 where 0..1 was said"),
        ("THWC", FRAMES / 255, "float64, not bytes: say the range"),
        ("THWC 0..1", FRAMES * np.nan, "where 0..1 was said"),
        ("THWC 0..255", FRAMES / 255, r"values from 0 to 1 where 0..255 was said, which is black"),
        ("THWC 0..1", FRAMES[:0] / 255, "holds no frames"),
        ("THWC 0..1", FRAMES[..., :2] / 255, "is not THWC"),
    ],
)
def test_a_clip_that_does_not_fit_is_an_error_in_its_place(
    layout: str, array: Any, message: str, model: Model
) -> None:
    bank = build_bank({"a": [FRAMES], "b": [FRAMES[::-1].copy()]}, model=model)
    fine = np.zeros([{"T": 2, "C": 3, "H": 8, "W": 8}[axis] for axis in layout[:4]], np.uint8)
    answers = classify([array, fine], bank, model=model, layout=layout, on_error="return")
    assert isinstance(answers[0], VideoError)
    assert not isinstance(answers[1], A2M2Error)
    with pytest.raises(VideoError, match=message) as caught:
        classify(array, bank, model=model, layout=layout)
    assert "\n" not in str(caught.value)
