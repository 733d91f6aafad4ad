"""From a name to a model in memory: the manifest, the file, its checks, the parts put together."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from a2m2_zoo.backbones import Backbone, build_backbone
from a2m2_zoo.errors import ArgumentError, CheckpointError, ModelNotFoundError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import (
    DEFAULT_MODEL,
    BackboneEntry,
    package_file,
    read_manifest,
)
from a2m2_zoo.methods import build_method
from a2m2_zoo.model import Model
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
        found = checkpoint.load(_checkpoint_file(path), kind="model")
    else:
        entry = read_manifest().model(text)
        found = checkpoint.load(package_file(entry.file), kind="model", sha256=entry.sha256)
    model = assembled(found, source=text)
    return model.to(_device(device), dtype)


def _checkpoint_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise CheckpointError(
            f"the folder {str(path)!r} holds {len(files)} .safetensors files; expected one, or give the "
            "path of the file"
        )
    return files[0]


def assembled(found: checkpoint.Checkpoint, *, source: str) -> Model:
    """A model on the CPU from a checkpoint's record and tensors.

    Raises:
        CheckpointError: The record does not describe a model, or the tensors are another model's.
    """
    record = found.record
    try:
        method = build_method(record["method"], record["config"])
        preprocess = Preprocess.from_dict(record["preprocess"])
        scales = {int(shot): float(value) for shot, value in record["scales"].items()}
        name, backbone = str(record["id"]), str(record["backbone"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the header of {source!r} does not describe a model: {error}"
        ) from error
    if not scales or min(scales) < 1 or not all(0 < v < float("inf") for v in scales.values()):
        raise CheckpointError(f"the header of {source!r} has no sound calibration scales")
    entry = read_manifest().backbones.get(backbone)
    if entry is None:
        raise CheckpointError(
            f"{source!r} stands on backbone {backbone!r}; this version has "
            f"{', '.join(read_manifest().backbones)}"
        )
    _load_strictly(method, found.tensors, source)
    return Model(
        id=name,
        weights_hash=hashlib.sha256(f"{found.sha256}{entry.sha256}".encode()).hexdigest(),
        backbone_hash=entry.sha256,
        method_name=str(record["method"]),
        backbone_name=backbone,
        backbone=_backbone(entry).eval(),
        method=method.eval(),
        preprocess=preprocess,
        scales=scales,
    )


def _backbone(entry: BackboneEntry) -> Backbone:
    weights = checkpoint.read_tensors(package_file(entry.file), sha256=entry.sha256)
    return build_backbone(entry.architecture, weights=weights)


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


def _device(device: str | torch.device) -> torch.device:
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
