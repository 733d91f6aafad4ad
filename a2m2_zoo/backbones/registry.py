"""Names → backbones: the package's own and those of plugins by a table, the others by their library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo._utils.plugins import Registry
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones.base import Backbone, StateDict
from a2m2_zoo.backbones.clip import OPEN_CLIP, build_clip, build_clip_text, map_keys
from a2m2_zoo.backbones.clip_text import ClipText
from a2m2_zoo.backbones.files import read_safetensors
from a2m2_zoo.backbones.from_timm import build_timm
from a2m2_zoo.backbones.from_torchvision import build_torchvision
from a2m2_zoo.backbones.from_transformers import build_transformers
from a2m2_zoo.backbones.lite import build_lite
from a2m2_zoo.backbones.resnet import build_resnet50
from a2m2_zoo.backbones.tiny import build_tiny
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.hub.source import HF


def _builder(name: str, value: Any) -> Callable[[StateDict | None], Backbone]:
    """What builds a backbone.

    Raises:
        ArgumentError: It is something else.
    """
    if not callable(value):
        raise ArgumentError(
            f"the backbone {name!r} is {kind(value)}; expected a function of a state dict or None that "
            "gives a Backbone"
        )
    made: Callable[[StateDict | None], Backbone] = value
    return made


#: The backbones known by a plain name: name → what builds it, of a state dict or None. A new one may be
#: added from outside: ``BACKBONES["mine"] = build_mine``, or by an entry point ``a2m2_zoo.backbones``.
BACKBONES: Registry[Callable[[StateDict | None], Backbone]] = Registry(
    "backbone",
    {"lite": build_lite, "resnet50": build_resnet50, "tiny": build_tiny},
    _builder,
)

_CLIP, _TIMM, _TORCHVISION = "clip:", "timm:", "torchvision:"
#: How names of other libraries' backbones begin.
LIBRARIES = (_TIMM, _TORCHVISION, OPEN_CLIP, _CLIP, HF)
_COMMON_CLIP = ("clip:ViT-B-16", "clip:RN50")


@apart
def build_backbone(
    name: str,
    *,
    weights: StateDict | str | Path | None = None,
    text: bool = False,
    adopt: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Backbone:
    """Build a backbone by name, in evaluation mode, float32, on the CPU. Nothing is downloaded.

    Args:
        name: ``lite``, ``resnet50``, ``tiny`` or a plugin's; or a library and a name there:
            ``timm:vit_small_patch14_dinov2.lvd142m``, ``torchvision:resnet18``, ``clip:ViT-B-16``,
            ``open_clip:ViT-B-32/laion2b_s34b_b79k``, ``hf:ORG/NAME@COMMIT`` (with `config`).
        weights: A state dict, or the path of a safetensors file holding one. Without it ``lite``
            loads its embedded ImageNet weights; the others start at random.
        text: Keep the text tower, for `ClipBackbone.encode_text`; for ``clip:…`` and ``open_clip:…`` only.
        adopt: The tensors of the state dict become the network's own where they fit as they are: half
            the memory, for a caller who needs them no more. Without it they are copied.
        config: What an ``hf:`` backbone is, as ``Backbone.config`` of it says.

    Raises:
        ModelNotFoundError: If no backbone goes by that name; the nearest names are given.
        CheckpointError: If the weights cannot be read or do not fit.
        DependencyError: If its library is not installed.
        ArgumentError: If `text` is asked of a backbone without a text tower, or `config` is missing.
        PluginError: If it is a plugin's and cannot be imported.

    Example:
        >>> backbone = build_backbone("lite")
        >>> backbone.stages, backbone.pooled_channels
        ({'s14': 112, 's7': 320}, 1280)
    """
    library, within = split(name)
    if library is None and name not in BACKBONES:
        near = get_close_matches(name, [*BACKBONES, *_COMMON_CLIP], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ModelNotFoundError(
            f"no backbone is called {name!r}; {hint}known: {', '.join(BACKBONES)}, "
            "clip:<open_clip model name>, timm:NAME, torchvision:NAME, open_clip:NAME, hf:ORG/NAME@COMMIT"
        )
    if text and not has_text(name):
        raise ArgumentError(f"{name} has no text tower; leave out text or ask for clip:<name>")
    if isinstance(weights, (str, Path)):
        weights = read_safetensors(weights)
    if library is None:
        return BACKBONES[name](weights).eval()
    if library == HF:
        return build_transformers(name, config=config, weights=weights, adopt=adopt).eval()
    if library in (_TIMM, _TORCHVISION):
        build = build_timm if library == _TIMM else build_torchvision
        return build(within, weights=weights, adopt=adopt).eval()
    tower, tag = tower_of(name)
    return build_clip(tower, weights=weights, text=text, adopt=adopt, tag=tag).eval()


def split(name: str) -> tuple[str | None, str]:
    """The library of a backbone's name and its name there; None and the name of a plain one.

    >>> split("timm:resnet18"), split("lite")
    (('timm:', 'resnet18'), (None, 'lite'))
    """
    library = next((prefix for prefix in LIBRARIES if name.startswith(prefix)), None)
    return library, name.removeprefix(library or "")


def tower_of(name: str) -> tuple[str, str | None]:
    """The model of open_clip, and of an ``open_clip:`` name the tag of its weights, empty if it has none.

    >>> tower_of("clip:ViT-B/16"), tower_of("open_clip:ViT-B-32/openai")
    (('ViT-B/16', None), ('ViT-B-32', 'openai'))
    """
    library, within = split(name)
    if library != OPEN_CLIP:
        return within, None
    tower, _, tag = within.partition("/")
    return tower, tag


def has_text(name: str) -> bool:
    """Whether a backbone of that name may have a text tower beside it, for `build_text`."""
    return name.startswith((_CLIP, OPEN_CLIP))


@apart
def build_text(name: str, *, weights: StateDict, adopt: bool = False) -> ClipText:
    """Build the text tower that belongs to a backbone, without the backbone.

    Args:
        name: ``clip:`` or ``open_clip:`` and a model name of open_clip.
        weights: A state dict with the text tower in it.
        adopt: As for `build_backbone`.

    Raises:
        ArgumentError: If there is no text tower, or none that works without a download.
        CheckpointError: If the weights do not fit.
    """
    if not has_text(name):
        raise ArgumentError(f"{name} has no text tower; ask for clip:<name>")
    tower, tag = tower_of(name)
    return build_clip_text(tower, weights=weights, adopt=adopt, tag=tag)


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
