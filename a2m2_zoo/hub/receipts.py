"""Figures for a card, read strictly from receipts of measurements with exactly the published weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.bounded_json import read
from a2m2_zoo.errors import ArgumentError


@dataclass(frozen=True)
class Figure:
    """One measured accuracy.

    Attributes:
        data: Name of the data set.
        way: Classes per episode.
        shot: Supports per class.
        episodes: How many.
        seed: Of the episodes.
        accuracy: Mean over episodes, percent.
        interval: Half width of its 95 % interval over episodes, percentage points.
        receipt: Name of the receipt's file.
    """

    data: str
    way: int
    shot: int
    episodes: int
    seed: int
    accuracy: float
    interval: float
    receipt: str


def read_figures(
    path: Path, *, weights_hash: str, method: str, name: str | None = None
) -> tuple[Figure, ...]:
    """The figures of one receipt.

    Args:
        path: What ``a2m2 evaluate --out`` or ``a2m2 compare --out`` wrote, or a receipt of
            ``benchmarks/accuracy.py``.
        weights_hash: Hash of the weights that the figures must be of, see ``Model.weights_hash``.
        method: The model's method.
        name: What to call the receipt; the file's name if None.

    Raises:
        ArgumentError: It cannot be read, is no receipt, or is about other weights.
    """
    at = repr(str(path))
    try:
        raw = read(path)
    except OSError as error:
        raise ArgumentError(f"cannot read the receipt {at}: {error.strerror or error}") from error
    except ValueError as error:
        raise ArgumentError(
            f"the receipt {at} is not JSON: {error}; give what `a2m2 evaluate --out FILE` writes"
        ) from error
    try:
        rows = list(_rows(raw, weights_hash, method, at))
        figures = tuple(_figure(row, name or path.name, at) for row in rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"the receipt {at} has another form ({error!r}); give what `a2m2 evaluate --out FILE` writes"
        ) from error
    if not figures:
        raise ArgumentError(f"the receipt {at} has no figure of these weights; evaluate them")
    return figures


def _rows(raw: Any, weights_hash: str, method: str, at: str) -> Iterator[dict[str, Any]]:
    """The rows about these weights, each with everything a figure needs."""
    if "receipt" in raw:  # of `a2m2 evaluate` or `a2m2 compare`
        facts = raw["receipt"]
        measured = {facts["model"]["id"]: facts["model"]["weights_hash"]}
        shared = {"data": facts["data"]["name"], **{k: raw[k] for k in ("way", "episodes", "seed")}}
        own = [row for row in raw["results"] if row["method"] == method]
        if any(row["status"] == "untrained" for row in own):
            raise ArgumentError(f"the receipt {at} is about an untrained head; evaluate the model")
    else:
        measured = raw["weights"]
        shared = {"episodes": raw["episodes"], "seed": raw["seed"]}
        own = [row for row in raw["results"] if measured[row["model"]] == weights_hash]
    if weights_hash not in measured.values():
        raise ArgumentError(
            f"the receipt {at} is about other weights ({', '.join(map(str, measured))}), this checkpoint has "
            f"{weights_hash[:12]}...; evaluate this checkpoint and give that receipt"
        )
    for row in own:
        yield {**shared, **row}


def _figure(row: dict[str, Any], receipt: str, at: str) -> Figure:
    numbers: dict[str, Any] = {}
    for key, low, high in (
        ("way", 2, math.inf),
        ("shot", 1, math.inf),
        ("episodes", 1, math.inf),
        ("seed", 0, math.inf),
        ("accuracy", 0, 100),
        ("interval", 0, 100),
    ):
        value = row[key]
        whole = high == math.inf
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise ArgumentError(
                f"{key} is {value!r} in the receipt {at}; no such figure is measured"
            )
        numbers[key] = value if whole else round(float(value), 2)
    if not isinstance(row["data"], str) or not row["data"].strip():
        raise ArgumentError(f"the receipt {at} does not name its data")
    return Figure(data=row["data"], receipt=receipt, **numbers)
