"""Numbers and paths as callers give them: taken where they mean one, else refused in one line."""

from __future__ import annotations

import numbers
import operator
import os
from typing import Any

from a2m2_zoo.errors import ArgumentError


def kind(value: Any) -> str:
    """What a value is, for a message: ``None``, ``a list``, ``an Episode``, ``a pandas DataFrame``.

    >>> kind(None), kind([]), kind(0.5)
    ('None', 'a list', 'the number 0.5')
    """
    if value is None:
        return "None"
    if isinstance(value, (bool, numbers.Number)):
        return f"the number {value!r}" if not isinstance(value, bool) else f"the value {value}"
    name, home = type(value).__name__, type(value).__module__.partition(".")[0]
    home = "" if home in ("builtins", "a2m2_zoo", "_io", "__main__") else f"{home} "
    return f"{'an' if (home or name)[0].lower() in 'aeiou' else 'a'} {home}{name}"


def whole(name: str, value: Any, *, least: int = 1) -> int | None:
    """An integer of at least ``least``, of Python or NumPy; None stays None.

    Raises:
        ArgumentError: It is none.

    >>> whole("top_k", 2)
    2
    """
    if value is None:
        return None
    try:
        found = None if _is_flag(value) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        raise ArgumentError(f"{name} is {value!r}; expected an integer of {least} or more")
    return found


def real(name: str, value: Any, expected: str, *, least: float, most: float) -> float | None:
    """A number from ``least`` to ``most``, of Python or NumPy; None stays None.

    Raises:
        ArgumentError: It is none; ``expected`` says what would be one.

    >>> real("reject_below", 0.5, "a probability, 0 to 1", least=0, most=1)
    0.5
    """
    if value is None:
        return None
    number = isinstance(value, numbers.Real) and not _is_flag(value)
    if not number or not least <= float(value) <= most:
        raise ArgumentError(f"{name} is {value!r}; expected {expected}")
    return float(value)


def path_text(name: str, value: Any, expected: str) -> str:
    """A path as text, from text, bytes or a path object.

    Raises:
        ArgumentError: It is none.
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise ArgumentError(f"{name} is {kind(value)}; expected {expected}")
    return os.fsdecode(value)


def _is_flag(value: Any) -> bool:
    """Whether it is a truth value, which Python takes for a number."""
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
