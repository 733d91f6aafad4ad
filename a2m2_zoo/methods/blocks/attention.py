"""Self-attention over the frames of a clip, and the encodings of time, as the other methods use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError


class SelfAttention(nn.Module):
    """Multi-head attention over normalised tokens, added to its input: x + Attn(LN x).

    Queries, keys and values come from one projection without bias, its rows ordered q | k | v with the
    heads side by side; the output projection has a bias.

    Args:
        dim: Channels, a multiple of ``heads``.
        heads: Number of heads.
        dropout: After the output projection.
    """

    def __init__(self, dim: int, *, heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        if dim % heads:
            raise ArgumentError(f"{dim} channels cannot be split into {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "*b l d"]) -> Float[Tensor, "*b l d"]:
        """Tokens of the same shape."""
        parts = self.qkv(self.norm(tokens)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        found: Tensor = tokens + self.dropout(self.out(mixed.transpose(-3, -2).flatten(-2)))
        return found


class FeedForward(nn.Module):
    """Two linear layers with GELU between, added to their input: x + FFN(x). No normalisation.

    Args:
        dim: Channels.
        hidden: Channels between.
        dropout: After each layer.
    """

    def __init__(self, dim: int, *, hidden: int = 2048, dropout: float = 0.05) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Float[Tensor, "*b l d"]) -> Float[Tensor, "*b l d"]:
        """Tokens of the same shape."""
        found: Tensor = tokens + self.net(tokens)
        return found


def channel_positions(length: int, dim: int) -> Float[Tensor, "l d"]:
    """The MoLo family's encoding of time: sin (even i) and cos (odd i) of t / 10000^(2i/d).

    The exponent takes the channel index i itself, where the usual encoding takes the index of the pair;
    published weights were trained with this one.

    >>> round(channel_positions(2, 4)[1, 0].item(), 4)
    0.8415
    """
    return _positions(length, torch.arange(dim), dim)


def pair_positions(length: int, dim: int) -> Float[Tensor, "l d"]:
    """The usual encoding of time (Vaswani et al. 2017): sin and cos share an exponent pair by pair."""
    channel = torch.arange(dim)
    return _positions(length, channel // 2, dim)


def _positions(length: int, exponent: Tensor, dim: int) -> Tensor:
    time = torch.arange(length, dtype=torch.float64)[:, None]
    angle = time * torch.exp(exponent.double() * (-2 * math.log(10_000.0) / dim))
    even = torch.arange(dim) % 2 == 0
    return angle.sin().where(even, angle.cos()).float()
