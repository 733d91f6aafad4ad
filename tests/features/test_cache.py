from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cache_maker import SPEC, Counting, direct, joined, old, same

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.backbones.base import Backbone
from a2m2_zoo.cli import main
from a2m2_zoo.errors import A2M2Error, ArgumentError, VideoError
from a2m2_zoo.features import (
    FeatureCache,
    default_cache,
    encode_clips,
)
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.methods import build_method
from a2m2_zoo.video import Preprocess, read_clip

# What goes in comes out


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_features_come_back_to_the_bit_in_the_order_asked(
    make: Callable[..., FeatureCache], clips: list[Path], backbone: Backbone, batch: int
) -> None:
    assert make().fill(clips, workers=1) == {}
    wanted = [clips[i] for i in (5, 0, 3, 3, 6, 1)]
    pieces = list(make().read(wanted, batch=batch))
    assert [len(p.pooled) for p in pieces] == [min(batch, 6 - i) for i in range(0, 6, batch)]
    assert same(joined(pieces), direct(backbone, wanted))
    assert pieces[0].pooled.requires_grad is False
    assert not pieces[0].pooled.is_inference()  # training may use it


def test_half_keeps_half_the_bytes_and_gives_the_backbones_precision(
    make: Callable[..., FeatureCache], clips: list[Path], backbone: Backbone
) -> None:
    full, half = make(), make(half=True)
    for cache in (full, half):
        cache.fill(clips, workers=1)
    found, truth = joined(list(half.read(clips))), direct(backbone, clips)
    assert found.pooled.dtype == torch.float32
    assert torch.equal(found.maps["s7"], truth.maps["s7"].half().float())
    payload = sum(t.nbytes for t in [*truth.maps.values(), truth.pooled])
    assert full.size - half.size == pytest.approx(payload / 2, abs=500)  # headers differ a little


def test_a_method_scores_the_same_with_and_without_the_cache(
    tmp_path: Path, clips: list[Path]
) -> None:
    model = load_model()
    cache = FeatureCache(
        tmp_path,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=model.preprocess,
        stages=model.method.stages,
        people=True,
    )
    some = clips[:3]
    assert cache.fill(some, workers=1) == {}
    truth = model.encode([read_clip(clip, model.preprocess) for clip in some])
    model.method.train()
    found = encode_clips(model.method, cache.read(some))
    assert model.method.training
    model.method.eval()
    assert list(found) == list(truth)
    for name, tensor in truth.items():
        assert torch.equal(found[name], tensor), name


def test_methods_encode_in_evaluation_mode() -> None:
    method = build_method("protonet", {})
    modes: list[bool] = []
    method.encode = lambda features: modes.append(method.training) or {}  # type: ignore
    encode_clips(method.train(), [Features({}, torch.ones(2, 4, 3))])
    assert modes == [False, False]
    assert method.training


def test_encode_clips_of_nothing_says_so() -> None:
    with pytest.raises(ArgumentError, match="no features"):
        encode_clips(build_method("protonet", {}), [])


def test_no_clips_are_no_features(make: Callable[..., FeatureCache]) -> None:
    cache = make()
    assert cache.fill([]) == {}
    assert list(cache.read([])) == []
    assert cache.missing([]) == []


# Only what is missing is computed


