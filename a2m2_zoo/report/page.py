"""The comparison as one HTML file: it asks nothing of any network, runs no script and prints well.

Every chart says in words how to read it, and whatever was never trained is called so wherever it
appears.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.templates import templates
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.results import Comparison
from a2m2_zoo.report import charts, heat, markup, sections
from a2m2_zoo.report.style import CSS

if TYPE_CHECKING:
    from jinja2 import Environment

_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Explained:
    """A query that was answered, with the picture that says why.

    Attributes:
        picture: A PNG, JPEG or WebP file; ``report.explain`` draws it.
        caption: What the query is, one line.
        truth: Its true class.
        answer: The class that was answered.
        probabilities: (class, probability), the most probable first.
        facts: (what, value) worth printing beside it.
        dark: The picture for readers whose pages are dark; None shows all the same one.

    Raises:
        ArgumentError: A picture is none of those files.
    """

    picture: bytes
    caption: str
    truth: str
    answer: str
    probabilities: tuple[tuple[str, float], ...]
    facts: tuple[tuple[str, str], ...] = ()
    dark: bytes | None = None

    def __post_init__(self) -> None:
        for picture in (self.picture, self.dark):
            if picture is not None and not _kind(picture):
                raise ArgumentError(
                    f"the picture of {self.caption!r} starts with {picture[:4]!r}; "
                    "expected the bytes of a PNG, JPEG or WebP file"
                )

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.answer == self.truth


def write_page(
    path: str | os.PathLike[str], comparison: Comparison, *, explained: Sequence[Explained] = ()
) -> Path:
    """Write ``comparison`` as one HTML file that needs nothing beside it.

    Args:
        path: The file to write; its folder must exist.
        comparison: What was measured.
        explained: Answered queries to show; see ``report.examples.explained_episodes``.

    Returns:
        The path written.

    Raises:
        SaveError: It could not be written; a page that was there before is untouched.
    """
    page = page_html(comparison, explained=explained)
    return write_atomically(path, lambda scratch: scratch.write_text(page, encoding="utf-8"))


def page_html(comparison: Comparison, *, explained: Sequence[Explained] = ()) -> str:
    """The text of the page; the same comparison gives the same text."""
    receipt = json.dumps(
        dict(comparison.receipt), indent=1, ensure_ascii=False, allow_nan=False, default=str
    )
    return render(
        "page.html",
        comparison.title,
        comparison=comparison,
        explained=explained,
        found=list(sections.findings(comparison)),
        shots=[shot for shot in comparison.shots if comparison.of_shot(shot)],
        receipt=receipt,
    )


def render(template: str, title: str, *, more_css: str = "", **values: Any) -> str:
    """A page that stands alone: its style sheet and pictures are in it, and nothing else may be loaded.

    Args:
        template: Name of one that extends ``base.html``.
        title: Of the page.
        more_css: Rules behind those that all pages have.
        values: What the template shows.
    """
    css = CSS + more_css
    style = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return _pages().get_template(template).render(title=title, css=css, style=style, **values)


def _kind(picture: bytes) -> str:
    """``"png"``, ``"jpeg"`` or ``"webp"``; empty for anything else."""
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return "webp"
    return next((k for magic, k in _KINDS.items() if picture.startswith(magic)), "")


def _address(picture: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/{_kind(picture)};base64,{base64.b64encode(picture).decode()}"


@cache
def _pages() -> Environment:
    """The templates; whatever is no markup of ours is cleaned and escaped."""
    from markupsafe import Markup

    found = templates(Path(__file__).with_name("templates"))
    found.finalize = lambda value: value if isinstance(value, Markup) else markup.clean(value)
    found.globals |= {"charts": charts, "heat": heat, "untrained": "parameters never trained"}
    for pick in (
        sections.best_baseline, sections.of_method, sections.differences_axis, sections.scatter,
        sections.by_class, sections.mistakes,
    ):  # fmt: skip
        found.globals[pick.__name__] = pick
    for write in (markup.signed, markup.span, markup.chance_of, markup.figure):
        found.filters[write.__name__] = write
    found.filters["address"] = _address
    found.filters["name"] = lambda value, width=60: Markup(markup.name(value, width))  # noqa: S704
    return found
