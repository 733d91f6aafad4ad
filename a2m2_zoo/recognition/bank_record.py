"""What a bank's file says beside its tensors: read from strangers, so every value is looked at."""

from __future__ import annotations

from typing import Any

_LONGEST_NAME = 5000  # characters of a class or a file
_LONGEST = 1e9  # seconds
_LARGEST = 2**20  # pixels of a picture's side


def texts_of(values: Any, what: str) -> tuple[str, ...]:
    """Texts of a bearable length."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"its {what} are not texts")
    if any(len(value) > _LONGEST_NAME for value in values):
        raise ValueError(f"its {what} are longer than {_LONGEST_NAME} characters")
    return tuple(values)


def labels_of(values: Any) -> tuple[int, ...]:
    """Whole numbers."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError("its labels are not whole numbers")
    return tuple(values)


def durations_of(values: Any) -> tuple[float | None, ...]:
    """Seconds that a clip can last, None where nobody knows."""
    if not isinstance(values, list) or not all(
        value is None or (type(value) in (int, float) and 0 <= value <= _LONGEST)
        for value in values
    ):
        raise TypeError("its durations are not seconds")
    return tuple(None if value is None else float(value) for value in values)


def shapes_of(values: Any) -> tuple[tuple[int, int], ...]:
    """Heights and widths that pictures can have."""
    if not isinstance(values, list) or not all(
        isinstance(value, list)
        and len(value) == 2
        and all(type(side) is int and 1 <= side <= _LARGEST for side in value)
        for value in values
    ):
        raise TypeError("its shapes are not heights and widths")
    return tuple((height, width) for height, width in values)


def clock(seconds: float | None) -> float | None:
    """The length of a clip; None where its file says what cannot be."""
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST else None
