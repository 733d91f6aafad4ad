"""Checkpoints of the official research code, made into ours: safe unpickling, strict about every key."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.files import folder_to_make, new_folder
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.errors import ArgumentError, CheckpointError

if TYPE_CHECKING:
    from a2m2_zoo.backbones import Backbone
    from a2m2_zoo.methods import Method
    from a2m2_zoo.video import Preprocess
    from a2m2_zoo.zoo.convert.base import Converted

#: Method → module and name of the function that converts its head.
CONVERTERS: dict[str, tuple[str, str]] = {
    "molo": ("molo", "convert_molo"),
    "clip-fsar": ("clip_fsar", "convert_clip_fsar"),
    "hyrsm": ("hyrsm", "convert_hyrsm"),
    "hyrsm++": ("hyrsm", "convert_hyrsm_plus_plus"),
    "trx": ("trx", "convert_trx"),
    "strm": ("strm", "convert_strm"),
}
_CLIP = "clip-fsar"


@dataclass(frozen=True)
class Conversion:
    """What was made of an official checkpoint.

    Attributes:
        folder: The folder written; ``load_model`` takes it.
        id: The model's name.
        method: Its method.
        architecture: Its backbone.
        config: The method's configuration.
        loaded: Official tensors that were taken, of the head and of the backbone.
        dropped: Official keys that only training needs.
        sha256: File name → hash.
    """

    folder: Path
    id: str
    method: str
    architecture: str
    config: dict[str, Any]
    loaded: int
    dropped: tuple[str, ...]
    sha256: dict[str, str]


@plain()
def convert(
    method: str,
    file: str | Path,
    *,
    out: str | Path,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    preprocess: Preprocess | None = None,
) -> Conversion:
    """Convert an official checkpoint into a folder that ``load_model`` takes.

    Args:
        method: One of ``CONVERTERS``.
        file: The official checkpoint, see ``read_official``.
        out: The folder to write; it must not exist yet, or be empty. It appears complete or not at all.
        name: The model's name; the folder's by default.
        settings: Fields of the method's configuration that a checkpoint does not tell, such as
            ``position_scale`` of MoLo.
        preprocess: What the model was trained on; by default what the official code feeds it.

    Raises:
        ArgumentError: There is no such method to convert, or no such setting.
        CheckpointError: The file is not such a checkpoint; every missing and surplus key is named.
        SaveError: ``out`` is there already, or cannot be written.
    """
    if method not in CONVERTERS:
        near = difflib.get_close_matches(method, CONVERTERS, n=2, cutoff=0.4)
        raise ArgumentError(
            f"nothing converts {method!r}; "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + f"Methods with official checkpoints: {', '.join(CONVERTERS)}"
        )
    target = Path(out)
    folder_to_make(target)
    from a2m2_zoo.zoo.convert.official import read_official, split_backbone

    source = Path(file).name
    state = read_official(file)
    parts = split_backbone(state, source=source)
    if parts.architecture.startswith("clip:") != (method == _CLIP):
        raise CheckpointError(
            f"{source} stands on {parts.architecture}, which the official {method} never does"
        )
    converted = _converter(method)(parts.head, source=source)
    config = type(converted.config).from_dict({**converted.config.to_dict(), **(settings or {})})
    head = _head(method, config, converted.head, source)
    from a2m2_zoo.backbones import build_backbone

    backbone = build_backbone(parts.architecture, weights=parts.backbone)
    spec = preprocess or _preprocess(method, parts.prefix, frames=getattr(config, "frames", 8))
    _probe(backbone, head, spec, source)
    hashes = _write(target, name or target.resolve().name, method, head, backbone, spec)
    return Conversion(
        folder=target,
        id=name or target.resolve().name,
        method=method,
        architecture=parts.architecture,
        config=config.to_dict(),
        loaded=len(state) - len(converted.dropped),
        dropped=tuple(converted.dropped),
        sha256=hashes,
    )


def _converter(method: str) -> Callable[..., Converted]:
    module, function = CONVERTERS[method]
    found: Callable[..., Converted] = getattr(
        importlib.import_module(f"{__name__}.{module}"), function
    )
    return found


def _preprocess(method: str, prefix: str, *, frames: int) -> Preprocess:
    """The official pixels. TRX of MoLo's code base, which calls the network ``backbone``, has MoLo's."""
    from a2m2_zoo.data.benchmarks import official_preprocess
    from a2m2_zoo.video import Preprocess

    family = "trx" if prefix == "resnet" else _CLIP if method == _CLIP else "molo"
    return Preprocess.from_dict(official_preprocess(family) | {"frames": frames})


def _head(method: str, config: Any, weights: Mapping[str, Any], source: str) -> Method:
    from a2m2_zoo.backbones.base import load_weights
    from a2m2_zoo.methods import build_method

    head = build_method(method, config.to_dict())
    load_weights(head, weights, source=source)
    return head.eval()


def _probe(backbone: Backbone, head: Method, spec: Preprocess, source: str) -> None:
    """Encode one blank clip: a head and a backbone that do not fit each other are found out here."""
    import torch

    blank = torch.zeros(1, spec.frames, 3, spec.size, spec.size)
    try:
        with torch.inference_mode():
            head.encode(backbone(blank, stages=head.stages))
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the head of {source} does not fit its backbone: {str(error).splitlines()[0]}"
        ) from error


def _write(
    target: Path, name: str, method: str, head: Method, backbone: Backbone, spec: Preprocess
) -> dict[str, str]:
    from a2m2_zoo.hub import checkpoint

    with new_folder(target) as folder:
        backbone_file = checkpoint.save(
            folder / "backbone.safetensors",
            backbone.state_dict(),
            kind="backbone",
            record={"architecture": backbone.name},
        )
        record = {
            "id": name,
            "method": method,
            "backbone": {
                "architecture": backbone.name,
                "file": "backbone.safetensors",
                "sha256": backbone_file,
            },
            "config": head.config.to_dict(),
            "preprocess": spec.to_dict(),
            "scales": {"1": 1.0},  # official logits carry no calibration
            "origin": "converted",
        }
        own = checkpoint.save(
            folder / "model.safetensors", head.weights(), kind="model", record=record
        )
    return {"model.safetensors": own, "backbone.safetensors": backbone_file}
