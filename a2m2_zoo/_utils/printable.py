"""Text from files, made safe to show on a terminal."""

from __future__ import annotations

import re

# Characters that reorder or hide what stands beside them.
_UNSEEN = frozenset(
    [*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0x061C, 0xFEFF]
)

_JOINERS = frozenset([0x200C, 0x200D])  # Persian needs the one, families of emoji the other
_BEYOND_LATIN = 0x0590


def printable(text: str) -> str:
    r"""Return ``text`` with everything that would steer a terminal written as an escape.

    Control characters (newlines too), marks that reorder text, and lone surrogates, as Python writes them.
    Joiners stay within the scripts, and the pictures, that are written with them.

    >>> printable("wave\x1b[2J"), printable("Händewaschen 洗手"), printable("wa\u200dve")
    ('wave\\x1b[2J', 'Händewaschen 洗手', 'wa\\u200dve')
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text, "\0" + text))


def _shown(character: str, before: str) -> str:
    code = ord(character)
    if code in _JOINERS and ord(before) >= _BEYOND_LATIN and not _surrogate(ord(before)):
        return character
    if character.isprintable() or (code > 0xA0 and code not in _UNSEEN and not _surrogate(code)):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _surrogate(code: int) -> bool:
    return 0xD800 <= code < 0xE000


def escaped_json(text: str) -> str:
    r"""JSON with what ``printable`` escapes as JSON's own escapes, so that its value is the same.

    >>> escaped_json('"Händewaschen \x9b\udcff"')
    '"Händewaschen \\u009b\\udcff"'
    """
    # All of them stand inside strings: outside of these JSON has spaces and line ends only.
    return "".join(c if c in "\n\t" or printable(c) == c else f"\\u{ord(c):04x}" for c in text)


def without_secret(text: str, most: int) -> str:
    """One printable line without tokens, and of addresses without queries, names and passwords.

    Args:
        text: Whatever a client of a server said.
        most: Characters to keep.

    >>> without_secret("403, url='https://me:word@example.org/a?X-Amz-Signature=1'", 80)
    "403, url='https://***@example.org/a?***'"
    """
    text = re.sub(r"(Bearer |hf_|\?)[^\s']+", r"\1***", text)
    text = re.sub(r"(://)[^\s/'@]*@", r"\1***@", text)
    return printable(" ".join("".join(c if c.isprintable() else " " for c in text).split())[:most])
