"""The rules of TRX and STRM over tuples, one query, class and tuple at a time, tuples written out."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional


def encoded(frames: Tensor) -> Tensor:
    """Frames plus a tenth of the sines and cosines, entry by entry."""
    table = torch.zeros(frames.shape[-2:], dtype=torch.float64)
    for t in range(table.shape[0]):
        for i in range(table.shape[1]):
            angle = torch.tensor(t / 10_000 ** (2 * (i // 2) / table.shape[1]), dtype=torch.float64)
            table[t, i] = 0.1 * (angle.cos() if i % 2 else angle.sin())
    return frames + table.to(frames)


def tuples(frames: Tensor, cardinality: int) -> Tensor:
    """(T, d) → (M, ω·d)."""
    return torch.stack(
        [
            torch.cat([frames[t] for t in some])
            for some in combinations(range(len(frames)), cardinality)
        ]
    )


def cross_transformer(
    weights: Mapping[str, Tensor], query: Tensor, support: Tensor, labels: Tensor, way: int
) -> Tensor:
    """Logits (Q, W) from frame vectors (Q, T, d) and (N, T, d), for one cardinality."""
    cardinality = weights["key.weight"].shape[1] // query.shape[-1]

    def project(frames: Tensor) -> tuple[Tensor, Tensor]:
        some = tuples(encoded(frames), cardinality)
        keys = some @ weights["key.weight"].T + weights["key.bias"]
        keys = functional.layer_norm(
            keys, keys.shape[-1:], weights["norm.weight"], weights["norm.bias"]
        )
        return keys, some @ weights["value.weight"].T

    logits = torch.zeros(len(query), way, dtype=query.dtype)
    for q, clip in enumerate(query):
        queries, wanted = project(clip)
        for c in range(way):
            shots = [project(support[n]) for n in range(len(support)) if labels[n] == c]
            keys = torch.cat([k for k, _ in shots])
            values = torch.cat([v for _, v in shots])
            total = torch.zeros((), dtype=query.dtype)
            for key, value in zip(queries, wanted, strict=True):
                attention = (keys @ key / len(key) ** 0.5).softmax(0)
                total = total + (value - attention @ values).square().sum()
            logits[q, c] = -total / len(queries)
    return logits


def nearest_tuples(
    weight: Tensor, bias: Tensor, query: Tensor, support: Tensor, labels: Tensor, way: int
) -> Tensor:
    """STRM's auxiliary logits (Q, W) from frame vectors (Q, T, d) and (N, T, d)."""
    cardinality = weight.shape[1] // query.shape[-1]

    def project(frames: Tensor) -> Tensor:
        return (tuples(frames, cardinality) @ weight.T + bias).relu()

    logits = torch.zeros(len(query), way, dtype=query.dtype)
    for q, clip in enumerate(query):
        queries = project(clip)
        for c in range(way):
            others = torch.cat([project(support[n]) for n in range(len(support)) if labels[n] == c])
            nearest = [min((one - other).norm() for other in others) for one in queries]
            logits[q, c] = -torch.stack(nearest).mean()
    return logits
