"""Numbers and paths as callers give them: taken where they mean one, else refused in one line."""

from __future__ import annotations

import numbers
import operator
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from a2m2_zoo.errors import ArgumentError

#: Schemes of addresses that are read where a path may stand, see ``_utils.remote``.
READ = ("s3", "gs", "hf", "https", "http")
_ADDRESSES = "s3://, gs://, hf:// or https:// (watch, spot: rtsp://, udp://)"


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


def whole(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int | None:
    """An integer from ``least`` to ``most``, of Python or NumPy; None stays None.

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
    if found is None or found < least or (most is not None and found > most):
        expected = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ArgumentError(f"{name} is {value!r}; expected an integer {expected}")
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
    if not number or not least <= value <= most:  # compared as it is: floats have a largest
        raise ArgumentError(f"{name} is {value!r}; expected {expected}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """A truth value, of Python or NumPy.

    Raises:
        ArgumentError: It is none: a text such as "no" would count as true.

    >>> flag("plans", True)
    True
    """
    if not _is_flag(value):
        raise ArgumentError(f"{name} is {kind(value)}; expected True or False")
    return bool(value)


def check_options(asked: str, given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Refuse options by names that there are not, as Python does where they are listed.

    Args:
        asked: What was called.
        given: The options.
        allowed: Their names.

    Raises:
        TypeError: One is not among them.
    """
    names = sorted(allowed)
    for name in given:
        if name not in names:
            raise TypeError(f"{asked} has no option {name!r}; it has {', '.join(names)}")


def path_text(name: str, value: Any, expected: str) -> str:
    """A path as text, from text, bytes or a path object.

    Raises:
        ArgumentError: It is none.
    """
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise ArgumentError(f"{name} is {kind(value)}; expected {expected}")
    if is_content(value):
        raise ArgumentError(f"{name} is {len(value)} bytes that are no path; expected {expected}")
    text = os.fsdecode(value)
    if not text:
        raise ArgumentError(f"{name} is an empty text; expected {expected}")
    return text


def is_content(value: Any) -> TypeGuard[bytes]:
    """Whether it is bytes that somebody read from a file, not those of a file's name."""
    return isinstance(value, bytes) and (b"\0" in value or len(value) > 4096)


def remote(text: str) -> str | None:
    """What to do about an address of a kind that is not read; None for what is none.

    >>> remote("ftp://example.org/a.mp4")
    'such addresses are not read: give a path, s3://, gs://, hf:// or https:// (watch, spot: rtsp://, udp://)'
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)
    if scheme is None or scheme[1].lower() in READ:
        return None
    if scheme[1].lower() == "file":
        return "such addresses are not read: give the path without file://"
    return f"such addresses are not read: give a path, {_ADDRESSES}"


def _is_flag(value: Any) -> bool:
    """Whether it is a truth value, which Python takes for a number."""
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
