"""Checkpoints of the official TRX code, and of its port in the MoLo family's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.methods.trx import TRXConfig
from a2m2_zoo.zoo.convert.base import Converted, renamed

_PARTS = {
    "k_linear.weight": "key.weight",
    "k_linear.bias": "key.bias",
    "v_linear.weight": "value.weight",
    "norm_k.weight": "norm.weight",
    "norm_k.bias": "norm.bias",
    "pe.pe": "pe",
}
# A bias of the values cancels in v_q − A v_c, and the code never calls norm_v.
_UNUSED = ("v_linear.bias", "norm_v.weight", "norm_v.bias")


def convert_trx(state: Mapping[str, Tensor], *, source: str) -> Converted:
    """The cross-transformers of a checkpoint, for ``TRX``.

    Args:
        state: Official key → tensor, without prefixes and without the backbone.
        source: What to call the file in an error.

    Raises:
        CheckpointError: Keys are missing or unknown, or sizes disagree.
    """
    names, unused = transformer_names(state)
    found = renamed(state, names=names, dropped=unused, source=source)
    head, sizes = by_cardinality(found, source=source)
    config = TRXConfig(
        channels=sizes["channels"][0],
        out=sizes["out"][0],
        frames=sizes["frames"][0],
        cardinalities=sizes["cardinalities"],
    )
    return Converted(config, head, tuple(k for k in state if k in unused or k.endswith("pe.pe")))


def transformer_names(state: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Official key → our key with the transformer's index, and the keys that may be left behind."""
    numbers = {found[1] for key in state if (found := re.match(r"transformers\.(\d+)\.", key))}
    each = sorted(numbers, key=int) or ["0"]
    names = {
        f"transformers.{i}.{theirs}": f"transformers.{i}.{ours}"
        for i in each
        for theirs, ours in _PARTS.items()
    }
    unused = {f"transformers.{i}.{part}" for i in each for part in _UNUSED}
    return names, unused | {k for k in state if re.match(r"transformers\.\d+\.tuples\.\d+$", k)}


def by_cardinality(
    found: Mapping[str, Tensor], *, source: str
) -> tuple[dict[str, Tensor], dict[str, tuple[int, ...]]]:
    """Transformers under their cardinality in place of their index, and their sizes.

    Args:
        found: Tensors under the names of ``transformer_names``; others stay as they are.
        source: What to call the file in an error.

    Returns:
        The tensors, and ``channels``, ``out`` and ``frames`` (one number each) and ``cardinalities``.

    Raises:
        CheckpointError: The sizes of the transformers disagree.
    """
    numbers = [key.split(".")[1] for key in found if re.match(r"transformers\.\d+\.pe$", key)]
    cardinality, sizes = {}, set()
    for i in numbers:
        weight = found[f"transformers.{i}.key.weight"]
        length, channels = encoding_size(found[f"transformers.{i}.pe"], source=source)
        cardinality[i] = weight.shape[1] // channels
        sizes.add((channels, len(weight), length))
        if weight.shape != (len(weight), channels * cardinality[i]) or not cardinality[i]:
            raise CheckpointError(
                f"{source} has keys of {tuple(weight.shape)} over frames of {channels} channels; "
                "their width must be a multiple of that"
            )
    if len(sizes) > 1 or len(set(cardinality.values())) < len(numbers):
        raise CheckpointError(
            f"{source} has transformers of (channels, out, frames) {sorted(sizes)} for tuples of "
            f"{list(cardinality.values())}; expected one of each cardinality and the same sizes"
        )
    head = {
        re.sub(r"^transformers\.(\d+)", lambda m: f"transformers.{cardinality[m[1]]}", key): tensor
        for key, tensor in found.items()
        if not re.match(r"transformers\.\d+\.pe$", key)
    }
    names = ("channels", "out", "frames")
    ours = {name: (size,) for name, size in zip(names, sizes.pop(), strict=True)}
    return head, {**ours, "cardinalities": tuple(cardinality.values())}


def encoding_size(encoding: Tensor, *, source: str) -> tuple[int, int]:
    """Positions and channels behind a buffer ``pe.pe`` (1, ⌊1.5·positions⌋, channels).

    Raises:
        CheckpointError: It is not the encoding that these methods use.
    """
    if encoding.ndim == 3 and len(encoding) == 1 and encoding.shape[1]:
        length, channels = encoding.shape[1:]
        if torch.allclose(encoding[0].float(), 0.1 * pair_positions(length, channels), atol=1e-5):
            return (2 * length + 2) // 3, channels
    raise CheckpointError(
        f"{source} has a position encoding {tuple(encoding.shape)} that is not a tenth of the usual "
        "sines and cosines; it is not a checkpoint of this method's official code"
    )
