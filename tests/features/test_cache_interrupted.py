from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cache_maker import Counting, direct, joined, same, shard_files

from a2m2_zoo.backbones.base import Backbone
from a2m2_zoo.errors import A2M2Error, SaveError
from a2m2_zoo.features import (
    DamagedShardWarning,
    FeatureCache,
    filling,
    shards,
)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=repr)
def test_what_was_finished_is_written_before_an_error_goes_up(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    counted: Callable[..., Counting],
    error: BaseException,
) -> None:
    counted(stop=3, error=error)
    with pytest.raises(type(error)):
        make().fill(clips, workers=1)
    assert make().missing(clips) == clips[3:]


def test_ctrl_c_while_a_shard_is_written_loses_nothing(
    make: Callable[..., FeatureCache], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "SHARD_CLIPS", 2)
    plain, calls = shards.write_atomically, []

    def interrupted(path: Path, write: Callable[[Path], object]) -> Path:
        if path.suffix == ".safetensors":
            calls.append(path)
            if len(calls) == 1:
                raise KeyboardInterrupt
        return plain(path, write)

    monkeypatch.setattr(shards, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make().fill(clips, workers=1)
    assert make().missing(clips) == clips[2:]


def test_a_full_disk_is_one_line_and_finished_shards_stay(
    make: Callable[..., FeatureCache], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "SHARD_CLIPS", 2)
    plain, calls = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) == 2:
            plain(path, data[:10])
            raise OSError(28, "No space left on device")
        return plain(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SaveError, match="No space left on device") as caught:
        make().fill(clips, workers=1)
    assert len(calls) == 2  # it did not try again
    assert "\n" not in str(caught.value)
    assert make().missing(clips) == clips[2:]
    assert not list(make().folder.glob(".*"))


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, make: Callable[..., FeatureCache], clips: list[Path]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(A2M2Error) as caught:
        make().fill(clips, workers=1)
    assert "\n" not in str(caught.value)


def test_a_read_only_cache_can_be_read(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make().fill(clips, workers=1)
    (shard,) = shard_files(make())

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    list(make().read(clips))
    sound = shard.read_bytes()
    shard.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    cache = make()
    with pytest.warns(DamagedShardWarning), pytest.raises(A2M2Error, match="lacks 7 of 7"):
        list(cache.read(clips))
    assert cache.missing(clips) == clips  # and no second warning


def test_what_a_killed_writer_left_is_removed_and_nothing_else(
    make: Callable[..., FeatureCache], clips: list[Path]
) -> None:
    cache = make()
    cache.folder.mkdir(parents=True)
    foreign = cache.folder / ".notes.safetensors"
    left = cache.folder / ".a2m2-0123456789abcdef.safetensors"
    for path in (foreign, left):
        path.write_bytes(b"half")
    assert make().missing(clips) == clips  # readers pass it over
    assert cache.fill(clips[:1], workers=1) == {}
    assert foreign.exists()
    assert not left.exists()


def test_shards_are_written_by_bytes_and_by_time(
    make: Callable[..., FeatureCache], clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "SHARD_BYTES", 1)
    make().fill(clips[:3], workers=1)
    assert len(shard_files(make())) == 3
    monkeypatch.undo()
    monkeypatch.setattr(filling, "SHARD_SECONDS", -1.0)
    make().fill(clips[3:5], workers=1)
    assert len(shard_files(make())) == 5


# Two processes

PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.features import FeatureCache, filling
from a2m2_zoo.video import Preprocess
filling.SHARD_CLIPS, filling.SHARD_SECONDS = 2, float("inf")
def pause(done, total):
    if done in (1, 5):
        print(done, flush=True)
        sys.stdin.readline()
for line in iter(sys.stdin.readline, ""):
    cache = FeatureCache(line.strip(), backbone=build_backbone("tiny"), backbone_hash="abc",
        preprocess=Preprocess(frames=4, resize=64, size=64), stages=["s14", "s7"])
    print(cache.fill([Path(c) for c in sys.argv[1:]], workers=1, progress=pause), flush=True)
"""


def test_two_processes_fill_one_cache_and_a_killed_one_loses_little(
    tmp_path: Path,
    make: Callable[..., FeatureCache],
    clips: list[Path],
    backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filling, "SHARD_CLIPS", 3)
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, clips)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    next_line = child.stdout.readline

    def tell(line: object) -> None:
        print(line, file=child.stdin, flush=True)

    try:
        tell(tmp_path / "cache")
        assert next_line() == "1\n"  # it has one clip, and nothing on disk
        assert make().fill(clips[::-1], workers=1) == {}
        tell("go on")
        assert next_line() == "5\n"
        tell("go on")
        assert next_line() == "{}\n"
        tell(tmp_path / "killed")
        assert next_line() == "1\n"
        tell("go on")
        assert next_line() == "5\n"
    finally:
        child.kill()
        child.communicate()
    assert len(shard_files(make())) == 3 + 4
    assert same(joined(list(make().read(clips))), direct(backbone, clips))
    rest = make(folder=tmp_path / "killed")
    assert rest.missing(clips) == clips[4:]
    assert rest.fill(clips, workers=1) == {}
    assert same(joined(list(rest.read(clips))), direct(backbone, clips))
