"""The parts of the comparison page: each takes results and gives HTML with the words that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from a2m2_zoo.evaluation.results import Comparison, Difference, MethodResult
from a2m2_zoo.report import charts, heat
from a2m2_zoo.report.markup import esc, name, signed, span

_MANY = 40  # classes from which the class-by-class chart starts folded
#: What is said of a head whose parameters are as they were drawn.
UNTRAINED = "parameters never trained"


_DOT = (
    '<svg width="14" height="14" aria-hidden="true"><circle class="{}" cx="7" cy="7" r="5"/></svg>'
)
_CHOICE = (
    "The second method is the most accurate other one; variants of the first and heads that were never "
    "trained are taken only where there is no other."
)


_HOW_MEASURED = (
    '<p class="read">A method is called better or worse by a paired test over episodes; “on these '
    "classes” warns that other classes may tell otherwise. The charts below say how it was measured.</p>"
)


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


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A list of (what, value)."""
    items = "".join(f"<div><dt>{esc(what)}</dt><dd>{name(v, 120)}</dd></div>" for what, v in pairs)
    return f'<dl class="facts">{items}</dl>'


def summary(comparison: Comparison) -> str:
    """What was found, in sentences, before any picture."""
    items = []
    for shot in comparison.shots:
        results = comparison.of_shot(shot)
        found = of_method(results, comparison.reference)
        if found is None:
            continue
        fair = [r for r in results if r.status != "untrained"]
        place = fair.index(found) + 1 if found in fair else None
        text = f"<b>{shot}-shot:</b> {name(found.method)} answers {found.accuracy:.1f} % right"
        text += f" (guessing: {comparison.chance:.1f} %)"
        if place and len(fair) > 1:
            text += f", place {place} of the {len(fair)} that are trained or need no training"
        verdicts = [(r.difference.verdict, r) for r in fair if r.difference]
        for verdict in dict.fromkeys(verdict for verdict, _ in verdicts):
            names = ", ".join(name(r.method, 30) for v, r in verdicts if v == verdict)
            text += f". <i>{esc(verdict).capitalize()}</i>: {names}"
        items.append(f"<li>{text}.</li>")
    return (
        f'<ul class="summary">{"".join(items)}</ul>{_HOW_MEASURED}{_untrained_note(comparison)}'
        if items
        else ""
    )


def _untrained_note(comparison: Comparison) -> str:
    names = dict.fromkeys(r.method for r in comparison.results if r.status == "untrained")
    if not names:
        return ""
    return (
        f'<p class="note"><b>Never trained:</b> {", ".join(name(n, 40) for n in names)}. '
        "These heads have parameters that were drawn at random. Their figures say what the head does "
        "before training and are not the published method's results.</p>"
    )


def accuracies(comparison: Comparison, results: Sequence[MethodResult]) -> str:
    """Bars of accuracy, best first."""
    rows = "".join(
        f'<li class="row{_ref(comparison, result)}"><span class="who"><span class="rank">{rank}</span>'
        f"{name(result.method)}{_tag(result)}</span>"
        + charts.bar(
            result.accuracy,
            result.interval,
            result.class_interval,
            chance=comparison.chance,
            muted=result.status == "untrained",
        )
        + f'<span class="value">{result.accuracy:.1f} ± {result.interval:.1f} %'
        f"{_small_class_interval(result.class_interval)}</span></li>"
        for rank, result in enumerate(results, 1)
    )
    read = (
        f"Percent of queries answered right, best first. Guessing gives {comparison.chance:.1f} % (dashed "
        f"line). The thick mark is the 95 % interval over the {comparison.episodes:,} episodes: how far the "
        "figure would move with other episodes from the same clips. The thin one is the 95 % interval over "
        "classes: how far it would move with other classes of this kind. Hatched bars belong to heads "
        "whose parameters were never trained."
    )
    axis = charts.PERCENT.scale([f"{tick:g} %" for tick in charts.PERCENT.ticks])
    return _figure(
        f"acc-{results[0].shot}", "Accuracy", read, f'<ol class="rows">{rows}</ol>{axis}'
    )


def differences(comparison: Comparison, results: Sequence[MethodResult]) -> str:
    """A forest plot of the paired differences to the reference."""
    found = [(r, r.difference) for r in results if r.difference is not None]
    if not found:
        return ""
    reach = [
        d.mean + sign * max(d.interval, d.class_interval or 0) for _, d in found for sign in (-1, 1)
    ]
    axis = charts.forest_axis(reach)
    rows = "".join(
        f'<li class="row {_look(d)}"><span class="who">{name(r.method)}{_tag(r)}</span>'
        f"{charts.forest(axis, d.mean, d.interval, d.class_interval)}"
        f'<span class="value">{signed(d.mean)} ± {d.interval:.1f}<small>{esc(d.verdict)}</small></span></li>'
        for r, d in found
    )
    read = (
        f"Accuracy minus that of {name(comparison.reference)} on the very same episodes, in percentage "
        "points: left of zero the method is worse, right of it better. Thick: 95 % interval over episodes. "
        "Thin: 95 % interval over classes. “Better” or “worse” means that a paired two-sided test over "
        "episodes gives p below 0.05 and that the interval over classes leaves zero out as well. “On these "
        "classes” means that only the first holds: other classes may tell otherwise. No allowance is made "
        f"for the number of comparisons: if none of these {len(found)} differed in truth, about one in "
        "twenty would still be called different on these classes, by chance."
    )
    labels = [signed(tick, _digits(axis)) for tick in axis.ticks]
    title = f"Difference to {name(comparison.reference)}"
    return _figure(
        f"diff-{results[0].shot}", title, read, f'<ul class="rows">{rows}</ul>{axis.scale(labels)}'
    )


