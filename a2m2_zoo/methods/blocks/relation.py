"""HyRSM's parts: attention across an episode's videos, frames fused with it, coherence over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.precision import promote, without_autocast

# A squared length below this share of its parts' squared lengths is rounding, not length.
_NOISE = 1e-6


class VideoRelation(nn.Module):
    """Inter-relation of HyRSM: every query in attention with all supports, one vector per video.

    Multi-head attention with a residual and the normalisation after it: LN(z + Attn(z)). Each query
    meets the supports alone: the tokens of one attention are the N supports and that query.

    Args:
        dim: Channels, a multiple of ``heads``.
        heads: Number of heads.
        attention_dropout: On the attention weights.
        dropout: After the output projection.

    Raises:
        ArgumentError: The channels do not split into the heads.

    >>> relation = VideoRelation(16).eval()
    >>> relation(torch.ones(1, 5, 16), torch.ones(1, 3, 16)).shape
    torch.Size([1, 3, 6, 16])
    """

    def __init__(
        self, dim: int, *, heads: int = 8, attention_dropout: float = 0.1, dropout: float = 0.05
    ) -> None:
        super().__init__()
        if dim % heads:
            raise ArgumentError(f"{dim} channels cannot be split into {heads} heads")
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for projection in (self.q, self.k, self.v):
            nn.init.normal_(projection.weight, std=math.sqrt(2 / (dim + dim // heads)))
        nn.init.xavier_normal_(self.out.weight)

    def forward(
        self, support: Float[Tensor, "e n d"], query: Float[Tensor, "e q d"]
    ) -> Float[Tensor, "e q tokens d"]:
        """Related vectors of the N supports as each query sees them, then of that query itself."""
        # Projected before each query gets its copy of the supports: once instead of Q times.
        q, k, v = (
            torch.unflatten(_meet(part(support), part(query)), -1, (self.heads, -1)).transpose(2, 3)
            for part in (self.q, self.k, self.v)
        )
        chance = self.attention_dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=chance)
        found = self.dropout(self.out(mixed.transpose(2, 3).flatten(-2)))
        related: Tensor = self.norm(found + _meet(support, query))
        return related


def _meet(support: Tensor, query: Tensor) -> Tensor:
    """The supports and each query: (E, N, d) and (E, Q, d) → (E, Q, N+1, d)."""
    shared = support[:, None].expand(-1, query.shape[1], -1, -1)
    return torch.cat([shared, query[:, :, None]], 2)


@dataclass(frozen=True)
class ShiftedFrames:
    """Frames g = y[n, s] + v[q, n] of every support as every query sees it, never laid out.

    A fused HyRSM feature is a part of the frame and a part of the (query, support) pair. Lengths and
    inner products of sums need only those of the parts, so the (E, Q, N, S, d) tensor is not made.

    Attributes:
        frames: y (E, N, S, d).
        shift: v (E, Q, N, d).
    """

    frames: Float[Tensor, "e n s d"]
    shift: Float[Tensor, "e q n d"]

    @property
    def device(self) -> torch.device:
        """Where the tensors are; ``without_autocast`` asks."""
        return self.frames.device

    @without_autocast
    def cosine_from(self, query: Float[Tensor, "e q t d"]) -> Float[Tensor, "e q n t s"]:
        """Cosine of each query's frames with those of each support; zero frames have cosine 0."""
        frames, shift = promote(self.frames), promote(self.shift)
        unit = functional.normalize(promote(query), dim=-1)
        inner = unit.flatten(1, 2) @ frames.flatten(1, 2).mT
        inner = torch.unflatten(inner, 2, (frames.shape[1], -1))  # (E, Q·T, N, S)
        inner = torch.unflatten(inner, 1, (query.shape[1], -1)).transpose(2, 3)
        inner = inner + (shift @ unit.mT)[..., None]
        cosine: Tensor = inner / self._lengths()[..., None, :]
        return cosine

    @without_autocast
    def cosine_within(self) -> Float[Tensor, "e q n s s"]:
        """Cosine between the frames of the same support, for each query."""
        frames, length = promote(self.frames), self._lengths()
        cross = self._cross()
        inner = (frames @ frames.mT)[:, None] + cross[..., :, None] + cross[..., None, :]
        inner = inner + promote(self.shift).square().sum(-1)[..., None, None]
        cosine: Tensor = inner / (length[..., :, None] * length[..., None, :])
        return cosine

    def _cross(self) -> Tensor:
        """Inner products v · y, (E, Q, N, S)."""
        by_support = promote(self.shift).transpose(1, 2)
        return (by_support @ promote(self.frames).mT).transpose(1, 2)

    def _lengths(self) -> Tensor:
        """Lengths ‖y + v‖, (E, Q, N, S)."""
        frames, shift = (promote(part).square().sum(-1) for part in (self.frames, self.shift))
        parts = frames[:, None] + shift[..., None]
        square = parts + 2 * self._cross()
        return torch.maximum(square, _NOISE * parts.detach() + 1e-12).sqrt()


def coherence_weights(
    frames: int, *, window: int, falloff: float, device: torch.device | None = None
) -> Float[Tensor, "t t"]:
    """W of HyRSM++: 1 / (δ² + 1) within the window, 1 − exp(−(δ − w)² / τ) beyond; δ = |i − j|.

    Args:
        frames: T.
        window: w, in frames.
        falloff: τ, in squared frames.
        device: Where the weights are wanted.

    >>> coherence_weights(3, window=1, falloff=1.0)[0]
    tensor([1.0000, 0.5000, 0.6321])
    """
    apart = _apart(frames, device).float()
    far = 1 - torch.exp(-(apart - window).square() / falloff)
    return (1 / (apart.square() + 1)).where(apart <= window, far)


def temporal_coherence(
    distance: Float[Tensor, "*b t t"], *, window: int, falloff: float, contrast: float
) -> Float[Tensor, ""]:
    """Mean of W·Δ over near frames and of γ·ReLU(W − Δ) over distant ones: HyRSM++'s regulariser.

    Args:
        distance: Δ, 1 − cosine between the frames of one video.
        window: w: frames at most so far apart are near.
        falloff: τ.
        contrast: γ.

    >>> temporal_coherence(torch.ones(1, 3, 3), window=2, falloff=1.0, contrast=1.0)
    tensor(0.6000)
    """
    frames = distance.shape[-1]
    weight = coherence_weights(frames, window=window, falloff=falloff, device=distance.device)
    near = _apart(frames, distance.device) <= window
    return (distance * weight).where(near, contrast * (weight - distance).relu()).mean()


def _apart(frames: int, device: torch.device | None) -> Tensor:
    time = torch.arange(frames, device=device)
    return (time[:, None] - time).abs()
