"""JSON from files and arguments that may be anything: bounded, and without what is no JSON."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from a2m2_zoo._utils.files import read_regular

_DEPTH = 64
_DIGITS = 18  # every whole number of so many digits is exact in 64 bits
#: Largest file that is read as JSON unless its reader says otherwise.
MAX_BYTES = 16 << 20


class OutOfBoundsError(ValueError):
    """It is JSON, or nearly, and holds what no file of this package does."""


def parse(text: str | bytes) -> Any:
    """The value behind a JSON text.

    Args:
        text: UTF-8 if bytes.

    Raises:
        OutOfBoundsError: It nests too deep, or has a number that is too large or none (``NaN``).
        ValueError: It is no JSON.

    >>> parse('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        found = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=_constant)
    except RecursionError:
        raise OutOfBoundsError(f"it nests deeper than {_DEPTH} levels") from None
    level, depth = [found], 0
    while level := [part for value in level for part in _parts(value)]:
        depth += 1
        if depth > _DEPTH:
            raise OutOfBoundsError(f"it nests deeper than {_DEPTH} levels")
    return found


def read(path: str | os.PathLike[str], *, most: int = MAX_BYTES) -> Any:
    """The value in a JSON file.

    Args:
        path: A regular file.
        most: Largest size in bytes.

    Raises:
        OSError: It cannot be read, is no regular file or is too large; ``strerror`` says which.
        ValueError: As for :func:`parse`.
    """
    return parse(read_regular(path, most=most))


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    return [v for v in value if isinstance(v, (dict, list))] if isinstance(value, list) else []


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _DIGITS:
        raise OutOfBoundsError(f"the number {digits[:12]}... has {len(digits)} digits")
    return int(digits)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise OutOfBoundsError(f"the number {text[:24]} is too large")
    return value


def _constant(name: str) -> float:
    raise OutOfBoundsError(f"{name} is no number")
