"""``export_model``: a folder with two graphs and all that is needed to use them without this package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch

from a2m2_zoo._version import __version__
from a2m2_zoo.errors import ArgumentError, ExportError, SaveError
from a2m2_zoo.export.checks import TOLERANCE, Reference
from a2m2_zoo.export.graphs import Graph, exportable, record_encoder, record_matcher
from a2m2_zoo.export.runtimes import OPSET, RUNTIMES, check_installed
from a2m2_zoo.model import Model
from a2m2_zoo.video import Clip

CONFIG = "config.json"

# What a program must do around the graphs; docs/export.md says the same at length.
_RULES = {
    "sampling": "the frame on the screen at (k + 1/2) / frames of the clip's length, k = 0 .. frames - 1; "
    "at a constant rate that is frame floor((k + 1/2) * count / frames)",
    "pixels": "RGB of full range, turned as displayed, scaled by libswscale with the flags interpolation + "
    "accurate_rnd + bitexact so that the short side is resize; the middle size x size is kept",
    "one_hot": "float32, 1 where a support is of a class; every class has a support",
    "probabilities": "softmax(logits * scale) in float64. One support per class: scale is that of 1 in "
    "scales. More: a prior log-linear in the logarithm of the mean number of supports between the scales, "
    "and of prior * exp(s), s in 97 steps from -log 8 to log 8, the one with the least sum of -log p of each "
    "support under the others' pairs, plus (s / log 2)^2 / 2",
}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        to: The format.
        sha256: File → hash, of all files but ``config.json``, which holds them too.
        differences: Graph → output → largest difference from the model in the check.
        clips: Clips in the check.
    """

    folder: Path
    to: str
    sha256: dict[str, str]
    differences: dict[str, dict[str, float]]
    clips: int


def export_model(
    model: Model,
    out: str | os.PathLike[str],
    *,
    to: str = "onnx",
    clips: Sequence[Clip] = (),
) -> Exported:
    """Write a model as two graphs that need nothing of this package.

    ``encoder`` makes descriptors of pixels, normalisation included: uint8 RGB (B, T, size, size, 3).
    ``matcher`` makes logits (Q, W) and scores of pairs (Q, N) of descriptors of Q queries and N supports and
    the supports' classes, one-hot (N, W). B, Q, N and W are open. ``config.json`` says how pixels are made
    and logits become probabilities. What was written is read back and compared with the model; a graph
    that differs by more than ``TOLERANCE`` is not kept.

    Args:
        model: Of one of ``METHODS``; it is copied to the CPU in float32.
        out: The folder to write; it must not exist yet, or be empty. It appears complete or not at all.
        to: ``onnx`` or ``torch-export``.
        clips: More clips to compare on, read with the model's ``preprocess``; noise, a still picture and
            drawn figures are always among them.

    Raises:
        ArgumentError: An unknown format.
        DependencyError: A package that the format needs is not installed.
        ExportError: The method cannot be exported, or the graphs compute something else.
        SaveError: ``out`` is there already, or cannot be written.
    """
    if to not in RUNTIMES:
        raise ArgumentError(f"to is {to!r}; expected one of {', '.join(RUNTIMES)}")
    target = Path(out)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise SaveError(f"{str(target)!r} exists; give a new folder, or remove it first")
    exportable(model)
    check_installed(to)
    model = _plain(model)
    reference = Reference.of(model, clips)
    graphs = [record_encoder(model), record_matcher(model, reference.descriptors)]
    scratch = target.with_name(f".{target.name}-{token_hex(4)}")
    try:
        scratch.mkdir()
        made = _fill(scratch, graphs, reference, to)
        if target.exists():
            target.rmdir()
        scratch.rename(target)
    except OSError as error:
        if isinstance(error, ExportError):
            raise
        raise SaveError(
            f"cannot write {str(target)!r}: {error.strerror or error}; name a folder inside one that exists, "
            "is writable and has room"
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(made, folder=target)


def _plain(model: Model) -> Model:
    """A copy that computes in float32 on the CPU, so that the caller's stays where it is."""
    copy = replace(model, backbone=deepcopy(model.backbone), method=deepcopy(model.method))
    return copy.to("cpu", torch.float32)


def _fill(folder: Path, graphs: list[Graph], reference: Reference, to: str) -> Exported:
    runtime = RUNTIMES[to]
    paths = {graph.name: folder / f"{graph.name}{runtime.suffix}" for graph in graphs}
    for graph in graphs:
        runtime.write(graph, paths[graph.name])
    encoder, matcher = (runtime.open(paths[graph.name]) for graph in graphs)
    made = Exported(
        folder=folder,
        to=to,
        sha256={path.name: _digest(path) for path in sorted(folder.iterdir())},
        differences={
            "encoder": reference.check_encoder(encoder),
            "matcher": reference.check_matcher(matcher, encoder),
        },
        clips=len(reference.pixels),
    )
    config = _config(reference.model, graphs, made)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return made


def _config(model: Model, graphs: list[Graph], made: Exported) -> dict[str, Any]:
    runtime = RUNTIMES[made.to]
    return {
        "format": 1,
        "model": model.id,
        "method": model.method_name,
        "backbone": model.backbone_name,
        "weights_hash": model.weights_hash,
        "graphs": {
            graph.name: {
                "file": f"{graph.name}{runtime.suffix}",
                "inputs": {name: list(shape) for name, shape in graph.inputs.items()},
                "outputs": {name: list(shape) for name, shape in graph.outputs.items()},
            }
            for graph in graphs
        },
        "preprocess": model.preprocess.to_dict(),
        "scales": {str(shot): scale for shot, scale in sorted(model.scales.items())},
        "rules": _RULES,
        "sha256": made.sha256,
        "checked": {
            "clips": made.clips,
            "tolerance": TOLERANCE,
            "largest_difference": made.differences,
        },
        "made_with": {
            "a2m2_zoo": __version__,
            "torch": torch.__version__,
            **{name: version(name) for name in runtime.packages},
            **({"opset": OPSET} if made.to == "onnx" else {}),
        },
    }


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
