"""Names → backbones, as an explicit table."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ..errors import ArgumentError, ModelNotFoundError
from .base import Backbone, StateDict, read_safetensors
from .clip import build_clip
from .lite import build_lite
from .resnet import build_resnet50
from .tiny import build_tiny

#: The backbones known by a plain name; ``clip:<name>`` reaches every image tower of open_clip.
BACKBONES: dict[str, Callable[[StateDict | None], Backbone]] = {
    "lite": build_lite,
    "resnet50": build_resnet50,
    "tiny": build_tiny,
}

_CLIP = "clip:"
_COMMON_CLIP = ("clip:ViT-B-16", "clip:RN50")


def build_backbone(
    name: str, *, weights: StateDict | str | Path | None = None, text: bool = False
) -> Backbone:
    """Build a backbone by name, in evaluation mode, float32, on the CPU. Nothing is downloaded.

    Args:
        name: ``lite``, ``resnet50``, ``tiny``, or ``clip:`` and a model name of open_clip, such as
            ``clip:ViT-B-16`` or ``clip:RN50``.
        weights: A state dict, or the path of a safetensors file holding one. Without it ``lite``
            loads its embedded ImageNet weights; ``resnet50`` and ``clip:…`` start at random.
        text: Keep the text tower, for `ClipBackbone.encode_text`; for ``clip:…`` only.

    Raises:
        ModelNotFoundError: If no backbone goes by that name; the nearest names are given.
        CheckpointError: If the weights cannot be read or do not fit.
        DependencyError: If ``clip:…`` is asked for and open_clip is not installed.
        ArgumentError: If `text` is asked of a backbone without a text tower.

    Example:
        >>> backbone = build_backbone("lite")
        >>> backbone.stages, backbone.pooled_channels
        ({'s14': 112, 's7': 320}, 1280)
    """
    clip = name.startswith(_CLIP)
    if not clip and name not in BACKBONES:
        near = get_close_matches(name, [*BACKBONES, *_COMMON_CLIP], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelNotFoundError(
            f"no backbone is called {name!r}; {hint}known: {', '.join(BACKBONES)}, "
            "clip:<open_clip model name>"
        )
    if text and not clip:
        raise ArgumentError(f"{name} has no text tower; leave out text or ask for clip:<name>")
    if isinstance(weights, (str, Path)):
        weights = read_safetensors(weights)
    if clip:
        return build_clip(name.removeprefix(_CLIP), weights=weights, text=text).eval()
    return BACKBONES[name](weights).eval()
