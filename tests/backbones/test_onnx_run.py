"""The embedded networks run by onnxruntime: as torch to 1e-4, the same bits however they are called."""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import a2m2_zoo
from a2m2_zoo import Recognizer, build_bank, load_model
from a2m2_zoo.backbones import Backbone, build_backbone
from a2m2_zoo.backbones.lite import Lite0, lite_graph
from a2m2_zoo.backbones.onnx_run import with_runtime
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, DependencyError
from a2m2_zoo.features import FeatureCache
from a2m2_zoo.pose import BlazePose, build_blazepose, embedded_pose, find_people
from a2m2_zoo.pose.onnx_run import OnnxPose, detector_graph, landmarker_graph, onnx_pose
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named, write_video
from a2m2_zoo.video import Clip, read_clip

pytest.importorskip("onnxruntime", reason='needs onnxruntime: pip install "a2m2_zoo[fast]"')

NAMES = ("kick", "squat")


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {runtime: load_model(runtime=runtime) for runtime in ("torch", "onnxruntime")}


@pytest.fixture(scope="module")
def clips(models: dict[str, Model]) -> list[Clip]:
    drawn = [draw_named(name, i, studio=2, style="scene") for name in NAMES for i in range(2)]
    return [read_clip(frames, models["torch"].preprocess) for frames in drawn]


