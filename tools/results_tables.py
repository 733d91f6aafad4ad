"""Write the tables of docs/results.md from the receipts, each between its two markers.

python tools/results_tables.py

``tests/test_readme.py`` holds the page to the receipts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a2m2_zoo._files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
SETS = {"msr_action3d": "MSR", "jhmdb": "J-HMDB", "cctv_fight": "CCTV"}
MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)
ALIGNED, SHIFTED, FIVE, FIVE_SHIFTED = "1-shot", "1-shot shifted", "5-shot", "5-shot shifted"
CONDITIONS = {
    ALIGNED: (1, "aligned"),
    SHIFTED: (1, "shifted"),
    FIVE: (5, "aligned"),
    FIVE_SHIFTED: (5, "shifted"),
}
Row = dict[str, Any]


def receipt(name: str) -> dict[str, Any]:
    """A receipt of docs/receipts."""
    held: dict[str, Any] = json.loads((ROOT / "docs" / "receipts" / f"{name}.json").read_text())
    return held


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def accuracy() -> str:
    """Every embedded model on every set."""
    rows = []
    for found in receipt("accuracy")["results"]:
        if found["shot"] != 1:
            continue
        five = next(
            other
            for other in receipt("accuracy")["results"]
            if (other["data"], other["model"], other["shot"]) == (found["data"], found["model"], 5)
        )
        rows.append(
            [
                SETS[found["data"]],
                f"`{found['model']}`",
                *(f"{one['accuracy']:.1f} ± {one['interval']:.1f}" for one in (found, five)),
                f"{found['calibration_error']:.3f} / {five['calibration_error']:.3f}",
            ]
        )
    return markdown(["set", "model", "1-shot", "5-shot", "calibration error, 1 / 5-shot"], rows)


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


def ahead(group: str) -> str:
    """By how much the reference is ahead, mean over the sets."""
    rows = []
    for name, found in heads(group).items():
        if found[0]["reference"] == name:
            continue
        cells = []
        for condition in CONDITIONS:
            chosen = [pick(found, data, condition) for data in SETS]
            mean = -sum(row["difference"] for row in chosen) / len(chosen)
            wide = sum(row["difference_interval"] ** 2 for row in chosen) ** 0.5 / len(chosen)
            cells.append(f"{mean:+.1f} ± {wide:.1f}")
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
            chosen = [pick(found, data, condition) for data in SETS]
            mean = sum(row["difference"] for row in chosen) / len(chosen)
            wide = sum(row["difference_interval"] ** 2 for row in chosen) ** 0.5 / len(chosen)
            cells.append("" if found[0]["reference"] == name else f"{mean:+.1f} ± {wide:.1f}")
        rows.append([name, str(found[0]["seeds"]), *cells])
    return markdown(["head", "seeds", *SETS.values(), *(f"Δ {c}" for c in CONDITIONS)][:8], rows)


def rates() -> str:
    """Accuracy on generated classes by learning rate, of each rival."""
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


TABLES: dict[str, Callable[[], str]] = {
    "accuracy": accuracy,
    "rivals": lambda: each("rivals"),
    "rates": rates,
    "rivals-ahead": lambda: ahead("rivals"),
    "alignment": lambda: each("alignment"),
    "alignment-ahead": lambda: ahead("alignment"),
    "m2": lambda: ablation("m2"),
    "a2": lambda: ablation("a2"),
    "classes": lambda: ablation("classes"),
}


def filled(text: str) -> str:
    """The page with every table as the receipts have it."""
    return MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


if __name__ == "__main__":
    write_atomically(PAGE, lambda scratch: scratch.write_text(filled(PAGE.read_text())))
