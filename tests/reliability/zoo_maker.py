"""A model of a few thousand weights in a folder that ``load_model`` takes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods import build_method
from a2m2_zoo.methods.a2m2 import A2M2Config
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.zoo.training_free import own_preprocess


def tiny_model(folder: Path) -> Path:
    """Write A²M² with random weights on the tiny backbone; return the checkpoint's path."""
    folder.mkdir(parents=True)
    backbone = build_backbone("tiny")
    weights = folder / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in backbone.state_dict().items()}, weights)
    torch.manual_seed(0)
    m2 = {s: M2Config(channels=c, dim=4, scales=(1, 0)) for s, c in backbone.stages.items()}
    head = build_method("a2m2", A2M2Config(m2=m2, a2=A2Config(groups="scale")).to_dict())
    preprocess = replace(own_preprocess(backbone), frames=8, size=64, resize=64)
    record = {
        "id": "tiny",
        "method": "a2m2",
        "backbone": {
            "architecture": "tiny",
            "file": weights.name,
            "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
        "config": head.config.to_dict(),
        "preprocess": preprocess.to_dict(),
        "scales": {"1": 10.0},
    }
    path = folder / "model.safetensors"
    checkpoint.save(path, head.weights(), kind="model", record=record)
    return path
