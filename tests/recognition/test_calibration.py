from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.recognition.calibration import fitted_scale, shipped_scale


def test_supports_that_confirm_each_other_raise_the_scale_and_noise_lowers_it() -> None:
    labels = torch.arange(5).repeat_interleave(6)
    clear = 0.1 * torch.nn.functional.one_hot(labels, 5).float()
    torch.manual_seed(0)
    noise = 0.1 * torch.randn(30, 5)
    assert fitted_scale(clear, labels, prior=20.0) > 25
    assert fitted_scale(noise, labels, prior=20.0) < 15
    assert float(fitted_scale(clear[:0], labels[:0], prior=20.0)) == pytest.approx(20.0)


def test_many_supports_recover_the_scale_that_made_their_labels() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4000, 5)
    labels = (logits * 3).softmax(-1).multinomial(1)[:, 0]
    assert fitted_scale(logits, labels, prior=1.0) == pytest.approx(3.0, rel=0.15)


@given(st.dictionaries(st.integers(1, 50), st.floats(0.1, 100), min_size=1), st.floats(0.2, 100))
def test_shipped_scale_stays_within_its_table(table: dict[int, float], shot: float) -> None:
    value = shipped_scale(table, shot)
    assert min(table.values()) * (1 - 1e-9) <= value <= max(table.values()) * (1 + 1e-9)
    for known, expected in table.items():
        assert math.isclose(shipped_scale(table, known), expected)
