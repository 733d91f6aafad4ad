"""A checkpoint whose backbone lies in a file beside it: what is loaded, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.errors import CheckpointError, ModelNotFoundError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods import build_method
from a2m2_zoo.video import Preprocess
from a2m2_zoo.zoo.load import assembled, load_model


def build(folder: Path, *, shift: float = 1.0, **changes: Any) -> Path:
    """A folder with a model on the tiny backbone; ``changes`` go into the backbone's record."""
    folder.mkdir()
    weights = {k: v + shift for k, v in build_backbone("tiny").state_dict().items()}
    digest = checkpoint.save(
        folder / "backbone.safetensors", weights, kind="backbone", record={"architecture": "tiny"}
    )
    backbone_file = {
        "architecture": "tiny",
        "file": "backbone.safetensors",
        "sha256": digest,
        **changes,
    }
    record = {
        "id": "mine",
        "method": "protonet",
        "backbone": {key: value for key, value in backbone_file.items() if value is not None},
        "config": build_method("protonet", {}).config.to_dict(),
        "preprocess": Preprocess(size=32, resize=32).to_dict(),
        "scales": {"1": 1.0},
    }
    checkpoint.save(folder / "model.safetensors", {}, kind="model", record=record)
    return folder


def test_the_backbone_beside_is_the_one_that_computes(tmp_path: Path) -> None:
    model = load_model(build(tmp_path / "m"))
    plain = build_backbone("tiny").state_dict()
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, plain[key] + 1)
    assert (model.backbone_name, model.backbone_file) == ("tiny", "backbone.safetensors")
    assert load_model(tmp_path / "m" / "model.safetensors").weights_hash == model.weights_hash


def test_saved_again_beside_it_the_model_is_the_same(tmp_path: Path) -> None:
    model = load_model(build(tmp_path / "m"))
    model.save(tmp_path / "m" / "tuned.safetensors")
    again = load_model(tmp_path / "m" / "tuned.safetensors")
    assert again.record() == model.record()
    assert again.weights_hash == model.weights_hash


def test_the_hash_is_compared_before_the_file_is_parsed(tmp_path: Path) -> None:
    folder = build(tmp_path / "m")
    (folder / "backbone.safetensors").write_bytes(b"no safetensors at all")
    with pytest.raises(
        CheckpointError, match=r"'backbone\.safetensors' has sha256 .* was announced"
    ):
        load_model(folder)
    (folder / "backbone.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*backbone\.safetensors"):
        load_model(folder)


def test_other_weights_beside_make_another_model(tmp_path: Path) -> None:
    one, same = load_model(build(tmp_path / "m")), load_model(build(tmp_path / "n"))
    other = load_model(build(tmp_path / "o", shift=2.0))
    assert one.weights_hash == same.weights_hash != other.weights_hash
    assert one.backbone_hash == same.backbone_hash != other.backbone_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"file": "../backbone.safetensors"},
        {"file": "/backbone.safetensors"},
        {"file": "a/backbone.safetensors"},
        {"file": "a\\backbone.safetensors"},
        {"file": "C:backbone.safetensors"},
        {"file": ".safetensors"},
        {"file": "backbone.pt"},
        {"file": "backbone.safetensors\n"},
        {"file": 3},
        {"sha256": "0" * 63},
        {"sha256": "A" * 64},
        {"sha256": None},
        {"more": "x"},
    ],
    ids=json.dumps,
)
def test_hostile_records_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="does not say where its backbone lies"):
        load_model(build(tmp_path / "m", **changes))


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no backbone is called 'huge'"):
        load_model(build(tmp_path / "m", architecture="huge"))
    with pytest.raises(CheckpointError, match="does not fit ResNet50"):
        load_model(build(tmp_path / "n", architecture="resnet50"))
    found = checkpoint.load(build(tmp_path / "o") / "model.safetensors", kind="model")
    with pytest.raises(CheckpointError, match=r"needs 'backbone\.safetensors' beside it"):
        assembled(found, source="mine")
    found.record["backbone"] = "unknown-weights"
    with pytest.raises(CheckpointError, match="stands on backbone 'unknown-weights'"):
        assembled(found, source="mine")


def test_a_folder_without_a_model_file_needs_exactly_one(tmp_path: Path) -> None:
    folder = build(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "tuned.safetensors")
    with pytest.raises(
        CheckpointError, match=r"holds 2 \.safetensors files; expected one or a model"
    ):
        load_model(folder)