def test_a_second_run_computes_and_reads_nothing(
    make: Callable[..., FeatureCache],
    clips: list[Path],
    counted: Callable[..., Counting],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = counted()
    make().fill(clips[:4], workers=1)
    assert first.seen == 4
    counts: list[tuple[int, int]] = []
    make().fill(clips, workers=1, progress=lambda *c: counts.append(c))
    assert first.seen == 7
    assert counts == [(i, 7) for i in range(1, 8)]

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("a2m2_zoo.video.content.file_digest", refuse)
    assert make().fill(clips, workers=1) == {}
    assert make().missing(clips) == []
    assert first.seen == 7


def test_moved_clips_hit_and_changed_ones_miss(
    make: Callable[..., FeatureCache], clips: list[Path]
) -> None:
    make().fill(clips, workers=1)
    moved = clips[0].rename(clips[0].with_name("another name.mp4"))
    # Same size and name, other content, another time of change.
    swapped = clips[1].read_bytes()
    clips[1].write_bytes(swapped[:-1] + bytes([swapped[-1] ^ 1]))
    assert make().missing([moved, *clips[1:]]) == [clips[1]]
    with pytest.raises(A2M2Error, match=r"lacks 1 of 2 clips: .*1\.mp4"):
        make().read([moved, clips[1]])


def test_a_clip_of_this_moment_is_not_remembered(tmp_path: Path) -> None:
    """It could change again within the same tick of the file system's clock."""
    file, memory = tmp_path / "a.mp4", tmp_path / "clips.jsonl"
    file.write_bytes(b"one")
    now = time.time_ns()
    os.utime(file, ns=(now, now))
    one = Identities(memory).of(file)
    identities = Identities(memory)
    identities.of(file)
    identities.save()
    file.write_bytes(b"two")
    os.utime(file, ns=(now, now))
    assert Identities(memory).of(file) != one
    assert identities.of(file) != one


def test_frame_folders_are_their_names_and_contents(
    tmp_path: Path, make: Callable[..., FeatureCache]
) -> None:
    def folder(name: str, shades: dict[str, int]) -> Path:
        (tmp_path / name).mkdir()
        for file, shade in shades.items():
            cv2.imwrite(str(tmp_path / name / file), np.full((64, 64, 3), shade, np.uint8))
        (tmp_path / name / "notes.txt").write_text(name)
        return old(tmp_path / name)

    one = folder("one", {"1.png": 10, "2.png": 200})
    twin = folder("twin", {"1.png": 10, "2.png": 200})
    turned = folder("turned", {"1.png": 200, "2.png": 10})
    renamed = folder("renamed", {"1.png": 10, "3.png": 200})
    make().fill([one], workers=1)
    assert make().missing([one, twin, turned, renamed]) == [turned, renamed]
    (one / "2.png").unlink()
    assert make().missing([one]) == [one]


def test_equal_clips_are_computed_once(
    make: Callable[..., FeatureCache], clips: list[Path], counted: Callable[..., Counting]
) -> None:
    twin = clips[0].with_name("twin.mp4")
    shutil.copy(clips[0], twin)
    counter = counted()
    cache = make()
    assert cache.fill([clips[0], twin, clips[0]], workers=1) == {}
    assert counter.seen == 1
    assert cache.missing([clips[0], twin]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"backbone_hash": "abd"},
        {"preprocess": Preprocess(frames=5, resize=64, size=64)},
        {"stages": ["s7"]},
        {"half": True},
        {"backbone": "double"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_key_has_its_own_folder(
    make: Callable[..., FeatureCache], clips: list[Path], change: dict[str, object]
) -> None:
    if change == {"backbone": "double"}:
        change = {"backbone": build_backbone("tiny").double()}
    cache = make()
    cache.fill(clips[:1], workers=1)
    assert make(**change).missing(clips[:1]) == clips[:1]
    assert make(stages=["s7", "s14"]).missing(clips[:1]) == []
    facts = json.loads((cache.folder / "key.json").read_text())
    assert facts["backbone"] == "tiny"
    assert facts["backbone_hash"] == "abc"
    assert facts["preprocess"] == SPEC.to_dict()


def test_a_memory_that_was_cut_short_costs_one_line(tmp_path: Path, clips: list[Path]) -> None:
    memory = tmp_path / "clips.jsonl"
    identities = Identities(memory)
    truth = [identities.of(clip) for clip in clips[:2]]
    identities.save()
    memory.write_bytes(b"[1]\n{\n\xff\n" + memory.read_bytes()[:-9])
    again = Identities(memory)
    again.of(clips[2])
    again.save()
    assert [Identities(memory).of(clip) for clip in clips[:2]] == truth
    lines = [line for line in memory.read_bytes().splitlines() if line]
    assert json.loads(lines[-1])[0] == str(clips[2])
    assert json.loads(lines[3])[0] == str(clips[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ["s9"]}, "expected a list out of s14, s7"),
        ({"stages": "s7"}, "expected a list"),
        ({"preprocess": Preprocess(sampling="random")}, "needs sampling='centres'"),
    ],
)
def test_what_cannot_be_cached_is_refused(
    make: Callable[..., FeatureCache], change: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(**change)


def test_wrong_calls_are_refused(make: Callable[..., FeatureCache], clips: list[Path]) -> None:
    with pytest.raises(ArgumentError, match="batch is 0"):
        make().read(clips, batch=0)
    with pytest.raises(ArgumentError, match="workers is 0"):
        make().fill(clips, workers=0)
    with pytest.raises(ArgumentError, match="training mode"):
        make(backbone=build_backbone("tiny").train()).fill(clips)
    with pytest.raises(VideoError, match="no such file"):
        Identities(clips[0]).of(clips[0].with_name("gone"))


def test_an_error_names_a_few_clips_and_counts_the_rest(
    make: Callable[..., FeatureCache], tmp_path: Path
) -> None:
    with pytest.raises(A2M2Error, match=r"lacks 20 of 20 clips: .*'7' and 12 more; call fill"):
        make().read([Path(str(i)) for i in range(20)])


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A2M2_CACHE", "here")
    assert default_cache() == Path("here")
    monkeypatch.delenv("A2M2_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "a2m2" / "features"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_cache() == tmp_path / ".cache" / "a2m2" / "features"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_cache() == tmp_path / "Library" / "Caches" / "a2m2" / "features"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert default_cache() == tmp_path / "local" / "a2m2" / "features"


def test_the_command_fills_and_says_what_failed(
    tmp_path: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, cache = tmp_path / "data", str(tmp_path / "kept")
    for i, name in enumerate(("a", "b")):
        (data / name).mkdir(parents=True)
        shutil.copy(clips[i], data / name / "one.mp4")
    assert main(["features", str(data), "--cache", cache, "--workers", "1"]) == 0
    assert "2 clips, 0 failed, " in capsys.readouterr().out
    (data / "b" / "bad.mp4").write_text("no clip")
    assert main(["features", str(data), "--cache", cache, "--workers", "1"]) == 1
    out = capsys.readouterr().out
    assert out.count("bad.mp4") == 1
    assert "3 clips, 1 failed, " in out
    assert main(["features", str(tmp_path / "nowhere"), "--cache", cache]) == 2
    assert "there is no" in capsys.readouterr().err
    assert main(["features", str(data), "--cache", cache, "--stages", "s9"]) == 2
