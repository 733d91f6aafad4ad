"""The towers of CLIP and its relatives, through open_clip: images, and the text beside them.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (ICML 2021).
Weights published by its authors were trained with QuickGELU: they belong to the names ending in
``-quickgelu`` (the state dict fits ``ViT-B-16`` as well, and gives worse features there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import (
    Backbone,
    Preprocess,
    StateDict,
    Value,
    check_side,
    inner_keys,
    load_weights,
)
from a2m2_zoo.backbones.clip_text import ClipText, embedded
from a2m2_zoo.backbones.library import interpolation
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import ArgumentError, DependencyError, ModelNotFoundError

# The authors' checkpoints carry three numbers about themselves among the tensors.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}

# Stands in for a text tower nobody asked for: built and dropped in a millisecond, needs no network.
_NO_TEXT = {"context_length": 8, "vocab_size": 16, "width": 64, "heads": 1, "layers": 1}

# The same for an image tower.
_NO_IMAGE = {"image_size": 16, "patch_size": 16, "width": 64, "head_width": 64, "layers": 1}

# The mask of a text tower's attention: the one thing in open_clip's own towers that is no weight and is
# stored nowhere.
_MASK = "attn_mask"


#: How names begin that may say which weights, and that read two maps of a transformer.
OPEN_CLIP = "open_clip:"


class ClipBackbone(Backbone):
    """An image tower of open_clip, and its text tower where it was asked for.

    Stages depend on the tower:

    * transformers: ``tokens``, the patch tokens after the last block, laid out as a map. The final
      LayerNorm (``ln_post``) is applied as it is to the class token, except in towers with an
      attention pool (CoCa), where it comes after the pool; towers from timm use their own norm.
      By an ``open_clip:`` name also ``middle``, those after the middle block, behind the same norm.
    * CLIP's ResNets: ``layer3`` (1/16 of the input) and ``layer4`` (1/32).
    * towers without patch tokens: none, only the pooled vector.

    The pooled vector is the image embedding in the space shared with text, not normalised. The
    input size is fixed by the tower's position embedding, see ``default_preprocess``.

    Args:
        model: A model of open_clip.
        name: Its name there.
        facts: Its configuration there.
        text: Whether to keep the text tower.
        tag: The name of its weights there, for an ``open_clip:`` name; None for ``clip:``.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        facts: dict[str, Any],
        text: bool,
        tag: str | None = None,
    ) -> None:
        super().__init__()
        self.name = f"clip:{name}" if tag is None else f"{OPEN_CLIP}{name}{tag and '/' + tag}"
        self.tower = name
        self.pooled_channels = int(facts["embed_dim"])
        visual: Any = model.visual
        del model.visual  # what is left is the text side
        self.visual: Any = visual
        self.text: Any = model if text else None
        self.stages = _stages(visual, facts["vision_cfg"])
        self._indices: int | list[int] = len(self.stages)
        if tag is not None and "tokens" in self.stages and (depth := _even_depth(visual)) > 1:
            self.stages = dict.fromkeys(("middle", "tokens"), self.stages["tokens"])
            self._indices = [depth // 2 - 1, depth - 1]
        size, own = visual.image_size, _pixels(name, tag)
        self.default_preprocess = Preprocess(
            mean=own.get("mean", (0.48145466, 0.4578275, 0.40821073)),
            std=own.get("std", (0.26862954, 0.26130258, 0.27577711)),
            size=int(size if isinstance(size, int) else size[0]),
            interpolation=interpolation(own.get("interpolation", "bicubic")),
        )

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        check_side(frames, self)
        if not self.stages:
            return {}, self.visual(frames)
        out = self.visual.forward_intermediates(
            frames, indices=self._indices, normalize_intermediates=_final_norm(self.visual)
        )
        maps = dict(zip(self.stages, out["image_intermediates"], strict=True))
        return maps, out["image_features"]

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "n c"]:
        """Embed prompts in the space of the pooled vectors; not normalised.

        Args:
            prompts: At least one, such as ``"a photo of archery"``.

        Raises:
            ArgumentError: If the backbone was built without ``text=True``, or without prompts.
        """
        if self.text is None:
            raise ArgumentError(f"{self.name} was built without text; build it with text=True")
        return embedded(self.text, self.tower, prompts)


