"""``export_model``: a folder with two graphs and all that is needed to use them without this package."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from a2m2_zoo._utils.files import folder_to_make, new_folder, sha256_of
from a2m2_zoo._version import __version__
from a2m2_zoo.errors import A2M2Error, ArgumentError, ExportError, SaveError
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.rules import SPREAD, STRENGTH
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import Clip
from a2m2_zoo.zoo.choose import AnyModel, as_model
from a2m2_zoo.zoo.export.checks import TOLERANCE, Reference
from a2m2_zoo.zoo.export.graphs import Graph, exportable, record_encoder, record_matcher
from a2m2_zoo.zoo.export.runtimes import OPSET, RUNTIMES, check_installed

CONFIG = "config.json"

# What a program must do around the graphs; docs/howto/export.md says the same at length.
_SAMPLING = {
    "centres": "the frame on the screen at (k + 1/2) / frames of the clip's length, k = 0 .. frames - 1; "
    "at a constant rate that is frame floor((k + 1/2) * count / frames)",
    "random": "one frame drawn from each of frames equal parts of the clip's length",
}
_CROP = {
    "center": "so that the short side is resize; of that the middle size x size",
    "stretch": "to size x size",
    "pad": "so that the long side is size; black around it",
    "stretch-center": "to resize x resize; of that the middle size x size",
}
_PIXELS = (
    "RGB of full range, turned as displayed, scaled by libswscale with the flags interpolation + "
    "accurate_rnd + bitexact, "
)
_CLASSES = {
    "mean": "weights[i, c] is 1 / (supports of class c) where support i is of c, else 0; constants are 0",
    "ridge": "run the matcher with the supports as queries, K = (pairs + transposed pairs) / 2, its "
    "diagonal set to its largest value. In float64: N supports, W classes, s[i] = 1 / (W * supports of i's "
    "class); m = K s; M = s m; C = (K - m[:, None] - m + M) / u with u the mean of its diagonal; p[i] = "
    "(strength + max(0, -least eigenvalue of C)) / (N * s[i]); A = inverse(C + diag(p)) (one_hot - 1 / W), "
    "times min(u / that largest value, 1) ** spread where it is above 0; "
    "weights = (A - s[:, None] * sum of A over supports) / u; constants = (M - m) A / u",
}
_RULES = {
    "probabilities": "softmax(logits * scale) in float64. One support per class: scale is that of 1 in "
    "scales. More: a prior log-linear in the logarithm of the mean number of supports between the scales, "
    "and of prior * exp(s), s in 97 steps from -log 8 to log 8, the one with the least sum of -log p of each "
    "support by the others, plus (s / log 2)^2 / 2. By the others: of a mean, that without the support's own "
    "pair; of ridge, one_hot - 1 / W - A / diagonal of the inverse; supports alone in a class are left out",
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
    model: AnyModel,
    out: str | os.PathLike[str],
    *,
    to: str = "onnx",
    clips: Sequence[Clip] = (),
    tell: Callable[[str], None] = lambda step: None,
) -> Exported:
    """Write a model as two graphs that need nothing of this package.

    ``encoder`` makes descriptors of pixels, normalisation included: uint8 RGB (B, T, size, size, 3).
    ``matcher`` makes logits (Q, W) and scores of pairs (Q, N) of descriptors of Q queries and N supports and
    the supports' classes, one-hot (N, W). B, Q, N and W are open. ``config.json`` says how pixels are made
    and logits become probabilities. What was written is read back and compared with the model; a graph
    that differs by more than ``TOLERANCE`` is not kept.

    Args:
        model: A model, its name or path, of one of ``METHODS``; it is copied to the CPU in float32.
        out: The folder to write; it must not exist yet, or be empty. It appears complete or not at all.
        to: ``onnx`` or ``torch-export``.
        clips: More clips to compare on, read with the model's ``preprocess``; noise, a still picture and
            drawn figures are always among them.
        tell: Called with what is done next, for a step can take half a minute.

    Raises:
        ArgumentError: An unknown format, or a method that cannot be exported.
        DependencyError: A package that the format needs is not installed.
        ExportError: PyTorch cannot record it, or the graphs compute something else than the model.
        SaveError: ``out`` is there already, or cannot be written.
    """
    target, model = check_ready(out, to), as_model(model)
    exportable(model)
    model = _plain(model)
    reference = Reference.of(model, clips)
    tell("recording the encoder")
    with _explained("recording the encoder"):
        graphs = [record_encoder(model)]
    tell("recording the matcher")
    with _explained("recording the matcher"):
        graphs.append(record_matcher(model, reference.descriptors))
    with new_folder(target) as folder:
        made = _fill(folder, graphs, reference, to, tell)
    return replace(made, folder=target)


def check_ready(out: str | os.PathLike[str], to: str) -> Path:
    """Refuse early what would only fail after the work is done.

    Raises:
        ArgumentError: An unknown format.
        DependencyError: A package that the format needs is not installed.
        SaveError: ``out`` is there already, or the folder it would lie in is not.
    """
    if to not in RUNTIMES:
        raise ArgumentError(f"the format is {to!r}; expected one of {', '.join(RUNTIMES)}")
    target = Path(out)
    folder_to_make(target)
    if not target.parent.is_dir():
        raise SaveError(f"the folder {str(target.parent)!r} does not exist; make it first")
    check_installed(to)
    return target


def _plain(model: Model) -> Model:
    """A copy that computes in float32 on the CPU, so that the caller's stays where it is.

    It looks for no people: following them through a clip is no graph.
    """
    method = deepcopy(model.method)
    if isinstance(method, A2M2) and method.reads_people:
        method = A2M2(replace(method.config, pose=0.0))
        method.load_state_dict(model.method.weights())
    copy = replace(model, backbone=deepcopy(model.backbone), method=method.eval())
    return copy.to("cpu", torch.float32)


def _fill(
    folder: Path,
    graphs: list[Graph],
    reference: Reference,
    to: str,
    tell: Callable[[str], None],
) -> Exported:
    runtime = RUNTIMES[to]
    paths = {graph.name: folder / f"{graph.name}{runtime.suffix}" for graph in graphs}
    for graph in graphs:
        tell(f"writing the {graph.name}")
        with _explained(f"writing the {graph.name}"):
            runtime.write(graph, paths[graph.name])
    tell("comparing with the model")
    with _explained("reading the graphs"):
        encoder, matcher = (runtime.open(paths[graph.name]) for graph in graphs)
    made = Exported(
        folder=folder,
        to=to,
        sha256={path.name: sha256_of(path) for path in sorted(folder.iterdir())},
        differences={
            "encoder": reference.check_encoder(encoder),
            "matcher": reference.check_matcher(matcher, encoder),
        },
        clips=len(reference.pixels),
    )
    config = _config(reference.model, graphs, made)
    (folder / CONFIG).write_text(
        json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    return made


@contextmanager
def _explained(step: str) -> Iterator[None]:
    """The exporters' and runtimes' own errors, which have no common class, as one line."""
    try:
        yield
    except (A2M2Error, OSError, MemoryError):
        raise
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), "")
        raise ExportError(
            f"{step} failed: {type(error).__name__}: {said}; nothing was written. Report it with the "
            f"versions of torch ({torch.__version__}) and onnx"
        ) from error


def _config(model: Model, graphs: list[Graph], made: Exported) -> dict[str, Any]:
    runtime, rule = RUNTIMES[made.to], exportable(model).rule or "mean"
    return {
        "format": 2,
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
        "rules": {
            "sampling": _SAMPLING[model.preprocess.sampling],
            "pixels": _PIXELS + _CROP[model.preprocess.crop],
            "classes": {
                "rule": rule,
                "strength": STRENGTH,
                "spread": SPREAD,
                "text": _CLASSES[rule],
            },
            **_RULES,
        },
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
