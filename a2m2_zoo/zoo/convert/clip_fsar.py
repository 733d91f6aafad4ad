"""Heads of CLIP-FSAR, trained with the official code, made into ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from a2m2_zoo.methods.clip_fsar import ClipFSARConfig
from a2m2_zoo.zoo.convert.base import Converted, renamed

_LAYER = re.compile(r"context2\.layers\.(\d+)\.")


def convert_clip_fsar(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """A ``CNN_OTAM_CLIPFSAR`` head.

    The text features are no part of the official checkpoint and none of ours. Its recipe is not in the
    tensors either: ``dataclasses.replace`` the configuration for ``merge_before`` (5-shot).

    Args:
        state: Official key → tensor, without prefix and backbone.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or left over.
    """
    found_layers = [int(match[1]) for key in state if (match := _LAYER.match(key))]
    depth = 1 + max(found_layers, default=0)
    names = {"scale": "scale"}
    for i in range(depth):
        theirs, ours = f"context2.layers.{i}", f"context.{i}"
        names |= {f"{theirs}.0.fn.to_{part}.weight": f"{ours}.0.{part}" for part in "qkv"}
        for kind in ("weight", "bias"):
            names[f"{theirs}.0.norm.{kind}"] = f"{ours}.0.norm.{kind}"
            names[f"{theirs}.0.fn.to_out.0.{kind}"] = f"{ours}.0.out.{kind}"
            for layer in (0, 3):
                names[f"{theirs}.1.net.{layer}.{kind}"] = f"{ours}.1.net.{layer}.{kind}"
    head = renamed(state, names=names, source=source)
    for i in range(depth):
        parts = [head.pop(f"context.{i}.0.{part}") for part in "qkv"]
        head[f"context.{i}.0.qkv.weight"] = torch.cat(parts)
    hidden, channels = head["context.0.1.net.0.weight"].shape
    return Converted(
        ClipFSARConfig(channels=channels, hidden=hidden, depth=depth), head, dropped=()
    )
