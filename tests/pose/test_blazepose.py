"""The networks against the original runtime, and the embedded file."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import a2m2_zoo
from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.pose.blazepose import EMBEDDED, BlazePose, build_blazepose, unpack

HERE = Path(__file__).parent
FILE = Path(a2m2_zoo.__file__).parent / "weights" / EMBEDDED


@pytest.fixture(scope="module")
def network() -> BlazePose:
    return build_blazepose()


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = HERE.parent.parent / "tools" / "convert_blazepose.py"
    spec = importlib.util.spec_from_file_location("convert_blazepose", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_equals_the_original_on_drawn_pictures(network: BlazePose, tool: ModuleType) -> None:
    report = tool.compare(network, load_file(HERE / "blazepose_golden.safetensors"))
    assert report["passed"], report


def test_equals_the_original_itself(network: BlazePose, tool: ModuleType) -> None:
    pytest.importorskip("ai_edge_litert", reason="the original runtime is not installed")
    folder = Path(os.environ.get("A2M2_BLAZEPOSE", "-"))
    if not folder.is_dir():
        pytest.skip(
            "set A2M2_BLAZEPOSE to the unpacked npm package: see tools/convert_blazepose.py"
        )
    detector, landmark = folder / tool.DETECTOR, folder / tool.LANDMARK
    report = tool.compare(network, tool.golden(detector, landmark, n=8))
    assert report["passed"], report
    state = tool.convert(detector, "detector", tool.detector_names())
    state |= tool.convert(landmark, "landmarker", tool.landmark_names())
    assert all(torch.equal(network.state_dict()[k], v.float()) for k, v in state.items())


def test_the_embedded_file_is_small_and_says_where_it_is_from() -> None:
    assert FILE.stat().st_size <= 5e6
    with safe_open(FILE, "pt") as f:
        facts = f.metadata()
        kinds = {str(f.get_slice(key).get_dtype()) for key in f.keys()}  # noqa: SIM118
    assert kinds == {"F16", "U8"}
    assert facts["license"] == "Apache-2.0"
    assert [len(part) for part in facts["source_sha256"].split(", ")] == [64, 64]
    assert EMBEDDED in (FILE.parent / "NOTICE").read_text(encoding="utf-8")


def test_packed_and_own_state_dicts_are_taken_others_refused(network: BlazePose) -> None:
    own = build_blazepose(network.state_dict()).state_dict()
    assert all(torch.equal(own[k], v) for k, v in network.state_dict().items())
    assert {value.dtype for value in own.values()} == {torch.float32}
    with pytest.raises(CheckpointError, match="does not fit BlazePose"):
        build_blazepose({"x.weight": torch.zeros(1)})


def test_packing_is_undone_to_the_bit_and_a_wrong_mask_is_refused(tool: ModuleType) -> None:
    weight = torch.randn(5, 16, 1, 1).half() * (torch.rand(5, 16, 1, 1) > 0.7)
    packed = tool.pack({"a.weight": weight, "a.bias": weight[:, 0, 0, 0]})
    assert set(packed) == {"a.weight", "a.mask", "a.bias"}
    assert packed["a.mask"].shape == (5, 2)
    assert torch.equal(unpack(packed)["a.weight"], weight)
    with pytest.raises(CheckpointError, match="mask"):
        unpack(packed | {"a.weight": packed["a.weight"][1:]})
