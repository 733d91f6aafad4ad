"""Reading checkpoints of the official research code: no code in them is ever run.

They are pickles. Only ``torch.load(weights_only=True)`` opens them, which builds tensors, numbers, strings
and containers and refuses everything else; what it gives is checked before it is used.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo._utils.files import open_regular
from a2m2_zoo.errors import CheckpointError

#: Larger files are refused; the largest official one, MoLo with its optimizer, has 1.1 GB.
MAX_BYTES = 8 << 30
_WRAPPERS = ("model_state", "model_state_dict", "state_dict")
_BACKBONES = ("backbone", "resnet")
# Towers of the published CLIP-FSAR, told apart by one weight: (key, shape) → open_clip's name.
_CLIP_TOWERS = {
    ("conv1.weight", (768, 3, 16, 16)): "clip:ViT-B-16-quickgelu",
    ("conv1.weight", (32, 3, 3, 3)): "clip:RN50-quickgelu",
}


@dataclass(frozen=True)
class Parts:
    """An official state, cut where head and backbone meet.

    Attributes:
        head: Keys of the method.
        backbone: Keys of the backbone without their prefix.
        prefix: That prefix: ``backbone`` in the MoLo family, ``resnet`` in TRX and STRM.
        architecture: What ``build_backbone`` calls the backbone.
    """

    head: dict[str, Tensor]
    backbone: dict[str, Tensor]
    prefix: str
    architecture: str


def read_official(path: str | Path) -> dict[str, Tensor]:
    """The tensors of an official checkpoint, without the prefixes of its wrappers.

    A state dict is taken as it is or from below ``model_state``, ``model_state_dict`` or ``state_dict``;
    ``head.`` at the front of a key and ``module.`` anywhere in it (training on several GPUs) are cut.

    Args:
        path: A file written by ``torch.save``, of any version of torch.

    Returns:
        Key → tensor on the CPU.

    Raises:
        CheckpointError: The file is missing, too large, damaged, holds anything that would run code, or is
            no state dict.
    """
    path = Path(path)
    name = path.name
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise CheckpointError(f"{name!r} has {size:,} bytes; the limit is {MAX_BYTES:,} bytes")
        # Mapped, so that the optimizer's tensors are never read; files from before 1.6 cannot be.
        mapped = zipfile.is_zipfile(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns about what is refused below
            found = torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise CheckpointError(_why(name, error)) from error
    return _state(found, name, size)


def split_backbone(state: Mapping[str, Tensor], *, source: str) -> Parts:
    """Cut the backbone out of a state of ``read_official``.

    Args:
        state: Key → tensor.
        source: What to call the file in an error.

    Raises:
        CheckpointError: There is no backbone in it, or none that is known.
    """
    for prefix in _BACKBONES:
        start = f"{prefix}."
        backbone = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
        if backbone:
            head = {k: v for k, v in state.items() if not k.startswith(start)}
            return Parts(head, backbone, prefix, _architecture(backbone, source))
    some = ", ".join(sorted(state)[:4])
    raise CheckpointError(
        f"{source} has no backbone.* or resnet.* weights (it has {some}, ...); "
        "expected a whole official checkpoint"
    )


def _architecture(backbone: Mapping[str, Tensor], source: str) -> str:
    for (key, shape), name in _CLIP_TOWERS.items():
        if key in backbone and tuple(backbone[key].shape) == shape:
            return name
    if "0.weight" in backbone or "layer4.2.conv3.weight" in backbone:
        return "resnet50"
    raise CheckpointError(
        f"{source} has a backbone that is not known (it has {', '.join(sorted(backbone)[:4])}, ...); "
        "expected ResNet-50, CLIP's RN50 or CLIP's ViT-B/16"
    )


def _state(found: Any, name: str, size: int) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        found = next((found[key] for key in _WRAPPERS if key in found), found)
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(
            f"{name!r} holds no state dict; expected one, or one below {', '.join(_WRAPPERS)}"
        )
    state: dict[str, Tensor] = {}
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{name!r} is no state dict: {str(key)[:60]!r} is {type(value).__name__}; expected tensors"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(f"{name!r} has the unusual tensor {key!r}; expected plain ones")
        short = ".".join(part for part in key.split(".") if part != "module").removeprefix("head.")
        if short in state:
            raise CheckpointError(f"{name!r} has the key {short!r} twice, under two prefixes")
        state[short] = value.detach()
    # A tensor may claim more than is stored, by repeating it.
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > size:
        raise CheckpointError(f"{name!r} claims more weights than it holds; it is damaged")
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{name!r} has weights that are not finite, in {key!r}")
    return state


def _why(name: str, error: Exception) -> str:
    text = str(error)
    remedy = "save the weights alone, with torch.save(model.state_dict(), file)"
    if match := re.search(r"GLOBAL ([\w.]+)", text):
        return f"{name!r} holds the Python object {match[1]}; such a file could run code: {remedy}"
    if "torchscript" in text.lower():
        return f"{name!r} is a TorchScript program; it could run code: {remedy}"
    return f"{name!r} is no file of torch.save with weights only, or was cut short: {remedy}"
