from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub, point_client_at, serving


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
