"""Names → backbones, as an explicit table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones.base import Backbone, StateDict, read_safetensors
from a2m2_zoo.backbones.clip import ClipText, build_clip, build_clip_text, map_keys
from a2m2_zoo.backbones.lite import build_lite
from a2m2_zoo.backbones.resnet import build_resnet50
from a2m2_zoo.backbones.tiny import build_tiny
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError

#: The backbones known by a plain name; ``clip:<name>`` reaches every image tower of open_clip.
BACKBONES: dict[str, Callable[[StateDict | None], Backbone]] = {
    "lite": build_lite,
    "resnet50": build_resnet50,
    "tiny": build_tiny,
}

_CLIP = "clip:"
_COMMON_CLIP = ("clip:ViT-B-16", "clip:RN50")


@apart
def build_backbone(
    name: str,
    *,
    weights: StateDict | str | Path | None = None,
    text: bool = False,
    adopt: bool = False,
) -> Backbone:
    """Build a backbone by name, in evaluation mode, float32, on the CPU. Nothing is downloaded.

    Args:
        name: ``lite``, ``resnet50``, ``tiny``, or ``clip:`` and a model name of open_clip, such as
            ``clip:ViT-B-16`` or ``clip:RN50``.
        weights: A state dict, or the path of a safetensors file holding one. Without it ``lite``
            loads its embedded ImageNet weights; ``resnet50`` and ``clip:…`` start at random.
        text: Keep the text tower, for `ClipBackbone.encode_text`; for ``clip:…`` only.
        adopt: The tensors of the state dict become the network's own where they fit as they are: half
            the memory, for a caller who needs them no more. Without it they are copied.

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
        tower = name.removeprefix(_CLIP)
        return build_clip(tower, weights=weights, text=text, adopt=adopt).eval()
    return BACKBONES[name](weights).eval()


def has_text(name: str) -> bool:
    """Whether a backbone of that name may have a text tower beside it, for `build_text`."""
    return name.startswith(_CLIP)


@apart
def build_text(name: str, *, weights: StateDict, adopt: bool = False) -> ClipText:
    """Build the text tower that belongs to a backbone, without the backbone.

    Args:
        name: ``clip:`` and a model name of open_clip.
        weights: A state dict with the text tower in it.
        adopt: As for `build_backbone`.

    Raises:
        ArgumentError: If there is no text tower, or none that works without a download.
        CheckpointError: If the weights do not fit.
    """
    if not has_text(name):
        raise ArgumentError(f"{name} has no text tower; ask for clip:<name>")
    return build_clip_text(name.removeprefix(_CLIP), weights=weights, adopt=adopt)


def needed_keys(name: str, keys: Iterable[str], *, text: bool = False) -> list[str]:
    """Which tensors of a file the backbone, or the text tower beside it, is built from.

    Args:
        name: As for `build_backbone`.
        keys: Names of the tensors that the file has.
        text: For `build_text`, not for `build_backbone`.

    Example:
        >>> needed_keys("clip:RN50", ["visual.conv1.weight", "logit_scale"])
        ['visual.conv1.weight']
        >>> needed_keys("clip:RN50", ["visual.conv1.weight", "logit_scale"], text=True)
        ['logit_scale']
    """
    if not has_text(name):
        return list(keys)
    mapped = map_keys({key: key for key in keys}, text=text)
    return [key for new, key in mapped.items() if new.startswith("text.") == text]
