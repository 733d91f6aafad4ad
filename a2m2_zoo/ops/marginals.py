"""How much mass each candidate of a video brings to the transport.

A mask says which candidates exist (sets of different sizes are padded); masses of a set add up to
one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Bool, Float

_FLOOR = (
    1e-3  # DeepEMD's: no candidate is without mass, and a still clip falls back to equal masses
)


def normalise_mass(
    weight: Float[Tensor, "*b s"], mask: Bool[Tensor, "*b s"]
) -> Float[Tensor, "*b s"]:
    """Weights → masses: zero where masked, sum one."""
    kept = weight.where(mask, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def uniform(
    mask: Bool[Tensor, "*b s"], *, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "*b s"]:
    """Equal masses.

    >>> uniform(torch.tensor([True, True, False]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    weight = mask.to(dtype)
    return weight / weight.sum(-1, keepdim=True)


def cross_reference(
    relevance: Float[Tensor, "*b s"], mask: Bool[Tensor, "*b s"]
) -> Float[Tensor, "*b s"]:
    """Masses in proportion to ReLU(mean similarity to the other video's candidates) + 1e-3.

    After DeepEMD (Zhang et al., CVPR 2020): what finds no counterpart weighs little.
    """
    return normalise_mass(relevance.clamp_min(0) + _FLOOR, mask)


def distinctiveness(
    itself: Float[Tensor, "*b s"], others: Float[Tensor, "*b s"]
) -> Float[Tensor, "*b s"]:
    """How unlike the rest of its own video each candidate is.

    Its similarity to itself − its mean similarity to the *other* candidates, at least 1e-3. High
    where the video does something it does not do elsewhere; low in still or repeated stretches.
    A video of one candidate gives 1.

    Args:
        itself: Similarity to itself: 1, except for empty descriptors (no motion), where it is 0: they
            are not distinct.
        others: Sum of the similarities to the other candidates.

    >>> distinctiveness(torch.ones(3), torch.tensor([0.2, 1.0, 1.2]))
    tensor([0.9000, 0.5000, 0.4000])
    """
    rest = others / max(others.shape[-1] - 1, 1)
    return (itself - rest).clamp_min(_FLOOR)


def distinct(
    own: Float[Tensor, "*b s"], mask: Bool[Tensor, "*b s"], *, power: float = 1.0
) -> Float[Tensor, "*b s"]:
    """Masses in proportion to ``distinctiveness`` to a power (0: uniform)."""
    return normalise_mass(own.pow(power), mask)
