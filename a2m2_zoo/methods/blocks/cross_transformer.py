"""Attention of a query's tuples of frames to those of a class (TRX).

Perrett, Masullo, Burghardt, Mirmehdi and Damen, "Temporal-Relational CrossTransformers for Few-Shot
Action Recognition" (CVPR 2021), equations 1 to 7.

Keys and values of tuples are sums of rows (see ``modules/tuples.py``), so all that the method needs of two
clips follows from the products of their rows: tuples are compared by P·(rows·rowsᵀ)·Pᵀ, and the distance of a
tuple from what it attended to is a quadratic form in the same products. No tuple is ever written out with its
D channels. For triples of eight frames that is less than half the memory and a fifth of the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.methods.blocks.tuples import FramePositions, position_rows, tuple_rows
from a2m2_zoo.ops.shots import class_slots


class CrossTransformer(nn.Module):
    """Attention of query tuples over all tuples of all shots of a class, for one cardinality ω.

    k = LN(W_k·tuple + b), v = W_v·tuple, A = softmax(k_q k_cᵀ/√D) over the tuples of the class, and the
    class's logit is −mean over query tuples of ‖v_q − A v_c‖². A bias of v cancels in that difference, so
    there is none here.

    Args:
        dim: Channels of a frame vector (d).
        frames: Frames per clip (T).
        cardinality: Frames per tuple (ω).
        out: Channels of keys and values (D).
        dropout: On the frames after the encoding of time.
    """

    rows: Tensor

    def __init__(
        self, dim: int, *, frames: int, cardinality: int, out: int = 1152, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.register_buffer("rows", tuple_rows(frames, cardinality), persistent=False)
        self.positions = FramePositions(frames, dim, dropout=dropout)
        self.key = nn.Linear(cardinality * dim, out)
        self.value = nn.Linear(cardinality * dim, out, bias=False)
        self.norm = nn.LayerNorm(out)

    def encode(self, frames: Float[Tensor, "b t d"]) -> dict[str, Tensor]:
        """What is kept of B clips, with n = T·ω rows and M tuples.

        Returns:
            ``keys`` (B, n, D): rows whose sum over a tuple is its centred key times the norm's weight;
            ``scale`` (B, M): 1/σ of each tuple's key; ``offset`` (B, M): its normalised key times the
            norm's bias; ``values`` (B, n, D): rows whose sum over a tuple is its value.
        """
        x = self.positions(frames)
        keys = position_rows(x, self.key.weight, self.key.bias)
        values = position_rows(x, self.value.weight)
        with torch.autocast(x.device.type, enabled=False):
            keys = keys - keys.mean(-1, keepdim=True)
            variance = (self.rows @ keys).square().mean(-1)
            scale = (variance + self.norm.eps).rsqrt()
            keys = keys * self.norm.weight
            offset = scale * (keys @ self.norm.bias @ self.rows.mT)
        return {"keys": keys, "scale": scale, "offset": offset, "values": values}

    def forward(
        self,
        query: Mapping[str, Tensor],
        support: Mapping[str, Tensor],
        *,
        labels: Int[Tensor, " n"],
        way: int,
    ) -> Float[Tensor, "e q w"]:
        """Logits of every query over the classes of its episode.

        Args:
            query: What ``encode`` gives, as (E, Q, ...).
            support: The same, as (E, N, ...).
            labels: Class of each support, 0..W−1.
            way: W.

        Raises:
            EpisodeError: A label outside 0..W−1, or a class without a support.
        """
        device = query["keys"].device
        with torch.autocast(device.type, enabled=False):
            slots, exists = class_slots(labels.to(device), way=way)
            attention = self._attention(query, support, slots, exists)
            return -self._distances(query["values"], support["values"], slots, attention)

    def _attention(
        self,
        query: Mapping[str, Tensor],
        support: Mapping[str, Tensor],
        slots: Tensor,
        exists: Tensor,
    ) -> Tensor:
        """A·P: weights of the rows of each class's k shots, (e w q M k·n).

        With g, b the norm's weight and bias, the key of a tuple is scale·rows·g + b. In the product of two
        keys, what depends on the query's tuple alone does not change the softmax and is left out.
        """
        root = math.sqrt(query["keys"].shape[-1])
        products = _products(query["keys"], support["keys"][:, slots])  # e w q n k n
        products = (products @ self.rows.mT) * support["scale"][:, slots][:, :, None, None]
        queries = (query["scale"] / root)[:, None, :, :, None] * self.rows  # e 1 q M n
        offset = support["offset"][:, slots] / root  # e w k M
        offset = offset.masked_fill(~exists[..., None], -torch.inf)
        logits = queries @ products.flatten(-2) + offset.flatten(-2)[:, :, None, None]
        weights = torch.unflatten(logits.softmax(-1), -1, (slots.shape[1], -1))
        return (weights @ self.rows).flatten(-2)

    def _distances(
        self, query: Tensor, support: Tensor, slots: Tensor, attention: Tensor
    ) -> Tensor:
        """Mean over query tuples of ‖v_q − A v_c‖², (e q w), from products of rows."""
        # Attention sums to one, so what all values of a position share cancels. It is taken off before
        # the squares, where float32 would lose as many digits of a difference as it is smaller.
        positions = (-1, self.cardinality)
        share = torch.unflatten(support.detach(), 2, positions).mean((1, 2), keepdim=True)
        query = (torch.unflatten(query, 2, positions) - share).flatten(2, 3)
        support = (torch.unflatten(support, 2, positions) - share).flatten(2, 3)[:, slots]
        own = ((query @ query.mT) * (self.rows.mT @ self.rows)).sum((-1, -2))  # Σ‖v_q‖²
        across = _products(query, support).flatten(-2) * (self.rows.mT @ attention)
        within = support.flatten(2, 3)  # e w k·n D
        flat = attention.flatten(2, 3)  # e w q·M k·n
        attended = torch.unflatten(
            (flat @ (within @ within.mT) * flat).sum(-1), 2, attention.shape[2:4]
        )
        total = own[:, None] - 2 * across.sum((-1, -2)) + attended.sum(-1)
        return total.transpose(1, 2) / len(self.rows)


class CrossTransformers(nn.ModuleDict):
    """One ``CrossTransformer`` per cardinality, by its number; the logits are the mean over them.

    Args:
        dim: Channels of a frame vector.
        frames: Frames per clip.
        cardinalities: Frames per tuple, one transformer each.
        out: Channels of keys and values.
        dropout: On the frames after the encoding of time.
    """

    def __init__(
        self,
        dim: int,
        *,
        frames: int,
        cardinalities: Sequence[int],
        out: int = 1152,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            {
                str(number): CrossTransformer(
                    dim, frames=frames, cardinality=number, out=out, dropout=dropout
                )
                for number in cardinalities
            }
        )

    def encode(self, frames: Float[Tensor, "b t d"]) -> dict[str, Tensor]:
        """What the transformers keep of B clips, the cardinality after the name, as in ``keys2``."""
        return {
            name + number: tensor
            for number, transformer in self.items()
            for name, tensor in cast(CrossTransformer, transformer).encode(frames).items()
        }

    def forward(
        self,
        query: Mapping[str, Tensor],
        support: Mapping[str, Tensor],
        *,
        labels: Int[Tensor, " n"],
        way: int,
    ) -> Float[Tensor, "e q w"]:
        """Mean logits of every query, from what ``encode`` gives, as (E, Q, ...) and (E, N, ...).

        Raises:
            EpisodeError: A label outside 0..W−1, or a class without a support.
        """
        logits = [
            transformer(_of(query, number), _of(support, number), labels=labels, way=way)
            for number, transformer in self.items()
        ]
        return torch.stack(logits).mean(0)


def _of(kept: Mapping[str, Tensor], number: str) -> dict[str, Tensor]:
    """The tensors of one transformer, under its own names."""
    return {name: kept[name + number] for name in ("keys", "scale", "offset", "values")}


def _products(query: Tensor, support: Tensor) -> Tensor:
    """Products of all rows of queries and classes: (e q n D), (e w k m D) → (e w q n k m)."""
    found = query.flatten(1, 2) @ support.flatten(1, 3).mT
    found = torch.unflatten(torch.unflatten(found, 1, query.shape[1:3]), -1, support.shape[1:4])
    return found.permute(0, 3, 1, 2, 4, 5).contiguous()
