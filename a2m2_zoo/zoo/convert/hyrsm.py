"""Heads of HyRSM and HyRSM++, trained with the official code, made into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from a2m2_zoo.methods.hyrsm import HyRSMConfig, HyRSMPlusPlusConfig
from a2m2_zoo.zoo.convert.base import Converted, renamed

_MODULES = {
    "temporal_atte_before.norm": "temporal.norm",
    "temporal_atte_before.fn.to_out.0": "temporal.out",
    "temporal_atte.layer_norm": "relation.norm",
    "temporal_atte.fc": "relation.out",
    "layer2.0": "fuse",
}
_NAMES = {
    f"{theirs}.{kind}": f"{ours}.{kind}"
    for theirs, ours in _MODULES.items()
    for kind in ("weight", "bias")
} | {
    "temporal_atte_before.fn.to_qkv.weight": "temporal.qkv.weight",
    "temporal_atte.w_qs.weight": "relation.q.weight",
    "temporal_atte.w_ks.weight": "relation.k.weight",
    "temporal_atte.w_vs.weight": "relation.v.weight",
}
# The classifier is for training; the positions are a formula, computed when needed.
_DROPPED = ("classification_layer.bias", "classification_layer.weight", "pe.pe")


def convert_hyrsm(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """A ``CNN_HyRSM_1shot`` or ``CNN_HyRSM_5shot`` head.

    The two official classes have the same tensors, and the scales of the position encoding are not among
    them: ``dataclasses.replace`` the configuration with ``shots="prototypes"`` for the 5-shot class, and
    with the recipe's ``feature_scale`` and ``position_scale``.

    Args:
        state: Official key → tensor, without prefix and backbone.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or left over.
    """
    return _converted(state, HyRSMConfig, source)


def convert_hyrsm_plus_plus(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """A ``CNN_HyRSM_plusplus_1shot`` or ``_5shot`` head; all else as in ``convert_hyrsm``.

    Args:
        state: Official key → tensor, without prefix and backbone.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or left over.
    """
    return _converted(state, HyRSMPlusPlusConfig, source)


def _converted(state: Mapping[str, Tensor], config: Any, source: str) -> Converted:
    head = renamed(state, names=_NAMES, dropped=_DROPPED, source=source)
    head["fuse.weight"] = head["fuse.weight"].squeeze(-1)  # a convolution of one frame
    dropped = tuple(key for key in _DROPPED if key in state)
    return Converted(config(channels=len(head["relation.norm.weight"])), head, dropped)
