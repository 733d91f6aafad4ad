"""Data as text in a page: escaped, bounded and unable to reorder what stands beside it."""

from __future__ import annotations

import re

from markupsafe import escape

# Controls, the direction overrides that let one name reorder its neighbours, and halves of characters
# that a file name in an unknown encoding leaves behind and that UTF-8 cannot hold.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def clean(value: object) -> str:
    r"""``value`` as text without characters that have no place in a page.

    >>> clean("a\x00b")
    'a�b'
    """
    return _UNFIT.sub("\ufffd", str(value))


def esc(value: object) -> str:
    """``value`` as text that is safe in an element and in a quoted attribute.

    >>> esc('<b a="1">')
    '&lt;b a=&#34;1&#34;&gt;'
    """
    return str(escape(clean(value)))


def short(value: object, width: int) -> str:
    """At most ``width`` characters of ``value``, not yet escaped.

    >>> short("a long name", 6)
    'a lon…'
    """
    text = clean(value)
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def name(value: object, width: int = 60) -> str:
    """A name from the data as an element: its direction is its own, the whole of it on hover."""
    text = clean(value)
    title = f' title="{esc(text)}"' if len(text) > width else ""
    return f"<bdi{title}>{esc(short(text, width))}</bdi>"


def signed(value: float, digits: int = 1) -> str:
    """A difference with its sign; a minus is as wide as a plus.

    >>> signed(-3.14), signed(0.04), signed(2)
    ('−3.1', '0.0', '+2.0')
    """
    rounded = round(value, digits)
    if rounded == 0:
        return f"{0:.{digits}f}"
    return f"{rounded:+.{digits}f}".replace("-", "−")


def figure(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none.

    >>> figure(3.14159), figure(None)
    ('3.14', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def span(value: float) -> str:
    """A time in milliseconds with about three digits.

    >>> span(0.01234), span(3.456), span(1234.5)
    ('0.012', '3.46', '1234')
    """
    if value < 1:
        return f"{value:.3f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def chance_of(p_value: float) -> str:
    """A p-value as it is printed.

    >>> chance_of(1e-9), chance_of(0.0312)
    ('<0.001', '0.031')
    """
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
