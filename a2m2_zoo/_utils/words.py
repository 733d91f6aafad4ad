"""Words of messages that depend on a number."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """How many there are of something.

    >>> counted(1, "class"), counted(2, "class"), counted(0, "clip"), counted(1200, "window")
    ('1 class', '2 classes', '0 clips', '1,200 windows')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
