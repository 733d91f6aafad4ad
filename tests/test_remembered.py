"""What the tests' memory hands out is what would be computed, and it knows other pictures from the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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
