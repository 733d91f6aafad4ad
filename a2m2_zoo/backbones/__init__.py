"""Networks over frames: (b, t, 3, h, w) → feature maps at named stages and a vector per frame.

One signature for all, see `Backbone`; `build_backbone` turns a name into a network.
"""

from __future__ import annotations

from a2m2_zoo.backbones.base import Backbone, Features, Preprocess, StateDict
from a2m2_zoo.backbones.clip_text import ClipText
from a2m2_zoo.backbones.registry import (
    BACKBONES,
    build_backbone,
    build_text,
    has_text,
    needed_keys,
    split,
)

__all__ = [
    "BACKBONES",
    "Backbone",
    "ClipText",
    "Features",
    "Preprocess",
    "StateDict",
    "build_backbone",
    "build_text",
    "has_text",
    "needed_keys",
    "split",
]
