"""Means with intervals, and how far probabilities can be trusted."""

from __future__ import annotations

import math

import numpy as np

from a2m2_zoo._typing import Bool, Float


def mean_interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, 1.96·s/√n with the population's s, as the field does.

    >>> mean_interval(np.array([0.0, 1.0, 1.0, 0.0]))
    (0.5, 0.49)
    """
    return float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))


def expected_calibration_error(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], *, bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their size.

    Naeini, Cooper and Hauskrecht (AAAI 2015); 0 is perfect.

    >>> expected_calibration_error(np.array([0.75] * 4), np.array([True, True, True, False]))
    0.0
    """
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
