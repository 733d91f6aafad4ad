"""What an answer says of a clip beside its features: which frames were taken, and what to know of it."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo.video import Clip

_KEPT = ("indices", "times", "count", "warnings")


def noted(clip: Clip) -> Tensor:
    """That of a clip, as bytes."""
    text = json.dumps({name: getattr(clip, name) for name in _KEPT})
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def recalled(notes: Tensor, *, source: str) -> Clip:
    """A clip without its frames.

    Args:
        notes: What ``noted`` gave.
        source: The clip's name, which may be another by now.
    """
    said = json.loads(bytes(notes.numpy()))
    return Clip(
        frames=np.zeros((0, 0, 0, 3), np.uint8),
        indices=tuple(said["indices"]),
        times=tuple(said["times"]),
        count=said["count"],
        source=source,
        warnings=tuple(said["warnings"]),
    )
