from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cache_maker import SPEC, Counting, old
from makers import draw_video

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.base import Backbone
from a2m2_zoo.features import FeatureCache, filling


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many shards there are is no matter of the machine's speed."""
    monkeypatch.setattr(filling, "SHARD_SECONDS", float("inf"))


@pytest.fixture(scope="module")
def reels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven different clips, made once."""
    folder = tmp_path_factory.mktemp("reels")
    for i in range(7):
        old(draw_video(folder / f"{i}.mp4", 8 + i, size=(64, 96)))
    return folder


@pytest.fixture
def clips(reels: Path, tmp_path: Path) -> list[Path]:
    """Copies that a test may do anything to."""
    shutil.copytree(reels, tmp_path / "clips")
    return sorted((tmp_path / "clips").iterdir())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return build_backbone("tiny")


@pytest.fixture
def make(tmp_path: Path, backbone: Backbone) -> Callable[..., FeatureCache]:
    """A cache that another process might have opened: nothing is shared but the disk."""

    def made(**changes: object) -> FeatureCache:
        given = {
            "folder": tmp_path / "cache",
            "backbone": backbone,
            "backbone_hash": "abc",
            "preprocess": SPEC,
            "stages": ["s14", "s7"],
            **changes,
        }
        return FeatureCache(**given)  # type: ignore[arg-type]

    return made


@pytest.fixture
def counted(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counting]:
    def install(**how: object) -> Counting:
        counter = Counting(backbone, **how)  # type: ignore[arg-type]
        monkeypatch.setattr(backbone, "_encode", counter)
        return counter

    return install
