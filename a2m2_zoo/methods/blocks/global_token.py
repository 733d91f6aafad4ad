"""MoLo's temporal encoder: a learned token that sees the whole clip beside tokens that stay local."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.methods.blocks.attention import FeedForward, SelfAttention, channel_positions


class GlobalTokenEncoder(nn.Module):
    """One transformer block over a global token and the tokens of a clip.

    u = x·√(d/A) + B·P, y = u + Attn(LN u), output ReLU(y + FFN y); the global token has position 0. As
    in the code of MoLo (Wang et al., CVPR 2023).

    Args:
        dim: Channels d of a token, a multiple of ``heads``.
        length: Tokens of a clip, without the global one.
        heads: Heads of the attention.
        hidden: Channels between the layers of the feed-forward part.
        position_scale: A.
        position_weight: B.

    >>> tuple(GlobalTokenEncoder(16, length=4)(torch.zeros(2, 4, 16)).shape)
    (2, 5, 16)
    """

    positions: Tensor

    def __init__(
        self,
        dim: int,
        *,
        length: int,
        heads: int = 8,
        hidden: int = 2048,
        position_scale: float = 10.0,
        position_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.gain = math.sqrt(dim / position_scale)
        positions = position_weight * channel_positions(length + 1, dim)
        self.register_buffer("positions", positions, persistent=False)
        self.token = nn.Parameter(torch.randn(dim))
        self.dropout = nn.Dropout(0.1)
        self.attention = SelfAttention(dim, heads=heads)
        self.feed_forward = FeedForward(dim, hidden=hidden)

    def forward(self, tokens: Float[Tensor, "b t d"]) -> Float[Tensor, "b l d"]:
        """Tokens of L = T + 1 places, the global one first."""
        whole = self.token.expand(len(tokens), 1, -1)
        placed = self.gain * torch.cat([whole, tokens], 1) + self.positions
        return functional.relu(self.feed_forward(self.attention(self.dropout(placed))))
