"""Where in its clip a misaligned query looks, and its features from a dense grid of frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.plans import uniform
from a2m2_zoo.errors import ArgumentError


def shifted(at: Tensor, *, amount: float | Tensor, side: Tensor) -> Tensor:
    """The window moves along the action; the first or last frame stands still for the rest."""
    return (at + amount * torch.where(side < 0.5, -1.0, 1.0)).clamp(0, 1)


def trimmed(at: Tensor, *, amount: float | Tensor, side: Tensor) -> Tensor:
    """A part of the action is cut off, before and after in the proportion of ``side``."""
    return side * amount + (1 - amount) * at


def padded(at: Tensor, *, amount: float | Tensor, side: Tensor) -> Tensor:
    """Nothing is lost; the first and the last frame stand still before and after the whole action."""
    return ((at - side * amount) / (1 - amount)).clamp(0, 1)


def warped(at: Tensor, *, amount: float | Tensor, side: Tensor) -> Tensor:
    """The halves of the action take (1 - amount) / 2 and (1 + amount) / 2 of the time, or the reverse."""
    middle = (1 + amount * torch.where(side < 0.5, -1.0, 1.0)) / 2
    return torch.where(at < middle, at / middle / 2, 1 - (1 - at) / (1 - middle) / 2)


#: Kind → where in its clip (0..1) a query looks instead of ``at``, for an amount in 0..1 and a draw ``side``
#: in 0..1 per clip.
KINDS: dict[str, Callable[..., Tensor]] = {
    "shift": shifted,
    "trim": trimmed,
    "idle": padded,
    "speed": warped,
}


def instants(
    frames: int, clips: int, *, kind: str, amount: float, seed: int
) -> Float[Tensor, "b t"]:
    """Where in its clip (0..1) each of B misaligned clips looks.

    Args:
        frames: T.
        clips: B.
        kind: A key of ``KINDS``.
        amount: Part of the clip, 0 (aligned) to less than 1.
        seed: Of the draw of each clip's side.

    Raises:
        ArgumentError: An unknown kind, or an amount outside 0..1.

    >>> instants(4, 1, kind="shift", amount=0.25, seed=0).tolist()
    [[0.375, 0.625, 0.875, 1.0]]
    """
    if kind not in KINDS:
        raise ArgumentError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if not 0 <= amount < 1:
        raise ArgumentError(f"amount is {amount}; expected a part of the clip, 0 to less than 1")
    at = (torch.arange(frames) + 0.5) / frames
    side = torch.from_numpy(uniform(seed, clips)).float()[:, None]
    return KINDS[kind](at.expand(clips, -1), amount=amount, side=side)


def looked_at(dense: Features, at: Float[Tensor, "b t"]) -> Features:
    """Features of clips that look at other instants, from features on a dense grid of frames."""
    count = dense.pooled.shape[1]
    index = (at * count).long().clamp(0, count - 1).to(dense.pooled.device)
    clip = torch.arange(len(index), device=index.device)[:, None]
    return Features(
        {stage: maps[clip, index] for stage, maps in dense.maps.items()}, dense.pooled[clip, index]
    )
