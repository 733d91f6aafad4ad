"""A model without its backbone, from a checkpoint's header: whatever it says is hostile until checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.backbones.bounds import weights_of
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.methods import Method, build_method
from a2m2_zoo.methods.blocks._config import is_number, short
from a2m2_zoo.recognition.rejection import Table, read_table
from a2m2_zoo.video import Preprocess

# Bounds on what a header may ask for: a clip of so many pixels needs half a gigabyte on its way.
_MOST_PIXELS = 1 << 25
_LONGEST_NAME = 200
_SCALES = (1e-6, 1e6)


@dataclass(frozen=True)
class Head:
    """What a header describes.

    Attributes:
        id: The model's name.
        method: With the weights that came with it, in evaluation mode.
        preprocess: How clips become frames.
        scales: Shots → factor on the logits.
        rejection: Weights of rejection, where it came with some.
    """

    id: str
    method: Method
    preprocess: Preprocess
    scales: dict[int, float]
    rejection: Table | None = None


@apart
def read_head(record: Mapping[str, Any], tensors: dict[str, Tensor], source: str) -> Head:
    """The head of a record and its tensors.

    Args:
        record: The header's.
        tensors: By name.
        source: What to call the file in errors.

    Raises:
        CheckpointError: The record does not describe a model, or the tensors are another model's.
    """
    try:
        name, preprocess = record["id"], Preprocess.from_dict(record["preprocess"])
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
            raise ArgumentError(f"id is {short(name)}; expected a name")
        if preprocess.frames * preprocess.size**2 > _MOST_PIXELS:
            raise ArgumentError(
                f"clips of {preprocess.frames} frames of {preprocess.size} x {preprocess.size} are too large"
            )
        scales = _scales(record["scales"])
        method = _method(record, tensors, source)
        rejection = None
        if "rejection" in record:
            rejection = read_table(record["rejection"], getattr(method, "rule", None) or "mean")
    except CheckpointError:
        raise
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        said = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"the header of {source!r} does not describe a model: {said:.300}"
        ) from error
    return Head(name, method.eval(), preprocess, scales, rejection)


def _method(record: Mapping[str, Any], tensors: dict[str, Tensor], source: str) -> Method:
    """The head that a record describes, with the weights that came with it."""
    name, config = record["method"], record["config"]
    if not isinstance(name, str):
        raise ArgumentError(f"method is {short(name)}; expected a name")
    with weights_of(sum(tensor.numel() for tensor in tensors.values()), source):
        method = build_method(name, config)
    _check_fit(method, tensors, source)
    method.load_state_dict(tensors)
    return method


def _scales(given: Mapping[str, Any]) -> dict[int, float]:
    """Factors by number of shots."""
    if not all(re.fullmatch(r"[1-9][0-9]{0,5}", shot, re.ASCII) for shot in given):
        raise ArgumentError("it has no sound calibration scales; expected numbers of shots")
    low, high = _SCALES
    if not given or not all(is_number(v) and low <= v <= high for v in given.values()):
        raise ArgumentError(
            f"it has no sound calibration scales; expected numbers of {low:g} to {high:g}"
        )
    return {int(shot): float(value) for shot, value in given.items()}


def _check_fit(method: torch.nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    own = method.state_dict()
    both = set(own) & set(tensors)
    for problem, names in (
        ("lacks", sorted(set(own) - set(tensors))),
        ("has the unknown", sorted(set(tensors) - set(own))),
        (
            "has the wrong shape of",
            sorted(n for n in both if own[n].shape != tensors[n].shape),
        ),
        (
            "has the wrong type of",
            sorted(n for n in both if own[n].is_floating_point() != tensors[n].is_floating_point()),
        ),
    ):
        if names:
            some = ", ".join(name[:60] for name in names[:8])
            raise CheckpointError(f"{source!r} {problem} {some}; it is another model's")