def near(found: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    """The largest difference, as a share of the largest number."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert float((found - wanted).abs().max()) <= tolerance * float(wanted.abs().max())


@pytest.mark.parametrize("write", [lite_graph, detector_graph, landmarker_graph])
def test_the_files_are_sound_onnx(write: Callable[[Any], bytes]) -> None:
    onnx = pytest.importorskip("onnx", reason='needs onnx: pip install "a2m2_zoo[export]"')
    pose = build_blazepose()
    networks = {
        lite_graph: build_backbone("lite"),
        detector_graph: pose.detector,
        landmarker_graph: pose.landmarker,
    }
    onnx.checker.check_model(onnx.load_from_string(write(networks[write])), full_check=True)


@pytest.mark.parametrize("sides", [(224, 224), (64, 96), (75, 101)])
def test_maps_and_pooled_are_torchs(sides: tuple[int, int]) -> None:
    usual = build_backbone("lite")
    fast = with_runtime(usual, "onnxruntime")
    assert (usual.runtime, fast.runtime) == ("torch", "onnxruntime")
    frames = torch.randn(2, 3, 3, *sides, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, found = usual(frames), fast(frames)
        some = fast(frames, stages=["s7"])
    for stage in usual.stages:
        near(found.maps[stage], wanted.maps[stage])
    near(found.pooled, wanted.pooled)
    assert not found.pooled.equal(wanted.pooled)  # or it was torch all the same
    assert list(some.maps) == ["s7"]
    assert some.maps["s7"].equal(found.maps["s7"])


def test_the_pose_networks_are_torchs() -> None:
    usual = build_blazepose()
    fast = onnx_pose(usual)
    noise = torch.Generator().manual_seed(0)
    for name, side in (("detector", 224), ("landmarker", 256)):
        for count in (1, 2):
            pictures = torch.rand(count, 3, side, side, generator=noise)
            with torch.inference_mode():
                wanted, found = (getattr(net, name)(pictures) for net in (usual, fast))
            for one, other in zip(found, wanted, strict=True):
                near(one, other)


def test_the_same_people_are_found(clips: list[Clip]) -> None:
    """Where a joint can hardly be seen, following it from frame to frame makes small differences larger."""
    fast = embedded_pose("onnxruntime")
    assert isinstance(fast, OnnxPose)
    assert isinstance(embedded_pose(), BlazePose)
    apart = []
    for clip in clips:
        wanted, found = find_people(clip.wide), find_people(clip.wide, network=fast)
        assert found.found.equal(wanted.found)
        assert found.found.any()
        apart.append((found.points - wanted.points)[wanted.found].abs().flatten())
    assert torch.cat(apart).median() < 1e-5
    assert torch.cat(apart).quantile(0.95) < 1e-3
    assert torch.cat(apart).max() < 0.05


def test_descriptors_are_the_same_bits_however_they_are_computed(
    models: dict[str, Model], clips: list[Clip]
) -> None:
    fast, usual = models["onnxruntime"], models["torch"]
    together = fast.encode(clips)
    for threads in (1, 3):
        a2m2_zoo.set_threads(threads)
        try:
            two, back = fast.encode(clips, batch_size=2), fast.encode(clips[::-1])
        finally:
            a2m2_zoo.set_threads(None)
        for name, value in together.items():
            assert two[name].equal(value)
            assert back[name].flip(0).equal(value)
    wanted = usual.encode(clips)
    near(together["moments"], wanted["moments"])
    near(together["pooled"], wanted["pooled"])


def test_a_bank_goes_with_both_and_answers_agree(models: dict[str, Model]) -> None:
    supports = {name: [draw_named(name, 0, studio=2)] for name in NAMES}
    queries = [draw_named(name, 1, studio=2) for name in NAMES]
    answers = {}
    for made in models.values():
        bank = build_bank(supports, model=made)
        for asked in models.values():
            answers[made.runtime, asked.runtime] = Recognizer(asked, bank).classify(queries)
    wanted = answers["torch", "torch"]
    for found in answers.values():
        for one, other in zip(found, wanted, strict=True):
            assert one.label == other.label
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)
    assert models["torch"] == models["onnxruntime"]


def test_the_model_says_what_it_runs_on(models: dict[str, Model]) -> None:
    assert "onnxruntime on cpu" in repr(models["onnxruntime"])
    assert "torch on cpu" in repr(models["torch"])
    half = load_model(runtime="auto", dtype=torch.bfloat16)
    assert half.runtime == "torch"
    assert models["onnxruntime"].to("cpu", torch.float64).runtime == "torch"
    models["onnxruntime"].to("cpu", torch.float32)
    assert models["onnxruntime"].runtime == "onnxruntime"


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    lite, tiny = build_backbone("lite"), build_backbone("tiny")
    assert with_runtime(lite, "auto").runtime == "onnxruntime"
    assert with_runtime(tiny, "auto") is tiny
    assert with_runtime(lite, "torch") is lite
    assert with_runtime(lite.to("meta"), "auto").runtime == "torch"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert load_model(runtime="auto").runtime == "torch"
    with pytest.raises(DependencyError, match=r"pip install \"a2m2_zoo\[fast\]\""):
        load_model(runtime="onnxruntime")


def test_a_runtime_that_is_none_or_cannot_compute_it() -> None:
    for wrong in ("tensorrt", "", None, 3):
        with pytest.raises(ArgumentError, match="expected one of auto, torch, onnxruntime"):
            load_model(runtime=wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="not tiny; leave it out"):
        with_runtime(build_backbone("tiny"), "onnxruntime")
    with pytest.raises(ArgumentError, match="computes on CPUs, and the device is 'meta'"):
        with_runtime(build_backbone("lite").to("meta"), "onnxruntime")


FRAMES = torch.rand(1, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def pooled(backbone: Backbone) -> Tensor:
    with torch.inference_mode():
        return backbone(FRAMES).pooled


@pytest.mark.parametrize("how", ["in place", "loaded", "assigned", "moved"])
def test_weights_that_change_are_seen(how: str) -> None:
    fast = with_runtime(build_backbone("lite"), "onnxruntime")
    before = pooled(fast)
    assert pooled(fast).equal(before)
    halved = {name: weight / 2 for name, weight in fast.state_dict().items()}
    if how == "in place":
        with torch.no_grad():
            for weight in fast.parameters():
                weight /= 2
    elif how == "moved":
        for weight in fast.parameters():
            weight.data = weight.data / 2
    else:
        fast.load_state_dict(halved, assign=how == "assigned")
    assert not pooled(fast).equal(before)
    near(pooled(fast), pooled(with_runtime(fast, "torch")))
    usual = Lite0().eval()
    usual.load_state_dict(halved)
    near(pooled(fast), pooled(usual))


def test_a_copy_is_of_its_own_weights() -> None:
    fast = with_runtime(build_backbone("lite"), "onnxruntime")
    before = pooled(fast)
    other = copy.deepcopy(fast)
    with torch.no_grad():
        for weight in other.parameters():
            weight /= 2
    assert pooled(fast).equal(before)
    assert not pooled(other).equal(before)
    assert other.state_dict().keys() == build_backbone("lite").state_dict().keys()


def test_gradients_and_training_are_torchs() -> None:
    usual = build_backbone("lite")
    fast = with_runtime(usual, "onnxruntime")
    frames = FRAMES.clone().requires_grad_()
    fast(frames).pooled.sum().backward()
    assert frames.grad is not None
    assert bool(frames.grad.any())
    with torch.inference_mode():
        wanted = usual(FRAMES).pooled
        assert fast.train()(FRAMES).pooled.equal(wanted)
        assert not fast.eval()(FRAMES).pooled.equal(wanted)


def test_features_of_both_are_kept_apart(models: dict[str, Model], tmp_path: Path) -> None:
    caches = [
        FeatureCache(
            tmp_path,
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=["s7"],
        )
        for model in models.values()
    ]
    assert caches[0].folder != caches[1].folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: run on Linux or macOS")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Python 3.12: threads and fork
def test_a_forked_child_computes_the_same(models: dict[str, Model], clips: list[Clip]) -> None:
    wanted = models["onnxruntime"].encode(clips[:1])
    child = os.fork()
    if not child:
        signal.alarm(60)  # in place of a hang
        try:
            found = models["onnxruntime"].encode(clips[:1])
            os._exit(7 if all(found[name].equal(wanted[name]) for name in wanted) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_frames_of_any_layout_in_memory(models: dict[str, Model]) -> None:
    fast = models["onnxruntime"].backbone
    frames = np.random.default_rng(0).random((1, 2, 32, 32, 3), np.float32)
    turned = torch.from_numpy(frames).movedim(-1, -3)
    with torch.inference_mode():
        assert fast(turned).pooled.equal(fast(turned.contiguous()).pooled)


def test_the_command_line_chooses_and_records_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        for i, folder in enumerate(("supports", "queries")):
            (tmp_path / folder / name).mkdir(parents=True)
            frames = draw_named(name, i, studio=2, frames=12)
            write_video(tmp_path / folder / name / "clip.mp4", frames)
    call = ["classify", str(tmp_path / "queries"), "--supports", str(tmp_path / "supports")]
    labels = {}
    for runtime in ("torch", "onnxruntime", "auto"):
        file = tmp_path / f"{runtime}.jsonl"
        assert main([*call, "--runtime", runtime, "--jsonl", str(file)]) == 0
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        labels[runtime] = [row["label"] for row in rows]
        said = [row["made_by"]["options"].get("runtime") for row in rows]
        assert said == [None if runtime == "torch" else "onnxruntime"] * 2
    assert labels["torch"] == labels["onnxruntime"] == labels["auto"] == list(NAMES)
    assert main([*call, "--runtime", "tensorrt"]) == 2
    assert "tensorrt" in capsys.readouterr().err
