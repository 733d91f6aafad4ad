"""What the makers of tables share: the receipts, the sets' names, and Markdown."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SETS = {"msr_action3d": "MSR", "jhmdb": "J-HMDB", "cctv_fight": "CCTV"}
LONG = {
    "msr_action3d": "MSR-Action3D, 20 actions, drawn skeletons",
    "jhmdb": "J-HMDB, 14 actions, drawn joints",
    "cctv_fight": "CCTV, fight or no fight, surveillance cameras",
    "ut_interaction": "UT-Interaction, 6 actions of two people, camera",
}
Row = dict[str, Any]


@cache
def receipt(name: str) -> dict[str, Any]:
    """A receipt of docs/receipts."""
    held: dict[str, Any] = json.loads((ROOT / "docs" / "receipts" / f"{name}.json").read_text())
    return held


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table; a figure and its interval stay on one line."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    lines = [line.replace(" ± ", "\u00a0±\u00a0") for line in lines]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
