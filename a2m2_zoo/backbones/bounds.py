"""A bound on networks that are built as a file's header says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from a2m2_zoo.errors import CheckpointError

_SPARE, _SMALL = 4, 1 << 20  # weights that are shared are counted more than once


@contextmanager
def weights_of(numbers: int, source: str) -> Iterator[None]:
    """Stop a network that is being built when it has far more weights than its file, before they are filled.

    Args:
        numbers: How many the file has.
        source: What to call it in the error.

    Raises:
        CheckpointError: As soon as there are too many.
    """
    here, seen = threading.get_ident(), 0

    def count(_: torch.nn.Module, __: str, weight: torch.nn.Parameter | None) -> None:
        nonlocal seen
        if weight is not None and threading.get_ident() == here:
            seen += weight.numel()
            if seen > _SPARE * numbers + _SMALL:
                raise CheckpointError(
                    f"{source!r} describes far more weights than it holds; it is another model's"
                )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
