"""The table of every figure on the comparison page."""

from __future__ import annotations

from a2m2_zoo.evaluation.results import Comparison, MethodResult
from a2m2_zoo.report.markup import chance_of, esc, name, signed, span
from a2m2_zoo.report.sections import UNTRAINED


def table(comparison: Comparison) -> str:
    """Every figure of every method."""
    heads = [
        "Method", "Status", "Accuracy, %", "± over episodes", "± over classes",
        "Difference", "± over episodes", "± over classes", "p", "Verdict",
        "Calibration error, %", "ms per episode", "ms per clip", "Parameters",
    ]  # fmt: skip
    words = {"Status", "Verdict"}
    head = "".join(f'<th scope="col"{" class=words" if h in words else ""}>{h}</th>' for h in heads)
    bodies = ""
    for shot in comparison.shots:
        rows = "".join(_table_row(comparison, r) for r in comparison.of_shot(shot))
        title = f'<tr><th scope="rowgroup" colspan="{len(heads)}">{shot}-shot</th></tr>'
        bodies += f"<tbody>{title}{rows}</tbody>"
    return (
        '<section id="table" aria-labelledby="h-table"><h2 id="h-table">All figures</h2>'
        '<p class="read">Half widths (±) are those of 95 % intervals. Differences are to '
        f"{name(comparison.reference)} in percentage points, p is that of a paired two-sided test over "
        "episodes. Calibration error is how far the stated probabilities are from the truth, 0 being "
        "perfect. Milliseconds per episode are for scoring alone, per clip for the descriptors from the "
        "backbone's features; decoding and the backbone are in neither.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="h-table"><table>'
        f"<caption>{len(comparison.results)} results</caption>"
        f"<thead><tr>{head}</tr></thead>{bodies}</table></div></section>"
    )


def _table_row(comparison: Comparison, r: MethodResult) -> str:
    d = r.difference
    cells: list[tuple[str, str]] = [
        ("words", esc(UNTRAINED if r.status == "untrained" else r.status)),
        ("", f"{r.accuracy:.2f}"),
        ("", f"{r.interval:.2f}"),
        ("", _or_dash(r.class_interval)),
        ("", signed(d.mean, 2) if d else "–"),
        ("", f"{d.interval:.2f}" if d else "–"),
        ("", _or_dash(d.class_interval if d else None)),
        ("", esc(chance_of(d.p_value)) if d else "–"),
        ("words said", esc(d.verdict) if d else "–"),
        ("", _or_dash(None if r.calibration_error is None else 100 * r.calibration_error)),
        ("", span(r.score_ms)),
        ("", span(r.encode_ms)),
        ("", f"{r.parameters:,}"),
    ]
    tds = "".join(f'<td class="{look}">{v}</td>' if look else f"<td>{v}</td>" for look, v in cells)
    look = ' class="ref"' if r.method == comparison.reference else ""
    return f'<tr{look}><th scope="row">{name(r.method)}</th>{tds}</tr>'


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
