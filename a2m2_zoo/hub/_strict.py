"""Values from outside, held to the structs that describe them; each refusal names the key."""

from __future__ import annotations

import contextlib
import re
from typing import Any, TypeVar

import msgspec

from a2m2_zoo.errors import CheckpointError

_T = TypeVar("_T")
_KINDS = {"object": "an object", "array": "a list"}


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values under fixed keys; every text is one printable line."""

    def __post_init__(self) -> None:
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if isinstance(value, str) and not (value.strip() and value.isprintable()):
                raise CheckpointError(f"{key} is {value[:40]!r}; expected one line of text")


def strict(raw: Any, kind: type[_T], name: str) -> _T:
    """``raw``, plain JSON values, as ``kind``.

    Args:
        raw: The values.
        kind: A struct. What its fields' descriptions say is what a refusal says was expected.
        name: What the values are called.

    Raises:
        CheckpointError: The first key that is unknown, missing or wrong, by name.
    """
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise CheckpointError(_said(error, raw, kind, name)) from None
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can name
        wrong = str(error.object)[:40]
        raise CheckpointError(f"{name} has {wrong!r}; expected text of whole characters") from None


def _said(error: msgspec.ValidationError, raw: Any, kind: type, at: str) -> str:
    found = re.fullmatch(r"(.*?)(?: - at `\$([^`]*)`)?", str(error), re.DOTALL)
    said, steps = (found[1], found[2] or "") if found else (str(error), "")
    key = ""
    with contextlib.suppress(LookupError, TypeError):  # an unknown key may read like a place
        for key, index in re.findall(r"\.(\w+)|\[(\d+)\]", steps):
            raw = raw[key or int(index)]
            name = raw.get("id") if isinstance(raw, dict) else None
            at += f".{key}" if key else f"[{name[:40] if isinstance(name, str) else index}]"
    if error.__cause__ is not None:  # a rule of the struct's own
        return f"{at}.{error.__cause__}"
    if said.startswith("Object"):
        unknown = "unknown" in said.partition("`")[0]
        named = said.partition("`")[2][:-1][:40]
        return f"{at}.{named} is " + ("not a known key; take it out" if unknown else "missing")
    value = type(raw).__name__ if isinstance(raw, (dict, list)) else repr(raw)[:60]
    word = [*said.split("`"), ""][1]
    return f"{at} is {value}; expected {_described(kind).get(key) or _KINDS.get(word, word)}"


def _described(kind: type) -> dict[str, str]:
    """What each key holds, as the fields describe it; keys of one name hold the same."""
    found: dict[str, str] = {}
    choices: dict[str, list[str]] = {}
    for struct in msgspec.json.schema_components([kind])[1].values():
        for key, value in struct["properties"].items():
            for part in (value, *value.get("anyOf", ())):
                choices.setdefault(key, []).extend(map(str, part.get("enum", ())))
                if "description" in part:
                    found[key] = part["description"]
    return {**{key: f"one of {', '.join(of)}" for key, of in choices.items() if of}, **found}
