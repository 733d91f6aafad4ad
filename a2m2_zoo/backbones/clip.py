"""The image towers of CLIP and its relatives, through open_clip.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (ICML 2021).
Weights published by its authors were trained with QuickGELU: they belong to the names ending in
``-quickgelu`` (the state dict fits ``ViT-B-16`` as well, and gives worse features there).
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from torch import Tensor, nn

from .._typing import Float
from ..errors import ArgumentError, DependencyError, ModelNotFoundError
from .base import Backbone, Preprocess, StateDict, inner_keys, load_weights
from .openclip import import_open_clip

# The authors' checkpoints carry three numbers about themselves among the tensors.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}

# Stands in for a text tower nobody asked for: built and dropped in a millisecond, needs no network.
_NO_TEXT = {"context_length": 8, "vocab_size": 16, "width": 64, "heads": 1, "layers": 1}


class ClipBackbone(Backbone):
    """An image tower of open_clip, and its text tower where it was asked for.

    Stages depend on the tower:

    * transformers: ``tokens``, the patch tokens after the last block, laid out as a map. The final
      LayerNorm (``ln_post``) is applied as it is to the class token, except in towers with an
      attention pool (CoCa), where it comes after the pool; towers from timm use their own norm.
    * CLIP's ResNets: ``layer3`` (1/16 of the input) and ``layer4`` (1/32).
    * towers without patch tokens: none, only the pooled vector.

    The pooled vector is the image embedding in the space shared with text, not normalised. The
    input size is fixed by the tower's position embedding, see ``default_preprocess``.

    Args:
        model: A model of open_clip.
        name: Its name there.
        facts: Its configuration there.
        text: Whether to keep the text tower.
    """

    def __init__(self, model: nn.Module, *, name: str, facts: dict[str, Any], text: bool) -> None:
        super().__init__()
        self.name = f"clip:{name}"
        self.pooled_channels = int(facts["embed_dim"])
        visual: Any = model.visual
        del model.visual  # what is left is the text side
        self.visual: Any = visual
        self.text: Any = model if text else None
        self.stages = _stages(visual, facts["vision_cfg"])
        size = visual.image_size
        self.default_preprocess = Preprocess(
            mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
            size=int(size if isinstance(size, int) else size[0]),
            interpolation="bicubic",
        )

    def _encode(
        self, frames: Float[Tensor, "n 3 h w"]
    ) -> tuple[dict[str, Float[Tensor, "n _ _ _"]], Float[Tensor, "n _"]]:
        side = self.default_preprocess["size"]
        if frames.shape[-2:] != (side, side):
            raise ArgumentError(
                f"frames are {frames.shape[-2]} × {frames.shape[-1]} pixels; {self.name} takes "
                f"{side} × {side} only, resize them"
            )
        if not self.stages:
            return {}, self.visual(frames)
        out = self.visual.forward_intermediates(
            frames, indices=len(self.stages), normalize_intermediates=_final_norm(self.visual)
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
        if isinstance(prompts, str) or not prompts:
            raise ArgumentError(f"prompts is {prompts!r}; give a list of at least one string")
        tokens = import_open_clip().get_tokenizer(self.name.removeprefix("clip:"))(list(prompts))
        embedded: Tensor = self.text.encode_text(tokens.to(next(self.parameters()).device))
        return embedded


def build_clip(name: str, *, weights: StateDict | None = None, text: bool = False) -> ClipBackbone:
    """Build an image tower by its open_clip name; nothing is downloaded.

    Args:
        name: Such as ``ViT-B-16``, ``ViT-B-16-quickgelu`` or ``RN50``.
        weights: A state dict of the whole model, of its image tower, of `ClipBackbone` itself, or
            of few-shot research code around the tower. Random weights without it.
        text: Keep the text tower, for `ClipBackbone.encode_text`.

    Raises:
        ModelNotFoundError: If open_clip has no model of that name.
        DependencyError: If open_clip is missing or too old.
        CheckpointError: If the weights do not fit.
        ArgumentError: If `text` is asked of a model whose tokenizer is not part of open_clip.
    """
    open_clip = import_open_clip()
    name, known = name.replace("/", "-"), open_clip.list_models()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.3)
        hint = f"did you mean {' or '.join(f'clip:{n}' for n in near)}? " if near else ""
        raise ModelNotFoundError(
            f"open_clip {open_clip.__version__} has no model {name!r}; {hint}"
            "open_clip.list_models() names all"
        )
    facts = open_clip.get_model_config(name)
    hub_text = [key for key in ("hf_model_name", "hf_tokenizer_name") if key in facts["text_cfg"]]
    if text and hub_text:
        raise ArgumentError(
            f"the text side of clip:{name} is not part of open_clip; leave out text, or take a "
            "model with CLIP's own tokenizer such as clip:ViT-B-16"
        )
    network = ClipBackbone(_model(open_clip, facts, text=text), name=name, facts=facts, text=text)
    if weights is not None:
        source = f"the state dict given for clip:{name}"
        load_weights(network, map_keys(weights, text=text), source=source)
    return network


def map_keys(state: StateDict, *, text: bool = False) -> dict[str, Tensor]:
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
    if not any(key.startswith("visual.") for key in state):
        return {f"visual.{key}": value for key, value in state.items()}
    own = "text.logit_scale" in state
    mapped = {}
    for key, value in state.items():
        if key.startswith("visual."):
            mapped[key] = value
        elif text and key not in _NOT_WEIGHTS:
            mapped[key if own else f"text.{key}"] = value
    return mapped


def _model(open_clip: Any, facts: dict[str, Any], *, text: bool) -> nn.Module:
    # The classes rather than create_model: that one logs through the root logger, which installs a
    # handler there, and downloads the weights of some text towers unless told otherwise.
    facts = dict(facts)
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
    model: nn.Module = make(**facts)
    if not hasattr(model.visual, "forward_intermediates"):
        raise DependencyError(
            f"open_clip {open_clip.__version__} cannot give feature maps: "
            "pip install --upgrade 'open_clip_torch>=2.32'"
        )
    return model


def _stages(visual: Any, vision_cfg: dict[str, Any]) -> dict[str, int]:
    """Read off a tower which maps it gives, and how wide they are."""
    if hasattr(visual, "layer4"):
        width = int(vision_cfg["width"])
        return {"layer3": 16 * width, "layer4": 32 * width}
    trunk = getattr(visual, "trunk", None)
    if trunk is None:
        return {"tokens": int(vision_cfg["width"])}
    info = getattr(trunk, "feature_info", None)
    if info and hasattr(trunk, "forward_intermediates"):
        return {"tokens": int(info[-1]["num_chs"])}
    return {}


def _final_norm(visual: Any) -> bool:
    return getattr(visual, "attn_pool", None) is None
