"""Means with intervals, differences with doubts, and how far probabilities can be trusted."""

from __future__ import annotations

import math

import numpy as np

from a2m2_zoo._utils.typing import Bool, Float, Int

#: Below so many episodes the normal approximation is not trusted and signs are counted instead.
FEW = 30


def mean_interval(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, 1.96·s/√n with the population's s, as the field does.

    >>> mean_interval(np.array([0.0, 1.0, 1.0, 0.0]))
    (0.5, 0.49)
    """
    return float(values.mean()), 1.96 * float(values.std()) / math.sqrt(len(values))


def class_interval(
    values: Float[np.ndarray, " e"], classes: Int[np.ndarray, "e w"], *, count: int
) -> float | None:
    """Half width of the 95 % interval of the mean over episodes, had other classes been at hand.

    The delete-one-class jackknife (Efron and Stein, 1981): the mean is taken again without all episodes
    that hold a class, for each class; how far these means scatter says how much the figure hangs on
    the choice of classes, which more episodes of the same classes do not tell. Student's quantile
    with C - 1 degrees of freedom takes the place of 1.96. It errs on the wide side, the more so the
    fewer episodes hold none of a class.

    Args:
        values: One figure per episode.
        classes: The classes of every episode, 0..C-1.
        count: C.

    Returns:
        None where every episode holds some class, so that nothing can be taken out.

    >>> values, classes = np.array([1.0, 0.0, 1.0]), np.array([[0, 1], [1, 2], [0, 2]])
    >>> round(class_interval(values, classes, count=3) / student_quantile(2), 6)
    0.666667
    """
    held = np.zeros((len(values), count), dtype=bool)
    np.put_along_axis(held, classes, True, axis=1)
    without = (~held).sum(0)
    if not without.all():
        return None
    means = values @ ~held / without
    variance = (count - 1) * float(means.var())
    return student_quantile(count - 1) * math.sqrt(variance)


def student_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t.

    >>> round(student_quantile(10), 2)
    2.23
    """
    from scipy.stats import t  # takes half a second

    return float(t.ppf(0.975, freedom))


def paired_p_value(differences: Float[np.ndarray, " e"]) -> float:
    """Two-sided p-value of "the mean difference is zero", one difference per episode.

    The normal approximation of the paired test, with the s that ``mean_interval`` takes; with fewer than
    ``FEW`` episodes, or where all differences are equal, the exact sign test.

    >>> paired_p_value(np.array([1.0, 1.0, 1.0, 1.0, 0.0]))
    0.125
    """
    deviation = float(differences.std())
    if len(differences) < FEW or deviation < 1e-12 * float(np.abs(differences).max()):
        return _sign_test(differences)
    if deviation == 0:
        return 1.0
    z = float(differences.mean()) / (deviation / math.sqrt(len(differences)))
    return math.erfc(abs(z) / math.sqrt(2))


def _sign_test(differences: Float[np.ndarray, " e"]) -> float:
    """Two-sided exact sign test; differences of zero say nothing and are left out."""
    from scipy.stats import binomtest

    up, down = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(up, up + down).pvalue) if up + down else 1.0


def confusion_counts(
    classes: Int[np.ndarray, "e w"], answers: Int[np.ndarray, "e q"], *, count: int
) -> Int[np.ndarray, "c c"]:
    """How often queries of each class (row) were given each class (column) as the answer.

    Args:
        classes: The classes of every episode among all C.
        answers: Place of each answer among the episode's classes; the W·Q queries class by class.
        count: C.

    >>> confusion_counts(np.array([[2, 0]]), np.array([[0, 0]]), count=3).tolist()
    [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
    """
    truth = classes.repeat(answers.shape[1] // classes.shape[1], axis=1)
    answered = np.take_along_axis(classes, answers, axis=1)
    pairs = (truth * count + answered).ravel()
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


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


def auroc(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: how often a positive has the higher score than a negative; ties count half.

    >>> auroc(np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    high, low = scores[positive], np.sort(scores[~positive])
    below, up_to = (np.searchsorted(low, high, side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(high) * len(low)))


def accuracy_at(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], coverage: float
) -> float:
    """Share of right answers among the ``coverage`` of all answers with the highest confidence.

    >>> accuracy_at(np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, True, False, True]), 0.5)
    1.0
    """
    order = np.argsort(-confidence, kind="stable")
    return float(right[order[: max(1, round(coverage * len(order)))]].mean())
