from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from a2m2_zoo.evaluation.statistics import (
    class_interval,
    confusion_counts,
    expected_calibration_error,
    mean_interval,
    paired_p_value,
    student_quantile,
)


def episodes(count: int, classes: int, way: int, seed: int = 0) -> np.ndarray:
    return np.argsort(np.random.default_rng(seed).random((count, classes)), axis=1)[:, :way]


def test_the_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).random(400)
    mean, half = mean_interval(values)
    low, high = stats.norm.interval(0.95, loc=values.mean(), scale=values.std() / 20)
    assert mean - half == pytest.approx(low, abs=1e-5)
    assert mean + half == pytest.approx(high, abs=1e-5)


@pytest.mark.parametrize(("freedom", "tolerance"), [(1, 1e-5), (2, 1e-2), (5, 2e-4), (100, 1e-6)])
def test_students_quantile(freedom: int, tolerance: float) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=tolerance)


@pytest.mark.parametrize(("count", "way"), [(6, 5), (9, 3)])
def test_the_class_interval_is_a_jackknife_that_leaves_out_one_class(count: int, way: int) -> None:
    values, classes = np.random.default_rng(1).random(300), episodes(300, count, way)
    means = []
    for left_out in range(count):
        rest = [v for v, held in zip(values, classes, strict=True) if left_out not in held]
        means.append(sum(rest) / len(rest))
    centre = sum(means) / count
    error = math.sqrt((count - 1) / count * sum((m - centre) ** 2 for m in means))
    expected = stats.t.ppf(0.975, count - 1) * error
    assert class_interval(values, classes, count=count) == pytest.approx(expected, rel=1e-3)


def test_there_is_no_class_interval_where_nothing_can_be_left_out() -> None:
    assert class_interval(np.ones(20), episodes(20, 3, 3), count=3) is None
    assert class_interval(np.ones(20), episodes(20, 9, 3), count=9) == 0.0


def test_the_class_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Classes drawn from a population in which the mean is 0.6."""
    random, hits = np.random.default_rng(0), 0
    for seed in range(200):
        ease = random.normal(0, 0.15, 20)
        classes = episodes(3000, 20, 5, seed)
        values = 0.6 + ease[classes].mean(1) + random.normal(0, 0.2, 3000)
        half = class_interval(values, classes, count=20)
        assert half is not None
        hits += abs(values.mean() - 0.6) <= half
        # Over episodes alone it would not: that interval knows only these classes.
        assert mean_interval(values)[1] < half
    assert 0.91 <= hits / 200 <= 0.995


def test_many_paired_differences_are_a_normal_test() -> None:
    random = np.random.default_rng(3)
    ours, theirs = random.random(500), random.random(500) + 0.03
    differences = ours - theirs
    z = differences.mean() / (differences.std() / math.sqrt(500))
    assert paired_p_value(differences) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)
    assert paired_p_value(differences) == pytest.approx(
        stats.ttest_rel(ours, theirs).pvalue, rel=0.05
    )
    assert paired_p_value(-differences) == paired_p_value(differences)


@pytest.mark.parametrize("count", [1, 2, 7, 29])
def test_few_paired_differences_are_an_exact_sign_test(count: int) -> None:
    for seed in range(20):
        differences = np.random.default_rng(seed).integers(-1, 3, count).astype(float)
        up, down = int((differences > 0).sum()), int((differences < 0).sum())
        expected = stats.binomtest(up, up + down).pvalue if up + down else 1.0
        assert paired_p_value(differences) == pytest.approx(expected, rel=1e-9)


def test_p_values_of_equal_differences() -> None:
    assert paired_p_value(np.zeros(10_000)) == 1.0
    assert paired_p_value(np.full(10_000, 20.0)) == 0.0
    assert paired_p_value(np.full(40, 0.1)) == pytest.approx(2 / 2**40)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    random = np.random.default_rng(5)
    found = [paired_p_value(random.choice([-20.0, 0.0, 20.0], 300)) for _ in range(1500)]
    assert stats.kstest(found, "uniform").pvalue > 0.001
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.02)


def test_confusion_counts_every_query_once() -> None:
    random = np.random.default_rng(2)
    classes, answers = episodes(50, 7, 3), random.integers(0, 3, (50, 6))
    expected = np.zeros((7, 7), int)
    for held, answered in zip(classes, answers, strict=True):
        for place, answer in enumerate(answered):
            expected[held[place // 2], held[answer]] += 1
    found = confusion_counts(classes, answers, count=7)
    assert found.tolist() == expected.tolist()
    assert found.sum() == 300


def test_honest_probabilities_have_no_calibration_error() -> None:
    random = np.random.default_rng(4)
    confidence = random.random(200_000)
    right = random.random(200_000) < confidence
    assert expected_calibration_error(confidence, right) < 0.01
    assert expected_calibration_error(confidence, np.zeros(200_000, bool)) == pytest.approx(
        confidence.mean()
    )
