"""Small CLIPs: open_clip's own architectures with few random weights, in files laid out as published ones."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods import build_method
from a2m2_zoo.zoo.training_free import own_preprocess

_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
_CONFIGS = {
    "small-vit": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": 32, "layers": 2, "width": 48, "head_width": 24, "patch_size": 8
        },
        "text_cfg": _TEXT,
    },
    "small-rn": {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64},
        "text_cfg": _TEXT,
    },
    "small-coca": {
        "embed_dim": 24,
        "vision_cfg": {
            "image_size": 32, "layers": 1, "width": 48, "head_width": 24, "patch_size": 8,
            "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True,
        },
        "text_cfg": _TEXT | {"context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {
            "context_length": 76, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 1
        },
        "custom_text": True,
    },
}  # fmt: skip


@cache
def register() -> None:
    """Make the small ones known to open_clip, once."""
    with tempfile.TemporaryDirectory() as folder:
        for name, config in _CONFIGS.items():
            (Path(folder) / f"{name}.json").write_text(json.dumps(config))
        import_open_clip().add_model_config(folder)


@cache
def reference(name: str) -> Any:
    """open_clip's own model, random weights, every norm and bias drawn too."""
    register()
    torch.manual_seed(1)
    model = import_open_clip().create_model(name, pretrained=None, pretrained_text=False).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
            elif key == "text_decoder.text_projection":  # open_clip leaves it as the memory was
                value.normal_(std=0.1)
            assert value.isfinite().all(), key
    return model


def write_clip(path: Path, name: str = "small-vit") -> str:
    """The whole model in open_clip's key layout, with a number about itself as the authors' files have."""
    state = {
        key: value.detach().contiguous() for key, value in reference(name).state_dict().items()
    }
    save_file(state | {"input_resolution": torch.tensor(32)}, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def clip_model(
    folder: Path, method: str = "protonet", *, clip: str = "small-vit", **config: Any
) -> Path:
    """A folder that ``load_model`` takes: a head, and the whole CLIP beside it."""
    folder.mkdir()
    digest = write_clip(folder / "clip.safetensors", clip)
    backbone = build_backbone(f"clip:{clip}")
    torch.manual_seed(2)
    head = build_method(method, config)
    preprocess = replace(own_preprocess(backbone), frames=4)
    record = {
        "id": f"{method}-{clip}",
        "method": method,
        "backbone": {
            "architecture": f"clip:{clip}", "file": "clip.safetensors", "sha256": digest
        },
        "config": head.config.to_dict(),
        "preprocess": preprocess.to_dict(),
        "scales": {"1": 10.0},
    }  # fmt: skip
    checkpoint.save(folder / "model.safetensors", head.weights(), kind="model", record=record)
    return folder
