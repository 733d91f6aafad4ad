"""Models whose heads are computed on first use and kept on disk, beside the cache of features."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones import Backbone
from a2m2_zoo.errors import CheckpointError, SaveError
from a2m2_zoo.features import default_cache
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.text import TextTower
from a2m2_zoo.zoo.backbone_files import BackboneFile
from a2m2_zoo.zoo.training_free import (
    Amounts,
    Head,
    Progress,
    check,
    head_for,
    own_preprocess,
    training_free,
)

#: To be raised with every change that gives other heads: those on disk are then computed anew.
RECIPE = 2


def computed_model(
    name: str,
    backbone: Backbone,
    *,
    backbone_name: str,
    backbone_sha256: str,
    text: TextTower | None = None,
    amounts: Amounts | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    weights: BackboneFile | None = None,
) -> Model:
    """A training-free model, computed on first use and kept on disk.

    It is A²M², or ``protonet`` on a backbone without maps.

    Args:
        name: The model's id.
        backbone: In evaluation mode.
        backbone_name: Name of its weights in the manifest.
        backbone_sha256: Hash of their file.
        text: The text tower beside the backbone.
        amounts: How many clips are drawn.
        folder: Where heads are kept; ``heads`` in the cache of features if None. One that is damaged, or of
            another recipe, is computed anew; where nothing can be written a warning says so.
        progress: Called after every generated clip, and never where the head is on disk.
        weights: Where the backbone's weights lie if the manifest does not name them: they go with the model.

    Raises:
        ArgumentError: The backbone is in training mode.
    """
    check(backbone)
    amounts, preprocess = amounts or Amounts(), own_preprocess(backbone)
    empty = head_for(backbone, preprocess.frames)
    facts = {
        "recipe": RECIPE,
        "id": name,
        "backbone": backbone_name,
        "backbone_sha256": backbone_sha256,
        "architecture": backbone.name,
        "preprocess": preprocess.to_dict(),
        "config": empty.config.to_dict(),
        **asdict(amounts),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    kept = default_cache() / "heads" if folder is None else folder
    file = kept / f"{backbone_sha256[:16]}-{key[:16]}.safetensors"

    def model(head: Head, scales: Mapping[int, float], sha256: str) -> Model:
        return Model(
            id=name,
            weights_hash=hashlib.sha256(f"{sha256}{backbone_sha256}".encode()).hexdigest(),
            backbone_hash=backbone_sha256,
            method_name="a2m2" if isinstance(head, A2M2) else "protonet",
            backbone_name=backbone_name,
            backbone=backbone,
            method=head.eval(),
            preprocess=preprocess,
            scales=scales,
            origin="training-free",
            backbone_file=None if weights is None else weights.beside,
            weights_path=weights.path if weights is not None and weights.beside else None,
            text=text,
        )

    found = _kept(file, key)
    if found is not None:
        apart(empty.load_state_dict)(found.tensors)
        return model(
            empty, {int(k): v for k, v in found.record["scales"].items()}, found.plain_sha256
        )
    head, scales = training_free(
        backbone, preprocess=preprocess, amounts=amounts, progress=progress
    )
    record = model(head, scales, "").record()
    tensors = head.weights()
    record["computed"] = {"key": key, "digest": _digest(record, tensors)}
    data = checkpoint.serialised(tensors, kind="model", record=record)
    plain = checkpoint.serialised(tensors, kind="model", record=record, summed=False)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda scratch: scratch.write_bytes(data))
    except (SaveError, OSError) as error:
        warnings.warn(
            f"the head of {name} was computed and cannot be kept ({error}); it will be computed again, "
            "unless A2M2_CACHE names a folder that can be written",
            stacklevel=2,
        )
    return model(head, scales, hashlib.sha256(plain).hexdigest())


def _kept(file: Path, key: str) -> checkpoint.Checkpoint | None:
    """The head on disk, if there is one and every bit of it is as it was written."""
    if not file.exists():
        return None
    try:
        found = checkpoint.load(file, kind="model")
    except CheckpointError:
        return None
    record = dict(found.record)
    said = record.pop("computed", None)
    return found if said == {"key": key, "digest": _digest(record, found.tensors)} else None


def _digest(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Hash over a record and tensors; nobody has announced one of a file that is made here."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
