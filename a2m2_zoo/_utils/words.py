"""Words of messages that depend on a number."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """How many there are of something.

    >>> counted(1, "class"), counted(2, "class"), counted(0, "clip"), counted(1200, "window")
    ('1 class', '2 classes', '0 clips', '1,200 windows')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def tenths(seconds: float) -> int:
    """A time in tenths of a second, as people are told it; a half is rounded up, whatever stands behind it.

    >>> tenths(7.25), tenths(3.7499999), tenths(3.7500001)
    (73, 38, 38)
    """
    return int(10 * round(seconds, 4) + 0.5)
