"""Descriptors as bytes: whole numbers of four or eight bits with a scale for each vector.

Vectors are compared by cosines over hundreds of values, in which errors that do not hang together cancel:
four bits keep accuracy where eight times as much is saved (``benchmarks/archive.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.methods.base import Descriptors

#: Bytes of a clip that descriptors are to fit in; the largest go to four bits until they do.
BUDGET = 40_000
#: Clips that are unpacked together.
PIECE = 64
_TOP = {4: 7, 8: 127}
_FAINTEST = float(np.finfo(np.float16).smallest_subnormal)


@dataclass(frozen=True)
class Part:
    """One of a clip's tensors.

    Attributes:
        name: What the method calls it.
        shape: Of one clip's.
        bits: Of each value, 4 or 8.
    """

    name: str
    shape: tuple[int, ...]
    bits: int

    @property
    def rows(self) -> int:
        """Vectors, each with a scale of its own: along the first axis where there are several."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def width(self) -> int:
        """Values of a vector."""
        return prod(self.shape) // self.rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a vector's values."""
        return (self.width * self.bits + 7) // 8

    @property
    def size(self) -> int:
        """Bytes of a clip's, scales included."""
        return self.rows * (2 + self.row_bytes)


@dataclass(frozen=True)
class Codec:
    """How the descriptors of a clip lie in bytes, one part after the other."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, descriptors: Descriptors, *, budget: int = BUDGET, least: int = 4) -> Codec:
        """Eight bits for all, and four for the largest until a clip fits; people, who are few, keep eight.

        Args:
            descriptors: Of some clips.
            budget: Bytes of a clip.
            least: Fewest bits, 4 or 8.
        """
        parts = [Part(name, tuple(value.shape[1:]), 8) for name, value in descriptors.items()]
        vectors = [part for part in parts if part.name != "people"]
        for part in sorted(vectors, key=lambda part: -part.size):
            if sum(p.size for p in parts) > budget and least == 4:
                parts[parts.index(part)] = Part(part.name, part.shape, 4)
        return cls(tuple(parts))

    @classmethod
    def from_dict(cls, data: Any) -> Codec:
        """What ``to_dict`` gave.

        Raises:
            ArgumentError: It is something else.
        """
        try:
            parts = tuple(
                Part(str(name), tuple(map(int, shape)), int(bits)) for name, shape, bits in data
            )
        except (TypeError, ValueError):
            parts = ()
        if not parts or not all(p.bits in _TOP and p.shape and min(p.shape) > 0 for p in parts):
            raise ArgumentError("no layout of descriptors; expected [name, shape, bits] of each")
        return cls(parts)

    def to_dict(self) -> list[list[Any]]:
        """Plain values for JSON."""
        return [[part.name, list(part.shape), part.bits] for part in self.parts]

    @property
    def size(self) -> int:
        """Bytes of a clip."""
        return sum(part.size for part in self.parts)

    @apart
    def pack(self, descriptors: Descriptors) -> list[bytes]:
        """The descriptors of B clips, each as ``size`` bytes.

        Raises:
            ArgumentError: They have other shapes.
            CheckpointError: A value is not finite.
        """
        pieces = []
        for part in self.parts:
            value = descriptors.get(part.name)
            if value is None or tuple(value.shape[1:]) != part.shape:
                raise ArgumentError(
                    f"descriptors {part.name!r} do not have the shape {part.shape} of the others"
                )
            pieces.append(_packed(value.float().reshape(-1, part.rows, part.width).numpy(), part))
        return [b"".join(row) for row in zip(*pieces, strict=True)]

    @apart
    def unpack(self, clips: Sequence[bytes]) -> dict[str, Tensor]:
        """The descriptors of B clips, as near as they are kept.

        Raises:
            ArgumentError: A clip has another number of bytes.
        """
        if any(len(clip) != self.size for clip in clips):
            raise ArgumentError(f"a clip's descriptors do not have {self.size} bytes")
        whole = np.frombuffer(b"".join(clips), np.uint8).reshape(len(clips), self.size)
        found: dict[str, Tensor] = {}
        start = 0
        for part in self.parts:
            values = _unpacked(whole[:, start : start + part.size], part)
            found[part.name] = torch.from_numpy(values).view(len(clips), *part.shape)
            start += part.size
        return found


def rounded(descriptors: Mapping[str, Tensor], codec: Codec) -> dict[str, Tensor]:
    """Descriptors as they come back."""
    return codec.unpack(codec.pack(descriptors))


def _packed(values: np.ndarray[Any, Any], part: Part) -> list[bytes]:
    if not np.isfinite(values).all():
        raise CheckpointError(
            f"the model gives descriptors {part.name!r} that are not finite; its weights are not sound"
        )
    top = _TOP[part.bits]
    scale = (np.abs(values).max(-1, keepdims=True) / top).astype(np.float16)
    step = np.maximum(scale.astype(np.float32), _FAINTEST)
    codes = np.clip(np.rint(values / step), -top, top).astype(np.int8)
    if part.bits == 4:
        odd = np.zeros((*codes.shape[:2], part.width % 2), np.int8)
        pairs = (np.concatenate([codes, odd], -1) + 8).astype(np.uint8)
        codes = (pairs[..., ::2] | pairs[..., 1::2] << 4).view(np.int8)
    return [s.tobytes() + c.tobytes() for s, c in zip(scale, codes, strict=True)]


def _unpacked(whole: np.ndarray[Any, Any], part: Part) -> np.ndarray[Any, Any]:
    clips = len(whole)
    scale = np.ascontiguousarray(whole[:, : 2 * part.rows]).view(np.float16)
    codes = np.ascontiguousarray(whole[:, 2 * part.rows :]).reshape(clips, part.rows, -1)
    if part.bits == 4:
        pairs = np.empty((*codes.shape, 2), np.float32)
        np.subtract(codes & 15, 8, out=pairs[..., 0], dtype=np.float32)
        np.subtract(codes >> 4, 8, out=pairs[..., 1], dtype=np.float32)
        values = np.ascontiguousarray(pairs.reshape(clips, part.rows, -1)[..., : part.width])
    else:
        values = codes.view(np.int8).astype(np.float32)
    values *= scale.astype(np.float32)[..., None]
    return values
