"""Whether ``torch.export`` is recording: no value may then decide what is computed next."""

from __future__ import annotations

import torch


def recording() -> bool:
    """True while a graph is recorded by ``torch.export``; versions of torch that cannot tell do not export.

    >>> recording()
    False
    """
    return bool(getattr(torch.compiler, "is_exporting", bool)())
