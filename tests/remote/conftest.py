"""Clips, a web server and a bucket that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from makers import draw_video
from makers_models import tiny_model
from web import Bucket, Web, bucket, environment, forget, serving, soon

from a2m2_zoo._utils.remote import reading


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes no time, supports of two classes, four clips."""
    root = tmp_path_factory.mktemp("remote")
    (root / "tiny").mkdir()
    tiny_model(root / "tiny", "tiny")
    for i in range(2):
        draw_video(root / "supports" / "right" / f"{i}.mp4", 6 + i, size=(64, 64))
        draw_video(root / "supports" / "back" / f"{i}.mp4", 6 + i, size=(64, 64), speed=-7)
    for i, suffix in enumerate(("mp4", "mkv", "avi", "ts")):
        draw_video(root / "clips" / f"{i}.{suffix}", 6 + i, size=(64, 64), speed=3 - i)
    return root


@pytest.fixture(scope="session")
def served() -> Iterator[Bucket]:
    with bucket() as made:
        yield made


@pytest.fixture
def s3(served: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket, and the environment to reach it."""
    for name, value in environment(served).items():
        monkeypatch.setenv(name, value)
    soon(monkeypatch)
    forget()
    yield served
    forget()


@pytest.fixture
def web(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server with the clips."""
    soon(monkeypatch)
    forget()
    with serving({file.name: file.read_bytes() for file in (work / "clips").iterdir()}) as made:
        yield made
        forget()


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest object is read by ranges."""
    monkeypatch.setattr(reading, "_WHOLE", 0)
    monkeypatch.setattr(reading, "_BLOCK", 500)
    monkeypatch.setattr(reading, "_BLOCKS", 2)
