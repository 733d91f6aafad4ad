"""From a name to a model in memory: the manifest, the file, its checks, the parts put together."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo.backbones import Backbone, build_backbone
from a2m2_zoo.errors import ArgumentError, CheckpointError, ModelNotFoundError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import (
    DEFAULT_MODEL,
    package_file,
    read_manifest,
)
from a2m2_zoo.methods import build_method
from a2m2_zoo.model import ORIGINS, Model
from a2m2_zoo.video import Preprocess


def load_model(
    name: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    offline: bool | None = None,
) -> Model:
    """Load a recogniser.

    Args:
        name: A name that ``list_models`` gives, a checkpoint file, or a folder with one checkpoint.
        device: ``auto`` takes CUDA where there is one and the CPU elsewhere; or any torch device.
        dtype: Precision of the backbone; float32 by default. The head always computes in float32.
        offline: Never use the network. The models of this version are all in the package or on disk,
            so nothing changes; ``hf-hub:`` names are refused either way.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelNotFoundError: No model goes by that name; the nearest names are given.
        CheckpointError: A file is missing, damaged, or not a model.
        ArgumentError: The device is not there.

    >>> load_model("a2m2-lite0").id
    'a2m2-lite0'
    """
    text = os.fspath(name)
    if text.startswith("hf-hub:"):
        raise ModelNotFoundError(
            f"{text!r} lies on the Hugging Face Hub, which this version does not fetch from yet; "
            "download the checkpoint and give its path, or use an embedded model: "
            + ", ".join(read_manifest().models)
        )
    path = Path(text)
    if path.suffix == ".safetensors" or path.exists():
        file = _checkpoint_file(path)
        found = checkpoint.load(file, kind="model")
    else:
        entry = read_manifest().model(text)
        file = package_file(entry.file)
        found = checkpoint.load(file, kind="model", sha256=entry.sha256)
    model = assembled(found, source=text, folder=file.parent)
    return model.to(find_device(device), dtype)


def _checkpoint_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (named := path / "model.safetensors").is_file():
        return named
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise CheckpointError(
            f"the folder {str(path)!r} holds {len(files)} .safetensors files; expected one or a "
            "model.safetensors, or give the path of the file"
        )
    return files[0]


def assembled(found: checkpoint.Checkpoint, *, source: str, folder: Path | None = None) -> Model:
    """A model on the CPU from a checkpoint's record and tensors.

    Args:
        found: The checkpoint.
        source: What to call it in errors.
        folder: Where the file with its backbone lies, if the record names one.

    Raises:
        CheckpointError: The record does not describe a model, or the tensors are another model's.
    """
    record = found.record
    try:
        method = build_method(record["method"], record["config"])
        preprocess = Preprocess.from_dict(record["preprocess"])
        scales = {int(shot): float(value) for shot, value in record["scales"].items()}
        name, trunk = str(record["id"]), record["backbone"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the header of {source!r} does not describe a model: {error}"
        ) from error
    if not scales or min(scales) < 1 or not all(0 < v < float("inf") for v in scales.values()):
        raise CheckpointError(f"the header of {source!r} has no sound calibration scales")
    origin = record.get("origin", "training-free")
    if origin not in ORIGINS:
        raise CheckpointError(
            f"the header of {source!r} has the origin {origin!r}; expected one of {', '.join(ORIGINS)}"
        )
    _load_strictly(method, found.tensors, source)
    part = _named(trunk, source) if isinstance(trunk, str) else _beside(trunk, source, folder)
    return Model(
        id=name,
        weights_hash=hashlib.sha256(f"{found.sha256}{part.sha256}".encode()).hexdigest(),
        backbone_hash=part.sha256,
        method_name=str(record["method"]),
        backbone_name=part.name,
        backbone=part.build().eval(),
        method=method.eval(),
        preprocess=preprocess,
        scales=scales,
        backbone_file=part.beside,
        origin=origin,
    )


@dataclass(frozen=True)
class _Trunk:
    """Where a backbone's weights lie, and what is said of them."""

    name: str
    architecture: str
    path: Path
    sha256: str
    beside: str | None = None

    def build(self) -> Backbone:
        weights = checkpoint.read_tensors(self.path, sha256=self.sha256)
        return build_backbone(self.architecture, weights=weights)


def _named(name: str, source: str) -> _Trunk:
    entry = read_manifest().backbones.get(name)
    if entry is None:
        raise CheckpointError(
            f"{source!r} stands on backbone {name!r}; this version has "
            f"{', '.join(read_manifest().backbones)}"
        )
    return _Trunk(name, entry.architecture, package_file(entry.file), entry.sha256)


def _beside(record: Any, source: str, folder: Path | None) -> _Trunk:
    """A backbone in a file beside the checkpoint; the record is hostile until checked."""
    keys = {"architecture", "file", "sha256"}
    if (
        not isinstance(record, Mapping)
        or set(record) != keys
        or not all(isinstance(value, str) for value in record.values())
        or not re.fullmatch(r"[\w-][\w.+-]*\.safetensors", record["file"], re.ASCII)
        or not re.fullmatch(r"[0-9a-f]{64}", record["sha256"])
    ):
        raise CheckpointError(
            f"the header of {source!r} does not say where its backbone lies; expected architecture, "
            "file (a plain name ending in .safetensors) and sha256"
        )
    if folder is None:
        raise CheckpointError(
            f"{source!r} needs {record['file']!r} beside it; load it from its folder"
        )
    return _Trunk(
        name=record["architecture"],
        architecture=record["architecture"],
        path=folder / record["file"],
        sha256=record["sha256"],
        beside=record["file"],
    )


def _load_strictly(method: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    own = method.state_dict()
    both = set(own) & set(tensors)
    for problem, names in (
        ("lacks", sorted(set(own) - set(tensors))),
        ("has the unknown", sorted(set(tensors) - set(own))),
        (
            "has the wrong shape of",
            sorted(n for n in both if own[n].shape != tensors[n].shape),
        ),
    ):
        if names:
            raise CheckpointError(
                f"{source!r} {problem} {', '.join(names[:8])}; it is another model's"
            )
    method.load_state_dict(tensors)


def find_device(device: str | torch.device) -> torch.device:
    """The device called so; ``auto`` takes CUDA where there is one.

    Raises:
        ArgumentError: It is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch's own three ways of saying that a device is unknown, not built in, or not there.
        raise ArgumentError(
            f"device {str(device)!r} cannot be used here ({str(error).splitlines()[0]}); "
            "use 'auto' or 'cpu'"
        ) from error
    return chosen