def build_clip(
    name: str,
    *,
    weights: StateDict | None = None,
    text: bool = False,
    adopt: bool = False,
    tag: str | None = None,
) -> ClipBackbone:
    """Build an image tower by its open_clip name; nothing is downloaded.

    Args:
        name: Such as ``ViT-B-16``, ``ViT-B-16-quickgelu`` or ``RN50``.
        weights: A state dict of the whole model, of its image tower, of `ClipBackbone` itself, or
            of few-shot research code around the tower. Random weights without it.
        text: Keep the text tower, for `ClipBackbone.encode_text`.
        adopt: The tensors become the network's own and are not copied, see `load_weights`.
        tag: The name of its weights in open_clip, such as ``laion2b_s34b_b79k``: what pixels they expect and
            whether they were trained with QuickGELU; empty where there is none. None for a ``clip:`` name.

    Raises:
        ModelNotFoundError: If open_clip has no model of that name, or no weights of that tag for it.
        DependencyError: If open_clip is missing or too old.
        CheckpointError: If the weights do not fit.
        ArgumentError: If `text` is asked of a model whose tokenizer is not part of open_clip.
    """
    open_clip = import_open_clip()
    name, facts = _facts(open_clip, name, text=text)
    if _pixels(name, tag).get("quick_gelu"):
        facts["quick_gelu"] = True
    model = _model(open_clip, facts, text=text, empty=weights is not None)
    network = ClipBackbone(model, name=name, facts=facts, text=text, tag=tag)
    if weights is not None:
        source = f"the state dict given for {network.name}"
        load_weights(network, map_keys(weights, text=text), source=source, adopt=adopt)
    return network


def build_clip_text(
    name: str, *, weights: StateDict, adopt: bool = False, tag: str | None = None
) -> ClipText:
    """Build a text tower alone, by the name of its model in open_clip.

    Args:
        name: As for `build_clip`.
        weights: A state dict of the whole model, or of a `ClipBackbone` with its text tower.
        adopt: As for `build_clip`.
        tag: As for `build_clip`.

    Raises:
        ArgumentError: If the weights have no text tower, or its tokenizer is not part of open_clip.
        ModelNotFoundError: If open_clip has no model of that name.
        DependencyError: If open_clip is missing or too old.
        CheckpointError: If the weights do not fit.
    """
    open_clip = import_open_clip()
    name, facts = _facts(open_clip, name, text=True)
    mapped = {
        key: value for key, value in map_keys(weights, text=True).items() if key.startswith("text.")
    }
    if not mapped:
        raise ArgumentError(
            f"the weights given for clip:{name} have no text tower; take a file of the whole model"
        )
    if _pixels(name, tag).get("quick_gelu"):
        facts["quick_gelu"] = True
    facts["vision_cfg"] = _NO_IMAGE
    tower = ClipText(_model(open_clip, facts, text=True, empty=True), name=name)
    load_weights(tower, mapped, source=f"the text tower given for clip:{name}", adopt=adopt)
    return tower.eval()


def repository(name: str, tag: str | None) -> str | None:
    """Where open_clip has weights of a tag: a repository of the Hub, or None."""
    where = str(_pixels(name, tag).get("hf_hub", "")).strip("/")
    return where or None


def map_keys(state: Mapping[str, Value], *, text: bool = False) -> dict[str, Value]:
    """Bring a state dict to the names of `ClipBackbone`.

    Args:
        state: Key → tensor, as `build_clip` describes.
        text: Whether the text side is kept.

    Example:
        >>> import torch
        >>> w = torch.zeros(1)
        >>> list(map_keys({"visual.proj": w, "logit_scale": w, "vocab_size": w}, text=True))
        ['visual.proj', 'text.logit_scale']
    """
    state = inner_keys(state)
    own = "text.logit_scale" in state
    if not (own or "logit_scale" in state or any(key.startswith("visual.") for key in state)):
        return {f"visual.{key}": value for key, value in state.items()}
    mapped = {}
    for key, value in state.items():
        if key.startswith("visual."):
            mapped[key] = value
        elif text and key not in _NOT_WEIGHTS:
            mapped[key if own else f"text.{key}"] = value
    return mapped