def times(comparison: Comparison, results: Sequence[MethodResult]) -> str:
    """Accuracy against the time of scoring an episode."""
    points = [
        charts.Point(rank, r.method, r.accuracy, r.score_ms, _point_look(comparison, r))
        for rank, r in enumerate(results, 1)
    ]
    key = "".join(
        f'<li><span class="rank">{p.number}</span><span>{name(p.name, 40)}</span>'
        f"<span>{p.accuracy:.1f} %, {span(p.milliseconds)} ms</span></li>"
        for p in points
    )
    read = (
        "Up is more accurate, left is faster; best is the upper left corner. Time is that of scoring one "
        "episode from stored descriptors: decoding and the backbone, the same for all, are not in it. The "
        "time axis is logarithmic and the accuracy axis does not start at zero. Numbers are the places in "
        "the chart of accuracy; hollow points were never trained."
    )
    body = f'{charts.scatter(points)}<ol class="key">{key}</ol>'
    return _figure(f"time-{results[0].shot}", "Accuracy against time", read, body)


def classes(comparison: Comparison, reference: MethodResult, baseline: MethodResult) -> str:
    """Accuracy per class of the reference and of one baseline."""
    triples = sorted(
        zip(comparison.class_names, reference.per_class, baseline.per_class, strict=True),
        key=lambda item: (item[1] is None, -(item[1] or 0), item[0]),
    )
    rows = "".join(
        f'<li class="row"><span class="who">{name(label)}</span>{charts.dots(a, b)}'
        f'<span class="value">{_percent(a)} · {_percent(b)}</span></li>'
        for label, a, b in triples
    )
    legend = (
        f'<ul class="legend"><li>{_DOT.format("dot-ref")}{name(reference.method)} (first number)</li>'
        f"<li>{_DOT.format('dot-other')}{name(baseline.method)} (second number){_tag(baseline)}</li></ul>"
    )
    axis = charts.PERCENT.scale([f"{tick:g} %" for tick in charts.PERCENT.ticks])
    body = f'{legend}<div class="dots"><ul class="rows">{rows}</ul>{axis}</div>'
    if len(triples) > _MANY:
        body = f"<details><summary>Show all {len(triples)} classes</summary>{body}</details>"
    read = (
        f"Percent of each class's queries that were answered right, by {name(reference.method)} (filled) and "
        f"by {name(baseline.method)} (hollow), best class first. A long line between the points is a class "
        "on which the two differ. A class has far fewer queries than the whole, so short lines mean little. "
        f"{_CHOICE}"
    )
    return _figure(f"class-{reference.shot}", "Class by class", read, body)


def confusions(comparison: Comparison, results: Sequence[MethodResult]) -> str:
    """Confusion matrices side by side."""
    if not results:
        return ""
    drawn = "".join(
        f'<div><h4>{name(r.method)}{_tag(r)}</h4><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Confusion matrix of {esc(r.method)}, {r.shot}-shot">'
        f"{heat.heat(comparison.class_names, r.confusion)}</div>{_worst(comparison, r)}</div>"
        for r in results
    )
    shown = (
        "Cells under 1 % are left blank and the numbers appear when the pointer rests on a cell."
        if len(comparison.class_names) > heat.MOST_NUMBERED
        else "The numbers are those percentages."
    )
    read = (
        "Each row is a true class, each column an answer: how many percent of the row's queries got that "
        "answer. The diagonal is what was right, all else was mixed up; stronger colour is more. A clip can "
        f"only be taken for a class of its own episode. {shown}"
    )
    return _figure(
        f"conf-{results[0].shot}",
        "What is taken for what",
        read,
        f'<div class="pair">{drawn}</div>',
    )


def _worst(comparison: Comparison, result: MethodResult) -> str:
    """The three commonest mistakes in words, for whoever cannot see the matrix."""
    pairs = [
        (100 * count / sum(row), comparison.class_names[i], comparison.class_names[j])
        for i, row in enumerate(result.confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    if not pairs:
        return '<p class="read">Nothing was mixed up.</p>'
    said = "; ".join(
        f"{name(a, 40)} as {name(b, 40)} ({share:.0f} %)"
        for share, a, b in sorted(pairs, key=lambda p: (-p[0], p[1], p[2]))[:3]
    )
    return f'<p class="read">Most often: {said}.</p>'


def _figure(ident: str, title: str, read: str, body: str) -> str:
    return (
        f'<figure aria-labelledby="{ident}"><figcaption><h3 id="{ident}">{title}</h3>'
        f'<p class="read">{read}</p></figcaption>{body}</figure>'
    )


def _tag(result: MethodResult) -> str:
    if result.status == "untrained":
        return f'<span class="tag untrained">{UNTRAINED}</span>'
    return f'<span class="tag">{esc(result.status)}</span>'


def _ref(comparison: Comparison, result: MethodResult) -> str:
    return " ref" if result.method == comparison.reference else ""


def _point_look(comparison: Comparison, result: MethodResult) -> str:
    return _ref(comparison, result).strip() or ("untrained" if result.status == "untrained" else "")


def _look(difference: Difference) -> str:
    return difference.verdict.split()[0] if difference.verdict[0] in "bw" else "none"


def _small_class_interval(value: float | None) -> str:
    return "" if value is None else f"<small>± {value:.1f} over classes</small>"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _digits(axis: charts.Axis) -> int:
    return 0 if all(tick == round(tick) for tick in axis.ticks) else 1
