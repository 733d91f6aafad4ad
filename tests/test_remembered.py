"""What the tests' memory hands out is what would be computed, and it knows other pictures from the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from makers import draw_video
from remembered import anew

from a2m2_zoo import load_model
from a2m2_zoo.synthetic import draw_named, scene
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once")


def test_what_is_remembered_is_what_is_computed() -> None:
    model = load_model(device="cpu")
    drawn = [draw_named("wave", i, size=64) for i in (0, 1, 0)]
    clips = [read_clip(one, model.preprocess) for one in drawn]
    assert np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0], drawn[1])
    remembered = [model.encode([clip]) for clip in clips]
    with torch.inference_mode():
        for value in remembered[0].values():
            value.zero_()  # what somebody does with an answer harms no other
    with anew():
        assert np.array_equal(draw_named("wave", 0, size=64), drawn[0])
        computed = [model.encode([clip]) for clip in clips]
    for found, expected in zip(remembered[1:], computed[1:], strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_it_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import remembered

    drawn: list[object] = []
    compute = remembered._DRAW
    monkeypatch.setattr(
        remembered, "_DRAW", lambda *what, **how: (drawn.append(what), compute(*what, **how))[1]
    )
    first = draw_named("kick", 7, size=32, frames=2)
    first[:] = 0
    assert draw_named("kick", 7, size=32, frames=2).any()
    assert len(drawn) == 1
    draw_named("kick", 7, size=32, frames=3)
    assert len(drawn) == 2
    assert scene.draw_program is remembered._draw


def test_other_processes_of_the_run_find_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import remembered

    monkeypatch.setenv(remembered.FOLDER, str(tmp_path))
    expected = [torch.rand(2, 3), torch.zeros(0, 3)]
    one, other = remembered._Shared(), remembered._Shared()
    assert one.answer("key", lambda: expected)[1] == 24
    found, size = other.answer("key", lambda: pytest.fail("computed again"))
    assert size == 24
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(list(tmp_path.iterdir())) == 1
    other._left = 0
    other.answer("another", lambda: expected)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_file_is_read_once_as_long_as_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    import remembered

    read: list[object] = []
    compute = remembered._READ
    monkeypatch.setattr(
        remembered, "_READ", lambda path, job: (read.append(path), compute(path, job))[1]
    )
    spec, file = load_model(device="cpu").preprocess, draw_video(tmp_path / "a.mp4", 10)
    first = read_clip(file, spec, strict=strict)
    kept = first.frames.copy()
    first.frames[:] = 0
    again = read_clip(file, spec, strict=strict)
    assert np.array_equal(again.frames, kept)
    assert (again.indices, again.source) == (first.indices, first.source)
    assert len(read) == 1
    draw_video(file, 12)
    assert read_clip(file, spec, strict=strict).count == 12
    assert len(read) == 2
