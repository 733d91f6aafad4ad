"""Models for the tests that take no time."""

from __future__ import annotations

from pathlib import Path

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import Preprocess


def tiny_model(folder: Path, name: str = "tiny") -> Path:
    """A model whose backbone takes no time, in a file beside it."""
    backbone = build_backbone("tiny")
    digest = checkpoint.save(
        folder / "backbone.safetensors", backbone.state_dict(), kind="backbone", record={}
    )
    model = Model(
        id=name,
        weights_hash="",
        backbone_hash=digest,
        method_name="protonet",
        backbone_name="tiny",
        backbone=backbone,
        method=ProtoNet(ProtoNetConfig()),
        preprocess=Preprocess(size=64, resize=64, frames=4),
        scales={1: 1.0},
        backbone_file="backbone.safetensors",
    )
    model.save(folder / "model.safetensors")
    return folder
