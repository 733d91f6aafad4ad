"""The tables of heads that were trained under one budget: baselines, alignments, ablations."""

from __future__ import annotations

from receipts import SETS, Row, markdown, receipt

ALIGNED, SHIFTED, FIVE, FIVE_SHIFTED = "1-shot", "1-shot shifted", "5-shot", "5-shot shifted"
CONDITIONS = {
    ALIGNED: (1, "aligned"),
    SHIFTED: (1, "shifted"),
    FIVE: (5, "aligned"),
    FIVE_SHIFTED: (5, "shifted"),
}


def heads(group: str) -> dict[str, list[Row]]:
    """The rows of a group of controls, by head."""
    found: dict[str, list[Row]] = {}
    for row in receipt("controls")["results"]:
        if row["group"] == group:
            found.setdefault(row["head"], []).append(row)
    return found


def pick(rows: list[Row], data: str, condition: str) -> Row:
    """The row of a set and a condition."""
    return next(
        r for r in rows if (r["data"], (r["shot"], r["condition"])) == (data, CONDITIONS[condition])
    )


def each(group: str) -> str:
    """Accuracy of every head on every set; in brackets by how much the reference is ahead."""
    shown = (ALIGNED, SHIFTED, FIVE)
    rows = []
    for name, found in heads(group).items():
        cells = []
        for data in SETS:
            for condition in shown:
                row = pick(found, data, condition)
                ahead = f" ({-row['difference']:+.1f} ± {row['difference_interval']:.1f})"
                cells.append(f"{row['accuracy']:.1f}" + ahead * (row["reference"] != name))
        rows.append([f"`{name}`", *cells])
    return markdown(["head", *(f"{s}, {c}" for s in SETS.values() for c in shown)], rows)


def mean_ahead(rows: list[Row], condition: str) -> tuple[float, float]:
    """By how much the reference is ahead, mean over the sets, with its interval."""
    chosen = [pick(rows, data, condition) for data in SETS]
    wide = sum(row["difference_interval"] ** 2 for row in chosen) ** 0.5
    return -sum(row["difference"] for row in chosen) / len(chosen), wide / len(chosen)


def ahead(group: str) -> str:
    """By how much the reference is ahead, mean over the sets."""
    rows = []
    for name, found in heads(group).items():
        if found[0]["reference"] == name:
            continue
        pairs = [mean_ahead(found, condition) for condition in CONDITIONS]
        cells = [f"{mean:+.1f} ± {wide:.1f}" for mean, wide in pairs]
        rows.append([f"`{name}`", str(found[0]["seeds"]), *cells])
    return markdown(["mean over the sets", "seeds", *CONDITIONS], rows)


def ablation(group: str) -> str:
    """Accuracy on every set, and the change of the mean over the sets against the reference."""
    rows = []
    for name, found in heads(group).items():
        cells = [
            " / ".join(f"{pick(found, data, c)['accuracy']:.1f}" for c in (ALIGNED, SHIFTED, FIVE))
            for data in SETS
        ]
        for condition in (ALIGNED, SHIFTED, FIVE):
            mean, wide = mean_ahead(found, condition)
            cells.append("" if found[0]["reference"] == name else f"{-mean:+.1f} ± {wide:.1f}")
        rows.append([name, str(found[0]["seeds"]), *cells])
    return markdown(["head", "seeds", *SETS.values(), *(f"Δ {c}" for c in CONDITIONS)][:8], rows)


def rates() -> str:
    """Accuracy on generated classes by learning rate, of each baseline."""
    found: dict[str, dict[float, float]] = {}
    for run, facts in receipt("controls")["runs"].items():
        name, _, rest = run.partition(", rate ")
        if rest:
            found.setdefault(name, {})[facts["lr"]] = facts["generated"]
    tried = sorted({lr for row in found.values() for lr in row})
    rows = [
        [f"`{name}`", *(f"{row[lr]:.1f}" if lr in row else "–" for lr in tried)]
        for name, row in found.items()
    ]
    return markdown(["rate", *(f"{lr:g}" for lr in tried)], rows)
