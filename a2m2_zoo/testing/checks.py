"""A statement that must hold, also where Python leaves ``assert`` out."""

from __future__ import annotations


def holds(true: bool, otherwise: str) -> None:
    """Raise ``AssertionError`` with one line unless it is true."""
    if not true:
        raise AssertionError(otherwise)
