"""What configurations of transformers say, checked: which network, how it is read, what pixels it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from a2m2_zoo.backbones.base import Preprocess
from a2m2_zoo.backbones.library import interpolation
from a2m2_zoo.errors import CheckpointError

# PIL's numbers, which processors write.
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}

# What tells a library how to compute, where to fetch code, or nothing about the network.
_LEFT_OUT = re.compile(
    r"_.*|auto_map|attn_implementation|experts_implementation|quantization_config|torch_dtype|dtype|"
    r"architectures|transformers_version|model_type|id2label|label2id|problem_type|return_dict|"
    r"use_return_dict|torchscript|output_.*|name_or_path|gradient_checkpointing|num_labels|use_bfloat16"
)
_LARGEST_SIDE, _DEEPEST, _MOST_FRAMES = 2048, 1000, 1024


@dataclass(frozen=True)
class Kind:
    """How a network of transformers is read.

    Attributes:
        model_type: Of its configuration.
        network: Its class.
        inner: Below which key of a whole model's configuration its own lies.
        takes: What it calls its input.
        options: More that it is called with.
        video: Whether it takes clips.
        fixed: Whether the number of frames is that of its configuration.
        flat: Whether it takes the frames of clips as one batch.
        time_last: Whether the tokens of a place lie side by side, and not those of a time.
        patches: Whether it takes patches and not pictures.
        convolution: Whether it gives maps.
        prefix: Before its weights in the file of a whole model, where the library does not know it itself.
        side: Which field of its configuration is the side that it takes; empty if any will do.
    """

    model_type: str
    network: str
    inner: str = ""
    takes: str = "pixel_values"
    options: Mapping[str, Any] = field(default_factory=dict)
    video: bool = False
    fixed: bool = False
    flat: bool = False
    time_last: bool = False
    patches: bool = False
    convolution: bool = False
    prefix: str = ""
    side: str = ""


_INNER = "vision_config"
_CLIP = Kind("clip_vision_model", "CLIPVisionModel", _INNER, side="image_size")
_SIGLIP = Kind("siglip_vision_model", "SiglipVisionModel", _INNER, side="image_size")
_SIGLIP2 = Kind("siglip2_vision_model", "Siglip2VisionModel", _INNER, patches=True)
_XCLIP = Kind(
    "xclip_vision_model", "XCLIPVisionModel", _INNER, video=True, fixed=True, flat=True,
    prefix="vision_model.",
    side="image_size",
)  # fmt: skip

#: ``model_type`` of a ``config.json`` → how it is read.
KINDS = {
    "dinov2": Kind("dinov2", "Dinov2Model"),
    "dinov2_with_registers": Kind("dinov2_with_registers", "Dinov2WithRegistersModel"),
    "dinov3_vit": Kind("dinov3_vit", "DINOv3ViTModel"),
    "dinov3_convnext": Kind("dinov3_convnext", "DINOv3ConvNextModel", convolution=True),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "siglip2": _SIGLIP2,
    "siglip2_vision_model": _SIGLIP2,
    "xclip": _XCLIP,
    "xclip_vision_model": _XCLIP,
    "videomae": Kind("videomae", "VideoMAEModel", video=True, fixed=True, side="image_size"),
    "timesformer": Kind(
        "timesformer", "TimesformerModel", video=True, fixed=True, time_last=True, side="image_size"
    ),
    "vjepa2": Kind(
        "vjepa2", "VJEPA2Model", takes="pixel_values_videos", options={"skip_predictor": True},
        video=True, side="crop_size",
    ),
}  # fmt: skip


def kind_of(name: str, config: Mapping[str, Any]) -> tuple[Kind, dict[str, Any]]:
    """How a network is read, and the values of its configuration that say what it is.

    Args:
        name: What to call it in errors.
        config: What its ``config.json`` holds, of a whole model or of its image tower.

    Raises:
        CheckpointError: It is of no kind that is known here.
    """
    asked = config.get("model_type")
    kind = KINDS.get(asked) if isinstance(asked, str) else None
    if kind is None:
        raise CheckpointError(
            f"{name} is of type {str(asked)[:60]!r}, which is not read here; known: {', '.join(KINDS)}"
        )
    values: Any = config.get(kind.inner) if kind.inner and kind.inner in config else config
    if not isinstance(values, Mapping):
        raise CheckpointError(f"the configuration of {name} has no sound {kind.inner}")
    found = _without(values)
    depth = found.get("num_hidden_layers", 1)
    if isinstance(depth, int) and depth > _DEEPEST:
        raise CheckpointError(f"{name} has {depth} layers; expected at most {_DEEPEST}")
    if kind.time_last and found.get("attention_type", "") == "space_only":
        raise CheckpointError(f"{name} looks at frames one by one (space_only); take another")
    return kind, found


def clip_frames(name: str, facts: Any) -> int:
    """Frames of the clips that a network over videos was made for.

    Args:
        name: What to call it in errors.
        facts: Its configuration.

    Raises:
        CheckpointError: It says none that can be, or none that become whole time steps.
    """
    found: Any = getattr(facts, "num_frames", None) or getattr(facts, "frames_per_clip", None)
    step: Any = getattr(facts, "tubelet_size", 1)
    sound = type(found) is type(step) is int and 0 < step <= found <= _MOST_FRAMES
    if not sound or found % step:
        raise CheckpointError(
            f"the configuration of {name} says {str(found)[:20]} frames of a clip, {str(step)[:20]} of a "
            f"time step; expected whole time steps and at most {_MOST_FRAMES} frames"
        )
    return int(found)


def plain_config(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """What ``kind_of`` reads again, to be kept beside the weights."""
    return {"model_type": kind.model_type, **values}


def read_preprocess(name: str, given: Any, facts: Any, kind: Kind) -> Preprocess:
    """What pixels a network takes.

    Args:
        name: What to call it in errors.
        given: What its ``preprocessor_config.json`` holds, or a `Preprocess`.
        facts: The network's configuration.
        kind: How it is read.

    Raises:
        CheckpointError: The values are missing or make no sense.
    """
    values = given if isinstance(given, Mapping) else {}
    mean, std = (values.get(f"image_{key}", values.get(key)) for key in ("mean", "std"))
    resample = values.get("resample", values.get("interpolation", 2))
    size = getattr(facts, kind.side) if kind.side else _side(values)
    if kind.patches:
        size = round(facts.num_patches**0.5) * facts.patch_size
    size = size[0] if isinstance(size, (list, tuple)) and size else size
    sound = all(
        isinstance(x, (list, tuple)) and len(x) == 3 and all(isinstance(v, (int, float)) for v in x)
        for x in (mean, std)
    )
    if not sound or not isinstance(size, int) or not 1 <= size <= _LARGEST_SIDE:
        raise CheckpointError(
            f"the preprocessing of {name} says no mean, std and size; expected those of its "
            "preprocessor_config.json"
        )
    return Preprocess(
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        size=size,
        interpolation=interpolation(_RESAMPLE.get(resample, str(resample))),
    )


def _side(values: Mapping[str, Any]) -> Any:
    """The side that pictures have in the end."""
    for key in ("crop_size", "size"):
        found = values.get(key)
        if isinstance(found, Mapping):
            found = found.get("height", found.get("shortest_edge"))
        if found is not None:
            return found
    return None


def _without(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without those that are left out, on every level."""
    return {
        key: _without(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if isinstance(key, str) and not _LEFT_OUT.fullmatch(key)
    }
