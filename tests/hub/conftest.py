from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, point_client_at, serving

from a2m2_zoo.zoo import computed, training_free


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub that this process's client speaks to, with an empty cache in ``tmp_path / "hf"``."""
    with serving() as server:
        point_client_at(server, tmp_path / "hf", monkeypatch)
        yield server


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waiting costs nothing; the seconds that would have passed are listed."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which nobody else looks: the head of a backbone is computed for its first test."""
    return tmp_path_factory.mktemp("heads")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, heads: Path) -> None:
    """Heads are computed of a handful of clips of one studio."""
    amounts = training_free.Amounts(statistics=1, classes=2, clips=2, episodes=4)
    monkeypatch.setattr(training_free, "_STUDIOS", (0,))
    monkeypatch.setattr(computed, "Amounts", lambda: amounts)
    monkeypatch.setenv("A2M2_CACHE", str(heads))
