"""Fill every marked figure and table of README.md and docs/ from the receipts, or say which are not as there.

    python tools/figures.py            # fill them
    python tools/figures.py --check    # exit code 1, and a line for each that differs

A figure in a sentence stands between two marks, which readers of the page do not see:

    <!-- figure: spotting; speed.times_real_time; .1f -->4.9<!-- / -->

that is the receipt (a file of docs/receipts), the way to the value in it, and Python's format for it.
``results[data=jhmdb,shot=5].accuracy`` takes the one row of a list that has these values. A fourth part is a
factor: ``; 1e-9`` for bytes shown as gigabytes. A mark that begins with a name of ``FIGURES`` below
goes there.

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; figure_tables.py makes it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from control_tables import heads, mean_ahead
from figure_tables import TABLES
from receipts import ROOT, receipt
from scale import scale

from a2m2_zoo._utils.files import write_atomically

FIGURE = re.compile(r"(<!-- figure: ([^>]+?) -->)(.*?)(<!-- / -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)
STEP = re.compile(r"([^.\[\]]+)(?:\[([^\]]+)\])?(?:\.|$)")


def pages() -> list[Path]:
    """The pages that may hold figures."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def spot_ahead(other: str = "difference") -> str:
    """By how much spotting is ahead of a sliding classifier, or of itself, mean over sets and shots."""
    found = [row[other] for row in receipt("spotting")["quality"]]
    mean = sum(row["mean"] for row in found) / len(found)
    wide = sum(row["interval"] ** 2 for row in found) ** 0.5 / len(found)
    return f"{mean:+.1f} ± {wide:.1f}".replace("-", "−")


def exported_clips() -> str:
    """Real clips on which an exported model was compared."""
    clips = receipt("export")["compared_clips"]
    return str(sum(count for name, count in clips.items() if name != "drawn or noise"))


def ahead(group: str, head: str, condition: str) -> str:
    """By how much the reference of a group of controls is ahead of a head, mean over the sets."""
    mean, _ = mean_ahead(heads(group)[head], condition)
    return f"{mean:.1f}".replace("-", "−")


FIGURES: dict[str, Callable[..., str]] = {
    "ahead": ahead,
    "spot-ahead": spot_ahead,
    "exported-clips": exported_clips,
    "scale": scale,
}


def value(held: Any, path: str) -> Any:
    """The value at ``path``; a list is entered by its row with the values in brackets, or by a number.

    >>> value({"a": [{"b": 1, "c": 2}, {"b": 3, "c": 4}]}, "a[b=3].c")
    4
    """
    for key, chosen in STEP.findall(path):
        held = held[key]
        if chosen.lstrip("-").isdigit():
            held = held[int(chosen)]
        elif chosen:
            wanted = dict(pair.split("=") for pair in chosen.split(","))
            rows = [r for r in held if all(str(r[k]) == v for k, v in wanted.items())]
            if len(rows) != 1:
                raise ValueError(f"{path}: {len(rows)} rows have {chosen}, one was expected")
            held = rows[0]
    return held


def figure(mark: str) -> str:
    """The text that belongs to a mark."""
    parts = [part.strip() for part in mark.split(";")]
    if parts[0] in FIGURES:
        return FIGURES[parts[0]](*parts[1:])
    name, path, form, factor = [*parts, "1"][:4]
    found = value(receipt(name), path)
    shown = format(found * float(factor) if factor != "1" else found, form)
    return shown.replace("%", " %").replace("-", "−")


def filled(text: str) -> str:
    """``text`` with every figure and table as the receipts have it."""
    text = FIGURE.sub(lambda m: f"{m[1]}{figure(m[2])}{m[4]}", text)
    return TABLE.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


def differences(path: Path) -> list[str]:
    """A line for each figure and table of a page that is not as the receipts have it."""
    text, name = path.read_text(), path.relative_to(ROOT)
    marks = sorted([*FIGURE.finditer(text), *TABLE.finditer(text)], key=lambda found: found.start())
    return [
        f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found[2]}"
        for found in marks
        if filled(found[0]) != found[0]
    ]


def main() -> int:
    """Fill or check all pages."""
    parser = argparse.ArgumentParser(description="fill the figures of the pages from the receipts")
    parser.add_argument("--check", action="store_true", help="change nothing; name what differs")
    check = parser.parse_args().check
    found = [line for path in pages() for line in differences(path)]
    for line in found:
        print(f"{line}: {'differs' if check else 'filled'}")
    if check:
        return int(bool(found))
    for path in pages():
        text, made = path.read_text(), filled(path.read_text())
        if made != text:
            write_atomically(path, lambda scratch, made=made: scratch.write_text(made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
