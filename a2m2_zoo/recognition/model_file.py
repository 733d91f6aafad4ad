"""What a saved model says of its backbone, and the file of weights beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.hub import checkpoint

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model


def header_record(model: Model) -> dict[str, Any]:
    """What the header of a model's checkpoint says."""
    table = model.rejection
    rejection = None
    if table is not None:
        rejection = {str(shot): list(row) for shot, row in table.items()}
    return {
        "id": model.id,
        "method": model.method_name,
        "backbone": backbone_record(model),
        "config": model.method.config.to_dict(),
        "preprocess": model.preprocess.to_dict(),
        "scales": {str(shot): value for shot, value in model.scales.items()},
        **({} if model.origin == "training-free" else {"origin": model.origin}),
        **({} if rejection is None else {"rejection": rejection}),
    }


def backbone_record(model: Model) -> str | dict[str, Any]:
    """The name of the backbone's weights in the manifest, or what their file beside the model is."""
    if model.backbone_file is None:
        return model.backbone_name
    config = model.backbone.config
    return {
        "architecture": model.backbone_name,
        "file": model.backbone_file,
        "sha256": model.backbone_hash,
        **({} if config is None else {"config": dict(config)}),
    }


def place_weights(model: Model, target: Path) -> None:
    """Write the backbone's weights to a file, unless that is there.

    Raises:
        SaveError: It could not be written.
    """
    source = model.weights_path
    if target.exists() or target.is_symlink():
        return
    if source is not None and source.exists():
        write_atomically(target, lambda scratch: shutil.copyfile(source, scratch))
    elif source is None and model.origin == "training-free":  # of a plugin that brings its own
        record = {"architecture": model.backbone_name}
        checkpoint.save(target, model.backbone.state_dict(), kind="backbone", record=record)
