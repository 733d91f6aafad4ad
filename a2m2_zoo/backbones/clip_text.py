"""The text side of open_clip's models."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import ArgumentError


class ClipText(nn.Module):
    """The text tower of such a model, without its image tower.

    Args:
        model: A model of open_clip.
        name: Its name there.
    """

    def __init__(self, model: nn.Module, *, name: str) -> None:
        super().__init__()
        self.name = f"clip:{name}"
        self.tower = name
        del model.visual
        self.text: Any = model

    @property
    def scale(self) -> float:
        """The learned factor on cosines between images and texts, 100 in CLIP's published weights."""
        return float(self.text.logit_scale.detach().exp())

    def encode_text(self, prompts: Sequence[str]) -> Float[Tensor, "n c"]:
        """Embed prompts as `ClipBackbone.encode_text` does."""
        return embedded(self.text, self.tower, prompts)


def embedded(model: Any, name: str, prompts: Sequence[str]) -> Tensor:
    """Prompts in the space shared with images."""
    if isinstance(prompts, str) or not prompts:
        raise ArgumentError(f"prompts is {prompts!r}; give a list of at least one string")
    tokens = _tokenizer(name)(list(prompts))
    device = next(model.parameters()).device
    embedded: Tensor = model.encode_text(tokens.to(device), normalize=False)  # CoCa would
    return embedded


@lru_cache(maxsize=4)
def _tokenizer(name: str) -> Any:
    """CLIP's own, set up as open_clip would; its get_tokenizer logs through the root logger."""
    open_clip = import_open_clip()
    facts = open_clip.get_model_config(name)["text_cfg"]
    length = facts.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH)
    return open_clip.SimpleTokenizer(context_length=length, **facts.get("tokenizer_kwargs", {}))
