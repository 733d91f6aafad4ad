"""Write the table of models from the manifest into README.md and docs/zoo.md, between its two markers.

python tools/zoo_table.py

``tests/test_readme.py`` holds both files to it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from a2m2_zoo._files import write_atomically
from a2m2_zoo.hub.manifest import Manifest, ModelEntry, read_manifest

ROOT = Path(__file__).resolve().parent.parent
FILES = (ROOT / "README.md", ROOT / "docs" / "zoo.md")
START, END = "<!-- zoo: tools/zoo_table.py writes this table -->", "<!-- /zoo -->"
SETS = {"msr_action3d": "MSR-Action3D", "jhmdb": "J-HMDB", "cctv_fight": "CCTV"}


def table(manifest: Manifest) -> str:
    """The table, in Markdown; planned models of one family share a row."""
    families: dict[tuple[str, str], list[ModelEntry]] = defaultdict(list)
    for entry in manifest.models.values():
        stem = (
            entry.id.removesuffix(f"-{entry.benchmark}") if entry.status == "planned" else entry.id
        )
        families[stem, entry.status].append(entry)
    head = [
        "model",
        "status",
        "what",
        "licence",
        *(f"{name}, 1 / 5-shot" for name in SETS.values()),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (stem, status), entries in families.items():
        first = entries[0]
        benchmarks = ", ".join(entry.benchmark or "" for entry in entries)
        name = f"`{stem}-*`" if status == "planned" else f"`{stem}`"
        what = first.summary if status != "planned" else f"to be trained on {benchmarks}"
        cells = [name, status, what, first.license, *(figures(first, data) for data in SETS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures(entry: ModelEntry, data: str) -> str:
    """Measured accuracy with one and five shots; a dash where nothing was measured."""
    found = {
        metric["shot"]: f"{metric['accuracy']:.1f}"
        for metric in entry.metrics
        if metric["kind"] == "measured" and metric["data"] == data
    }
    return f"{found[1]} / {found[5]}" if {1, 5} <= set(found) else "–"


def filled(text: str, made: str) -> str:
    """``text`` with the table between the markers."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise SystemExit(f"no {START} ... {END} in the text")
    return f"{before}{START}\n{made}\n{END}{after}"


def main() -> None:
    """Fill both files."""
    made = table(read_manifest())
    for path in FILES:
        text = filled(path.read_text(), made)
        write_atomically(path, lambda scratch, text=text: scratch.write_text(text))


if __name__ == "__main__":
    main()
