"""What STRM does to patches and frames before their tuples are compared.

Thatipelli, Narayan, Khan, Anwer, Khan and Ghanem, "Spatio-temporal Relation Modeling for Few-shot Action
Recognition" (CVPR 2022), section 3.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.methods.blocks.tuples import FramePositions


class PatchEnrichment(nn.Module):
    """Patches of a frame attend to each other; their mean is the frame's vector.

    y = x + γ·softmax(q kᵀ) v with x the patches plus the encoding of their number, one head and no 1/√d;
    then y + MLP(y). γ starts at 0.

    Args:
        dim: Channels.
        patches: Patches per frame.
        dropout: After the encoding.
    """

    def __init__(self, dim: int, *, patches: int, dropout: float) -> None:
        super().__init__()
        self.positions = FramePositions(patches, dim, dropout=dropout)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.mlp = _mlp(dim, dim // 2, dim // 2, dim)

    def forward(self, patches: Float[Tensor, "b t p d"]) -> Float[Tensor, "b t d"]:
        """Frame vectors."""
        x = self.positions(patches)
        mixed = functional.scaled_dot_product_attention(
            self.query(x), self.key(x), self.value(x), scale=1.0
        )
        y = x + self.gamma * mixed
        found: Tensor = (y + self.mlp(y)).mean(-2)
        return found


class FrameEnrichment(nn.Module):
    """A mixer over the frames of a clip: x + MLP over time, then h + MLP over channels.

    Args:
        dim: Channels.
        frames: Frames per clip.
        dropout: After the encoding of time.
    """

    def __init__(self, dim: int, *, frames: int, dropout: float) -> None:
        super().__init__()
        self.positions = FramePositions(frames, dim, dropout=dropout)
        self.time = _mlp(frames, frames, frames)
        self.mlp = _mlp(dim, dim, dim)

    def forward(self, frames: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """Frame vectors of the same shape."""
        x = self.positions(frames)
        h = x + self.time(x.mT).mT
        found: Tensor = h + self.mlp(h)
        return found


def _mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between."""
    layers: list[nn.Module] = []
    for size, next_size in pairwise(sizes):
        layers += [nn.Linear(size, next_size), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
