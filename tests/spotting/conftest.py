"""A long video, and supports of what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from spotting_maker import long_video, supports

from a2m2_zoo import SupportBank, build_bank, load_model
from a2m2_zoo.recognition.model import Model


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def bank(model: Model, tmp_path_factory: pytest.TempPathFactory) -> SupportBank:
    return build_bank(supports(tmp_path_factory.mktemp("few") / "supports"), model=model)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_video(tmp_path_factory.mktemp("long") / "long.mp4")
