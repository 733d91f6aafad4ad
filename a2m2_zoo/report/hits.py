"""Places that were found in an archive as one HTML file: pictures, times, classes; no script, no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.report.page import render

if TYPE_CHECKING:
    from a2m2_zoo.archive.hits import Hit

_CSS = """
.hits { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem;
  list-style: none; padding: 0; margin: 1rem 0 3rem; }
.hit { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  break-inside: avoid; font-size: .9rem; }
.hit img, .hit .blank { display: block; width: 100%; height: auto; aspect-ratio: 4 / 3;
  object-fit: contain; background: var(--line); }
.hit div { padding: .5rem .7rem .7rem; }
"""


def write_hits(path: str | os.PathLike[str], hits: Sequence[Hit], *, title: str) -> Path:
    """Write places as one HTML file that needs nothing beside it.

    Args:
        path: The file to write; its folder must exist.
        hits: In the order they are shown.
        title: Of the page.

    Returns:
        The path written.

    Raises:
        SaveError: It could not be written; a page that was there before is untouched.
    """
    text = hits_html(hits, title=title)
    return write_atomically(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def hits_html(hits: Sequence[Hit], *, title: str) -> str:
    """The text of the page; the same hits give the same text."""
    rows = [
        {
            "hit": hit,
            "time": f"{hit.start:.1f} to {hit.end:.1f} s" if hit.end > hit.start else "",
        }
        for hit in hits
    ]
    return render(
        "hits.html",
        title,
        more_css=_CSS,
        rows=rows,
        labels=sorted({hit.label for hit in hits if hit.label}),
        videos=len({hit.key for hit in hits}),
    )
