from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from cache_maker import direct, joined, same, shard_files

from a2m2_zoo.backbones.base import Backbone
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.features import DamagedShardWarning, FeatureCache, filling, shards
from a2m2_zoo.features.encoder import Encoder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_broken_clips_are_named_and_the_others_filled(
    make: Callable[..., FeatureCache], clips: list[Path], tmp_path: Path
) -> None:
    text, twin, gone = tmp_path / "text.mp4", tmp_path / "twin.mp4", tmp_path / "gone.mp4"
    text.write_text("no clip")
    twin.write_text("no clip")
    fifo = tmp_path / "fifo.mp4"
    os.mkfifo(fifo)
    empty = tmp_path / "hollow"
    empty.mkdir()
    counts: list[int] = []
    wanted = [text, clips[0], gone, fifo, twin, empty, clips[1]]
    failures = make().fill(wanted, workers=2, progress=lambda done, _: counts.append(done))
    assert list(failures) == [text, gone, fifo, twin, empty]
    assert all(reason and "\n" not in reason for reason in failures.values())
    assert "no such file" in failures[gone]
    assert "neither file nor folder" in failures[fifo]
    assert counts == list(range(1, 8))
    assert make().missing(wanted) == list(failures)


def test_what_half_cannot_hold_fails_by_name(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = backbone._encode
    monkeypatch.setattr(
        backbone, "_encode", lambda frames: (plain(frames)[0], plain(frames)[1] * 1e9)
    )
    assert make().fill(clips[:1], workers=1) == {}
    assert "not finite" in make(half=True).fill(clips[:1], workers=1)[clips[0]]


@pytest.mark.parametrize("at", [0, 100, -20], ids=["header", "list", "tensor"])
def test_a_damaged_shard_is_set_aside_and_filled_again(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    monkeypatch.setattr(filling, "SHARD_CLIPS", 2)
    make().fill(clips, workers=1)
    victim = shard_files(make())[1]
    data = bytearray(victim.read_bytes())
    data[at] ^= 0xFF
    victim.write_bytes(data)
    cache = make()
    with (
        pytest.warns(DamagedShardWarning, match=victim.name) as seen,
        pytest.raises(A2M2Error, match=r"lacks [12] of 7 clips") as caught,
    ):
        list(cache.read(clips, batch=2))
    assert len(seen) == 1
    assert "\n" not in str(seen[0].message)
    lost = cache.missing(clips)
    assert all(repr(str(clip)) in str(caught.value) for clip in lost)
    assert victim.with_name(f"{victim.name}.damaged").exists()
    assert cache.fill(clips, workers=1) == {}
    assert same(joined(list(cache.read(clips))), direct(backbone, clips))


def test_a_truncated_shard_and_one_of_another_cache_are_refused(
    make: Callable[..., FeatureCache], clips: list[Path]
) -> None:
    cache, other = make(), make(stages=["s7"])
    cache.fill(clips[:1], workers=1)
    other.fill(clips[:1], workers=1)
    (own,), (strange,) = shard_files(cache), shard_files(other)
    own.write_bytes(own.read_bytes()[:-1])
    shutil.copy(strange, cache.folder)
    with pytest.warns(DamagedShardWarning) as seen:
        missing = make().missing(clips[:1])
    assert missing == clips[:1]
    assert len(seen) == 2


def test_a_clip_in_two_shards_outlives_one(
    make: Callable[..., FeatureCache], clips: list[Path], backbone: Backbone
) -> None:
    one, two = make(), make()
    two.missing(clips)  # opened before the other wrote
    one.fill(clips[:2], workers=1)
    two._shards.refresh = lambda: None  # type: ignore[method-assign]
    two.fill(clips[1:3], workers=1)
    assert len(shard_files(one)) == 2
    victim = shard_files(one)[0]  # the one that is looked into first
    sound = victim.read_bytes()
    victim.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.warns(DamagedShardWarning):
        pieces = list(make().read(clips[1:2]))
    assert same(joined(pieces), direct(backbone, clips[1:2]))


def test_a_shard_is_hashed_once_per_process(
    make: Callable[..., FeatureCache], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make().fill(clips, workers=1)
    hashed: list[Path] = []
    plain = shards.file_digest
    monkeypatch.setattr(shards, "file_digest", lambda path: hashed.append(path) or plain(path))
    for _ in range(2):
        list(make().read(clips, batch=2))
    assert hashed == shard_files(make())


def test_a_shard_that_was_deleted_is_missing_without_a_fuss(
    make: Callable[..., FeatureCache], clips: list[Path]
) -> None:
    cache = make()
    cache.fill(clips, workers=1)
    other = make()
    assert other.missing(clips) == []
    pieces = cache.read(clips, batch=2)
    next(pieces)
    for shard in shard_files(cache):
        shard.unlink()
    assert other.missing(clips) == clips
    with pytest.raises(A2M2Error, match="lacks 7 of 7 clips"):
        next(pieces)
    assert cache.missing(clips) == clips
    assert cache.size == 0


def test_clips_that_are_encoded_together_stay_apart(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on an accelerator, with a broken clip among them."""
    broken = clips[0].with_name("broken.mp4")
    broken.write_text("no clip")
    # Elsewhere one batch is at work at a time.
    monkeypatch.setattr(Encoder, "device", torch.device("meta"))
    failures = make().fill([clips[0], broken, *clips[1:]])
    assert list(failures) == [broken]
    assert same(joined(list(make().read(clips))), direct(backbone, clips))


def test_filling_mends_what_is_damaged(
    make: Callable[..., FeatureCache], clips: list[Path], backbone: Backbone
) -> None:
    make().fill(clips, workers=1)
    for shard in shard_files(make()):
        data = bytearray(shard.read_bytes())
        data[-5] ^= 0xFF
        shard.write_bytes(data)
    cache = make()
    with pytest.warns(DamagedShardWarning, match="encodes its clips again"):
        assert cache.fill(clips, workers=1) == {}
    assert same(joined(list(cache.read(clips))), direct(backbone, clips))
