"""The header of a safetensors file, read by us and within bounds before anything else sees the file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

from a2m2_zoo._utils.bounded_json import parse

#: Bytes of the header, number of tensors, dimensions of one: far above what any checkpoint has.
MAX_HEADER, MAX_TENSORS, MAX_DIMENSIONS = 32 << 20, 100_000, 8
#: What files of this package and of backbones hold → bytes of one value.
DTYPES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a file says it holds, and does hold as far as sizes go.

    Attributes:
        metadata: The texts beside the tensors.
        names: Of the tensors.
        raw: The header as it stands in the file, after its length.
    """

    metadata: dict[str, str]
    names: tuple[str, ...]
    raw: bytes


def read_header(file: BinaryIO, size: int) -> Header:
    """Read and check the header of an open file, from its beginning.

    Args:
        file: It stands at its start.
        size: Bytes of the whole file.

    Raises:
        ValueError: It is no safetensors file, or one that is out of bounds; the message says what is wrong.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        raise ValueError("it does not begin as one does")
    if length > MAX_HEADER:
        raise ValueError(f"its header has {length:,} bytes; the limit is {MAX_HEADER:,}")
    raw = file.read(length)
    if len(raw) < length:
        raise ValueError("it was cut short")
    found = parse(raw)
    if not isinstance(found, dict):
        raise ValueError("its header is no JSON object")
    metadata = found.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not texts")
    if len(found) > MAX_TENSORS:
        raise ValueError(f"it has {len(found):,} tensors; the limit is {MAX_TENSORS:,}")
    spans = sorted(_span(name, entry) for name, entry in found.items())
    end = 0
    for first, last in spans:
        if first != end:
            raise ValueError("its tensors overlap, or leave a gap")
        end = last
    if 8 + length + end != size:
        raise ValueError(f"it has {size:,} bytes where its tensors need {8 + length + end:,}")
    return Header(metadata, tuple(found), raw)


def _span(name: str, entry: Any) -> tuple[int, int]:
    """First and last byte of a tensor among the tensors' bytes."""
    at = f"its tensor {name[:60]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{at} is not described as one is")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise ValueError(
            f"{at} has the type {str(entry['dtype'])[:20]}; expected one of {', '.join(DTYPES)}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{at} has a broken shape or place")
    if len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"{at} has {len(shape)} dimensions; the limit is {MAX_DIMENSIONS}")
    first, last = offsets
    if last - first != math.prod(shape) * DTYPES[entry["dtype"]]:
        raise ValueError(f"{at} does not have the bytes that its shape {shape} needs")
    return first, last


def _sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in values)
