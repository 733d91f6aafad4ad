"""Small variants of other libraries' networks: their own code, random weights, files as published."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from clip_maker import write_clip
from safetensors.torch import save_file

from a2m2_zoo.backbones.openclip import import_library

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_SMALL = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 48
}  # fmt: skip
_TEXT = _SMALL | {"vocab_size": 64, "max_position_embeddings": 16}
_PIXELS = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3], "resample": 3}
_64 = _PIXELS | {"size": {"height": 64, "width": 64}}


@dataclass(frozen=True)
class Repository:
    """A repository of transformers.

    Attributes:
        model: Class that wrote it, a whole model or a part.
        config: Class of its configuration.
        values: What differs from the configuration's defaults.
        pixels: Its preprocessing.
        file: What the file of the preprocessing is called.
    """

    model: str
    config: str
    values: dict[str, Any]
    pixels: dict[str, Any] = field(default_factory=lambda: _64)
    file: str = "preprocessor_config.json"


_VISION = _SMALL | {"image_size": 64, "patch_size": 16}
REPOSITORIES = {
    "org/dinov2": Repository(
        "Dinov2Model", "Dinov2Config", _SMALL | {"image_size": 70, "patch_size": 14, "mlp_ratio": 2},
        _PIXELS | {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}},
    ),
    "org/dinov2-reg": Repository(
        "Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig",
        _VISION | {"mlp_ratio": 2, "num_register_tokens": 3},
    ),
    "org/dinov3": Repository("DINOv3ViTModel", "DINOv3ViTConfig", _VISION | {"num_register_tokens": 4}),
    "org/dinov3-convnext": Repository(
        "DINOv3ConvNextModel", "DINOv3ConvNextConfig",
        {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "image_size": 64},
    ),
    "org/siglip": Repository(
        "SiglipModel", "SiglipConfig", {"vision_config": _VISION, "text_config": _TEXT}
    ),
    "org/siglip2": Repository(
        "Siglip2Model", "Siglip2Config",
        {"vision_config": _SMALL | {"num_patches": 16, "patch_size": 16}, "text_config": _TEXT},
    ),
    "org/clip": Repository(
        "CLIPModel", "CLIPConfig",
        {"vision_config": _VISION, "text_config": _TEXT, "projection_dim": 16},
    ),
    "org/xclip": Repository(
        "XCLIPModel", "XCLIPConfig",
        {
            "vision_config": _VISION | {
                "num_frames": 8, "mit_hidden_size": 16, "mit_intermediate_size": 32,
                "mit_num_attention_heads": 2, "mit_num_hidden_layers": 1,
            },
            "text_config": _TEXT, "projection_dim": 16,
            "prompt_layers": 1, "prompt_num_attention_heads": 2,
        },
    ),
    "org/videomae": Repository(
        "VideoMAEForPreTraining", "VideoMAEConfig",
        _VISION | {
            "num_frames": 8, "tubelet_size": 2, "decoder_hidden_size": 16,
            "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 16,
        },
    ),
    "org/vjepa2": Repository(
        "VJEPA2Model", "VJEPA2Config",
        {
            "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2, "crop_size": 64,
            "frames_per_clip": 8, "tubelet_size": 2, "pred_hidden_size": 48,
            "pred_num_hidden_layers": 1, "pred_num_attention_heads": 2,
        },
        _PIXELS | {"size": {"shortest_edge": 73}, "crop_size": {"height": 64, "width": 64}},
        file="video_preprocessor_config.json",
    ),
    "org/timesformer": Repository(
        "TimesformerForVideoClassification", "TimesformerConfig", _VISION | {"num_frames": 8}
    ),
}  # fmt: skip


def _of_frames(name: str, key: str, frames: int) -> Repository:
    facts = REPOSITORIES[name]
    return replace(facts, values=facts.values | {key: frames})


#: The same networks for clips as long as those of the published ones.
LONG = {
    "org/videomae-16": _of_frames("org/videomae", "num_frames", 16),
    "org/vjepa2-16": _of_frames("org/vjepa2", "frames_per_clip", 16),
    "org/vjepa2-64": _of_frames("org/vjepa2", "frames_per_clip", 64),
}


@cache
def whole(name: str) -> Any:
    """The model of a repository as transformers makes it, every weight drawn."""
    library, facts = import_library("transformers"), (REPOSITORIES | LONG)[name]
    torch.manual_seed(3)
    model = getattr(library, facts.model)(getattr(library, facts.config)(**facts.values))
    return drawn(model)


def drawn(model: Any) -> Any:
    """A network whose norms and biases are drawn too: fresh ones hide a norm that is left out."""
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
        for name, value in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.add_(0.1 * torch.rand_like(value))
    return model.eval()


@cache
def _folder(name: str, **options: Any) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        whole(name).save_pretrained(folder, **options)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def files_of(name: str, **options: Any) -> dict[str, bytes]:
    """The files of a repository, as ``save_pretrained`` writes them with these options."""
    facts = (REPOSITORIES | LONG)[name]
    return {**_folder(name, **options), facts.file: json.dumps(facts.pixels).encode()}


def hf_name(name: str) -> str:
    """What ``load_model`` takes."""
    return f"hf:{name}@{COMMIT}"


@cache
def network(name: str) -> Any:
    """A classifier of timm or torchvision, whole, its weights drawn."""
    library, _, within = name.partition(":")
    torch.manual_seed(4)
    if library == "timm":
        return drawn(import_library("timm").create_model(within))
    return drawn(import_library("torchvision").models.get_model(within, weights=None))


def weights_of(name: str, folder: Path) -> Path:
    """The file of a network's weights, classifier included, in the library's names."""
    path = folder / f"{name.replace(':', '-')}.safetensors"
    if name.startswith("open_clip:"):
        write_clip(path, name.partition(":")[2])
    else:
        save_file(network(name).state_dict(), path)
    return path
