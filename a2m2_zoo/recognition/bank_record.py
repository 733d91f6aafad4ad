"""What a bank's file says beside its tensors: read from strangers, so every value is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from a2m2_zoo.data.index import check_class_names

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank

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


def check_fits(bank: SupportBank) -> None:
    """Whether the parts of a bank that was read belong together.

    Raises:
        ValueError: They do not.
        EpisodeError: Two class names differ only in case or spacing.
    """
    n, shape = len(bank.labels), bank.thumbnails.shape
    if sorted(set(bank.labels)) != list(range(len(bank.class_names))):
        raise ValueError("its labels do not match its classes")
    sizes = {len(bank.sources), *(len(t) for t in (bank.thumbnails, *bank.descriptors.values()))}
    kept = {len(bank.durations), len(bank.shapes)}
    if sizes != {n} or not bank.descriptors or kept - {0, n}:
        raise ValueError("its tensors do not match its labels")
    if bank.thumbnails.dtype != torch.uint8 or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
        raise ValueError("its thumbnails are not pictures")
    if not all(t.is_floating_point() and t.ndim > 1 for t in bank.descriptors.values()):
        raise ValueError("its descriptors are not vectors")
    check_class_names(bank.class_names)
