"""What every picture shares: its colours in the light and in the dark, short texts, and how it is written."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from a2m2_zoo._utils.files import check_file, write_atomically
from a2m2_zoo._utils.printable import printable
from a2m2_zoo.errors import ArgumentError, DependencyError, SaveError

_FORMATS = (".png", ".pdf", ".svg", ".jpg", ".webp")


@dataclass(frozen=True)
class Look:
    """The colours of a picture, as #rrggbb.

    Attributes:
        paper: The ground, that of the cards on the pages.
        ink: Words that matter.
        soft: Words beside them, and tick marks.
        grid: Lines and tracks behind what is drawn.
        rest: Bars of classes that are neither winner nor runner-up.
        win: The winner.
        runner: The runner-up.
    """

    paper: str
    ink: str
    soft: str
    grid: str
    rest: str
    win: str
    runner: str


LIGHT = Look("#ffffff", "#1d2229", "#56606d", "#e3e7ec", "#9aa3ae", "#0a7d5a", "#b85410")
DARK = Look("#1c2229", "#e8ebef", "#a3adba", "#333c47", "#7f8b99", "#35b98b", "#f28e3c")


def check_ready(path: Path) -> None:
    """Refuse early what would only fail after the work is done.

    Raises:
        DependencyError: matplotlib is not installed.
        ArgumentError: The picture's format is unknown.
        SaveError: The folder is missing, or there is something else than a file.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ArgumentError(f"the picture {path.name!r} should end in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise SaveError(
            f"the folder {str(path.parent)!r} for the picture does not exist; create it"
        )
    check_file(path)
    matplotlib_pyplot()


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure, whole or not at all, and close it.

    Raises:
        SaveError: The picture could not be written.
    """
    # No date and no version in the file: the same answer gives the same picture.
    facts = {"Software": None} if path.suffix.lower() == ".png" else None
    try:
        with warnings.catch_warnings():
            # Scripts that the font lacks are drawn as boxes; the answer itself is in the table.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            return write_atomically(path, lambda scratch: figure.savefig(scratch, metadata=facts))
    finally:
        matplotlib_pyplot().close(figure)


def matplotlib_pyplot() -> Any:
    """The plotting module, drawing to files only.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise DependencyError(
            "pictures need matplotlib, which is not installed: "
            'run `pip install "a2m2_zoo[pictures]"`'
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def fitting(text: str, width: int) -> str:
    r"""At most ``width`` characters of ``text``, as matplotlib takes them; those of double width count twice.

    >>> fitting("a long $name", 6), fitting("$5", 6), fitting("洗手洗手", 6)
    ('a lon…', '\\$5', '洗手…')
    """
    text = printable(text)
    ends = list(accumulate(2 if east_asian_width(c) in "WF" else 1 for c in text))
    cut = text
    if ends and ends[-1] > width:
        kept = sum(end <= max(width - 1, 1) for end in ends)
        cut = text[: max(kept, 1)].rstrip("_ ") + "…"
    return cut.replace("$", r"\$")  # which would switch matplotlib to mathematics
