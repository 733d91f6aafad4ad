"""Clips on the Hub by their address, ``hf://``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import COMMIT, TOKEN, Hub, Repo, point_client_at, serving
from makers import draw_video
from web import forget, soon

from a2m2_zoo._utils.remote import reading
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.data.index import find_clips
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.video import Preprocess, read_clip
from a2m2_zoo.video.content import content_hash

SPEC = Preprocess(frames=4, resize=48, size=48)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return draw_video(tmp_path / "0.mp4", 8, size=(64, 64))


@pytest.fixture
def repo(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A repository with one clip."""
    soon(monkeypatch)
    forget()
    with serving() as hub:
        hub.repos["org/clips"] = Repo({COMMIT: {"0.mp4": clip.read_bytes()}}, head=COMMIT)
        point_client_at(hub, tmp_path / "hf", monkeypatch)
        yield hub
        forget()


@pytest.mark.parametrize("whole", [True, False])
def test_a_clip_of_the_hub(
    repo: Hub, clip: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(reading, "_WHOLE", 0)
        monkeypatch.setattr(reading, "_BLOCK", 1000)
    there, here = read_clip("hf://org/clips/0.mp4", SPEC), read_clip(clip, SPEC)
    assert np.array_equal(there.frames, here.frames)
    assert content_hash("hf://org/clips/0.mp4") == content_hash(clip)
    assert find_clips("hf://org/clips").clips == (place("hf://org/clips/0.mp4"),)


def test_what_is_not_there_or_not_for_everybody(repo: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoNotFoundError, match=r"hf://org/clips/none\.mp4: there is nothing"):
        read_clip("hf://org/clips/none.mp4", SPEC)
    with pytest.raises(VideoError, match=r"hf://org/none/0\.mp4: there is nothing"):
        read_clip("hf://org/none/0.mp4", SPEC)
    repo.repos["org/clips"].private = True
    forget()
    with pytest.raises(VideoError, match=r"access is refused \(401\): log in with `hf auth login`"):
        read_clip("hf://org/clips/0.mp4", SPEC)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    forget()
    assert read_clip("hf://org/clips/0.mp4", SPEC).count == 8
