"""The golden tensors of the official code: where they lie, and how close an answer has to come."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(
    os.environ.get("A2M2_GOLDEN", Path(__file__).resolve().parents[2] / "shared" / "golden")
)
_ABSENT = "needs the golden tensors: set A2M2_GOLDEN to their folder"


def golden_file(name: str) -> Path:
    """A file of the golden folder; the test is skipped where it is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(_ABSENT)
    return path


def needs_golden(name: str) -> pytest.MarkDecorator:
    """For tests whose fixtures or parameters read the file by themselves."""
    return pytest.mark.skipif(not (FOLDER / name).is_file(), reason=_ABSENT)


def golden_tensors(name: str) -> dict[str, Tensor]:
    """Everything in one of the files."""
    return dict(load_file(golden_file(name)))


def golden_shapes(name: str) -> dict[str, list[int]]:
    """Key → shape, of an official model's state dict."""
    listed = json.loads(golden_file(name).read_text())
    return {key: shape for key, (shape, _) in listed.items()}


def official_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official head's state dict, which lies among the golden tensors."""
    return {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}


def close(found: Tensor, expected: Tensor, name: str) -> None:
    """As close as float32 allows: 2e-5 of the largest number, or 1e-5 of each."""
    atol = 2e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(
        found.detach(), expected, atol=atol, rtol=1e-5, msg=lambda text: f"{name}: {text}"
    )
