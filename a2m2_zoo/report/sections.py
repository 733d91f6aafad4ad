"""What the sections of the comparison page show, picked from the results; the templates say it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from a2m2_zoo.evaluation.results import Comparison, MethodResult
from a2m2_zoo.report import charts


@dataclass(frozen=True)
class Finding:
    """What is said of the reference with one number of shots.

    Attributes:
        result: Of the reference.
        place: Its place among the heads that are not untrained; None if it is untrained itself.
        fair: How many those are.
        verdicts: The others by the verdict on them.
    """

    result: MethodResult
    place: int | None
    fair: int
    verdicts: dict[str, list[str]]


def findings(comparison: Comparison) -> Iterator[Finding]:
    """One for every number of shots that the reference was measured with."""
    for shot in comparison.shots:
        results = comparison.of_shot(shot)
        found = of_method(results, comparison.reference)
        if found is None:
            continue
        fair = [r for r in results if r.status != "untrained"]
        verdicts: dict[str, list[str]] = {}
        for r in fair:
            if r.difference:
                verdicts.setdefault(r.difference.verdict, []).append(r.method)
        yield Finding(found, fair.index(found) + 1 if found in fair else None, len(fair), verdicts)


def of_method(results: Iterable[MethodResult], method: str) -> MethodResult | None:
    """The result of ``method``, None if it has none."""
    return next((result for result in results if result.method == method), None)


def best_baseline(results: Sequence[MethodResult], reference: str) -> MethodResult | None:
    """The method to set beside the reference: the most accurate that is a method of its own.

    Untrained heads and variants of the reference's head (``reference-...``) come last, in this order.
    """

    def rank(result: MethodResult) -> tuple[bool, bool, float]:
        variant = result.method.startswith(f"{reference}-")
        return (variant, result.status == "untrained", -result.accuracy)

    return min((r for r in results if r.method != reference), key=rank, default=None)


def differences_axis(results: Sequence[MethodResult]) -> charts.Axis:
    """The axis of all differences with their intervals."""
    found = [r.difference for r in results if r.difference is not None]
    return charts.forest_axis(
        [d.mean + sign * max(d.interval, d.class_interval or 0) for d in found for sign in (-1, 1)]
    )


def scatter(comparison: Comparison, results: Sequence[MethodResult]) -> str:
    """The drawing of accuracy against time."""
    looks = {r.method: "untrained" for r in results if r.status == "untrained"}
    looks[comparison.reference] = "ref"
    return charts.scatter(
        [
            charts.Point(rank, r.method, r.accuracy, r.score_ms, looks.get(r.method, ""))
            for rank, r in enumerate(results, 1)
        ]
    )


def by_class(
    comparison: Comparison, first: MethodResult, second: MethodResult
) -> list[tuple[str, float | None, float | None]]:
    """Every class with both accuracies, the first method's best class first."""
    return sorted(
        zip(comparison.class_names, first.per_class, second.per_class, strict=True),
        key=lambda item: (item[1] is None, -(item[1] or 0), item[0]),
    )


def mistakes(comparison: Comparison, result: MethodResult) -> list[tuple[float, str, str]]:
    """The three commonest: percent of the class's queries, the class, what it was taken for."""
    pairs = [
        (100 * count / sum(row), comparison.class_names[i], comparison.class_names[j])
        for i, row in enumerate(result.confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda p: (-p[0], p[1], p[2]))[:3]
