"""What is compared, for the tests that compare."""

from __future__ import annotations

import pytest
from compare_maker import BrokenConfig, Guess, GuessConfig, small_model

from a2m2_zoo.methods import METHODS
from a2m2_zoo.recognition.model import Model


@pytest.fixture
def two_more_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "guess", (Guess, GuessConfig))
    monkeypatch.setitem(METHODS, "broken", (Guess, BrokenConfig))


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()
