"""Checkpoints of the official MoLo code."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.blocks.attention import channel_positions
from a2m2_zoo.methods.molo import MoLoConfig
from a2m2_zoo.zoo.convert.base import Converted, renamed

_ENCODERS = {"temporal_atte_before": "appearance", "temporal_atte_before_motion": "motion"}
_LAYERS = {
    "0.norm.weight": "attention.norm.weight",
    "0.norm.bias": "attention.norm.bias",
    "0.fn.to_qkv.weight": "attention.qkv.weight",
    "0.fn.to_out.0.weight": "attention.out.weight",
    "0.fn.to_out.0.bias": "attention.out.bias",
    "1.net.0.weight": "feed_forward.net.0.weight",
    "1.net.0.bias": "feed_forward.net.0.bias",
    "1.net.3.weight": "feed_forward.net.3.weight",
    "1.net.3.bias": "feed_forward.net.3.bias",
}
_NAMES = {
    "class_token": "encoders.appearance.token",
    "class_token_motion": "encoders.motion.token",
    **{
        f"motion_{part}.{kind}": f"motion.{part}.{kind}"
        for part in ("reduce", "conv", "up")
        for kind in ("weight", "bias")
    },
    **{
        f"{encoder}.layers.0.{layer}": f"encoders.{part}.{ours}"
        for encoder, part in _ENCODERS.items()
        for layer, ours in _LAYERS.items()
    },
}
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_TRAINING = (
    "scale",
    "scale_motion",
    "pe.pe",
    "classification_layer.weight",
    "classification_layer.bias",
    *(f"up{i}.conv.double_conv.0.weight" for i in (1, 2, 3)),
    *(f"up{i}.conv.double_conv.1.{key}" for i in (1, 2, 3) for key in _NORM),
    "outc.conv.weight",
    "outc.conv.bias",
)


def convert_molo(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """A MoLo head from the state of the official ``CNN_BiMHM_MoLo``.

    Three fields of the configuration change what the head computes and are not in a checkpoint. They are
    the official defaults here: ``frames`` 8, ``position_scale`` 10 and ``position_weight`` 1; the Kinetics
    configuration has 8, 2048 and 0.02.

    Args:
        state: Official key → tensor, without those of the backbone.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or left over, or the positions are not those of the paper's code.
    """
    head = renamed(state, names=_NAMES, dropped=_TRAINING, source=source)
    for part in _ENCODERS.values():
        head[f"encoders.{part}.token"] = head[f"encoders.{part}.token"].flatten()
    reduced, channels = head["motion.reduce.weight"].shape[:2]
    _check_positions(state, channels, source)
    config = MoLoConfig(
        channels=channels,
        motion_channels=reduced,
        hidden=len(head["encoders.appearance.feed_forward.net.0.bias"]),
    )
    return Converted(config, head, tuple(key for key in _TRAINING if key in state))


def _check_positions(state: Mapping[str, Tensor], channels: int, source: str) -> None:
    """Positions are computed here, not stored; a table that says otherwise belongs to another model."""
    if "pe.pe" not in state:
        return
    table = state["pe.pe"].float().squeeze(0)
    ours = channel_positions(len(table), channels)
    if table.shape != ours.shape or not torch.allclose(table, ours.to(table.device), atol=1e-3):
        raise CheckpointError(
            f"{source} has other positions (pe.pe) than MoLo's code; convert an unmodified checkpoint"
        )