def _facts(open_clip: Any, name: str, *, text: bool) -> tuple[str, dict[str, Any]]:
    """A model's name as open_clip spells it, and its configuration."""
    name, known = name.replace("/", "-"), open_clip.list_models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(f'clip:{n}' for n in near)}? " if near else ""
        raise ModelNotFoundError(
            f"open_clip {open_clip.__version__} has no model {name!r}; {hint}"
            "open_clip.list_models() names all"
        )
    facts: dict[str, Any] = open_clip.get_model_config(name)
    hub_text = [key for key in ("hf_model_name", "hf_tokenizer_name") if key in facts["text_cfg"]]
    if text and hub_text:
        raise ArgumentError(
            f"the text side of clip:{name} is not part of open_clip; leave out text, or take a "
            "model with CLIP's own tokenizer such as clip:ViT-B-16"
        )
    return name, facts


def _model(open_clip: Any, facts: dict[str, Any], *, text: bool, empty: bool) -> nn.Module:
    """A model of open_clip, with random weights or, to be filled, with none at all."""
    # The classes rather than create_model: that one logs through the root logger, which installs a
    # handler there, and downloads the weights of some text towers unless told otherwise.
    original, facts = facts, dict(facts)
    # Towers of timm keep tables of their own beside the weights: those are built as timm builds them.
    empty = empty and "timm_model_name" not in facts["vision_cfg"]
    facts["vision_cfg"] = facts["vision_cfg"] | {
        "timm_model_pretrained": False,
        "patch_dropout": 0.0,  # a map needs all its patches, in training too
    }
    custom = facts.pop("custom_text", False)
    if not text:
        facts.pop("multimodal_cfg", None)
        facts["text_cfg"] = _NO_TEXT
        make = open_clip.CustomTextCLIP
    elif "multimodal_cfg" in facts:
        make = open_clip.CoCa
    else:
        make = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with torch.device("meta" if empty else "cpu"):
        model: nn.Module = make(**facts)
    if not hasattr(model.visual, "forward_intermediates"):
        raise DependencyError(
            f"open_clip {open_clip.__version__} cannot give feature maps: "
            "pip install --upgrade 'open_clip_torch>=2.32'"
        )
    if not empty:
        return model
    kept = model.state_dict()
    for name, buffer in list(model.named_buffers()):
        where, _, own = name.rpartition(".")
        if name in kept or not buffer.is_meta:
            continue
        if own != _MASK:  # of a version of open_clip that keeps more beside its weights
            return _model(open_clip, original, text=text, empty=False)
        causal = torch.full(buffer.shape, float("-inf"), dtype=buffer.dtype).triu(1)
        model.get_submodule(where).register_buffer(own, causal, persistent=False)
    return model


def _stages(visual: Any, vision_cfg: dict[str, Any]) -> dict[str, int]:
    """Read off a tower which maps it gives, and how wide they are."""
    if hasattr(visual, "layer4"):
        width = int(vision_cfg["width"])
        return {"layer3": 16 * width, "layer4": 32 * width}
    inner = getattr(visual, "trunk", None)
    if inner is None:
        return {"tokens": int(vision_cfg["width"])}
    info = getattr(inner, "feature_info", None)
    if info and hasattr(inner, "forward_intermediates"):
        return {"tokens": int(info[-1]["num_chs"])}
    return {}


def _even_depth(visual: Any) -> int:
    """How many blocks with maps of one size a tower has; 0 if the sizes differ."""
    inner = getattr(visual, "trunk", None)
    if inner is None:
        return len(visual.transformer.resblocks)
    sizes = [part["reduction"] for part in inner.feature_info]
    return len(sizes) if len(set(sizes)) == 1 else 0


def _pixels(name: str, tag: str | None) -> dict[str, Any]:
    """What open_clip says of weights of its own."""
    if not tag:
        return {}
    open_clip = import_open_clip()
    found: dict[str, Any] = open_clip.get_pretrained_cfg(name, tag)
    if not found:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ModelNotFoundError(
            f"open_clip {open_clip.__version__} has no weights {tag[:60]!r} of {name}; it has: {known}"
        )
    return {key: value for key, value in found.items() if value is not None}


def _final_norm(visual: Any) -> bool:
    return getattr(visual, "attn_pool", None) is None
