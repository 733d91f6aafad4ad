"""No sums in half precision: what is computed here runs in float32 at least, also under autocast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float

P = ParamSpec("P")
R = TypeVar("R")


def promote(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``x`` in float32 if it was lower, unchanged otherwise."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` with autocast switched off on the device of its first argument."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0]
        with torch.autocast(first.device.type, enabled=False):
            return function(*args, **kwargs)

    return run
