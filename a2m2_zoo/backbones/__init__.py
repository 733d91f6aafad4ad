"""Networks over frames: (b, t, 3, h, w) → feature maps at named stages and a vector per frame.

One signature for all, see `Backbone`; `build_backbone` turns a name into a network.
"""

from __future__ import annotations

from .base import Backbone, Features, Preprocess, StateDict
from .registry import BACKBONES, build_backbone

__all__ = ["BACKBONES", "Backbone", "Features", "Preprocess", "StateDict", "build_backbone"]
