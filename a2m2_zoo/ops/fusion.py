"""Class probabilities from pictures and from class names, as one."""

from __future__ import annotations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.precision import promote


def fuse_text(
    p_visual: Float[Tensor, "q w"], p_text: Float[Tensor, "q w"], *, beta: float
) -> Float[Tensor, "q w"]:
    """Mixture p ∝ p_visual^(1−β) · p_text^β, computed and normalised in the log domain.

    The geometric mixture of CLIP-FSAR and TS-FSAR; β is chosen on validation data only.

    Args:
        p_visual: Probabilities from the supports.
        p_text: Probabilities from the class names.
        beta: Share of the text; 0 gives ``p_visual`` back, 1 gives ``p_text``.

    Raises:
        ArgumentError: β outside [0, 1], or a negative probability.

    >>> fuse_text(torch.tensor([[0.8, 0.2]]), torch.tensor([[0.5, 0.5]]), beta=0.5)
    tensor([[0.6667, 0.3333]])
    """
    if not 0 <= beta <= 1:
        raise ArgumentError(f"beta is {beta}; give a number from 0 to 1")
    visual, text = promote(p_visual), promote(p_text)
    if bool((visual < 0).any()) or bool((text < 0).any()):
        raise ArgumentError("a probability is negative; give softmax outputs, not logits")
    tiny = torch.finfo(visual.dtype).tiny
    log = (1 - beta) * visual.clamp_min(tiny).log() + beta * text.to(visual).clamp_min(tiny).log()
    return log.softmax(-1)
