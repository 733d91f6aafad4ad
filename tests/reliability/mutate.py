"""Seeded damage to files: flipped bytes, cuts, splices, and hostile numbers in their JSON."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

_HOSTILE = (
    b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00" * 64, b"\r\n",
    b"\x1b[2J", b"../", b"%s%n", b"{", b"[" * 300, b"\xf0\x9f\x92\xa5", b"\xed\xa0\x80",
)  # fmt: skip
# Texts that take the place of a value; not all of them are JSON.
_VALUES = (
    "null", "true", "-1", "0", "1", "1e308", "-1e308", "1e-320", "NaN", "Infinity", "-Infinity", "1e999",
    "1" + "0" * 400, str(2**31), str(2**63), "1000000000", "0.5", '""', '"\\u0000"', '"\\ud800"',
    '"\\u001b[2J"', '"../../x"', '"' + "a" * 70_000 + '"', "[]", "{}", "[[[[]]]]", "[" * 5000 + "]" * 5000,
    '{"a":' * 3000 + "1" + "}" * 3000, "[1,2,3]", '["a",1,null]', '"1"', '"__class__"', '"float8"',
)  # fmt: skip


def damaged(data: bytes, dice: random.Random, other: bytes = b"") -> bytes:
    """``data`` after one to four random injuries; ``other`` is what is spliced in."""
    for _ in range(dice.randint(1, 4)):
        data = dice.choice(_INJURIES)(data, dice, other or data)
    return data


def _flip(data: bytes, dice: random.Random, _: bytes) -> bytes:
    out = bytearray(data)
    for _number in range(dice.choice([1, 1, 8, 64])):
        if out:
            out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def _overwrite(data: bytes, dice: random.Random, _: bytes) -> bytes:
    at, piece = dice.randrange(len(data) + 1), dice.choice(_HOSTILE)
    return data[:at] + piece + data[at + len(piece) :]


def _early(data: bytes, dice: random.Random, _: bytes) -> bytes:
    """Headers lie at the start of most files."""
    at, piece = dice.randrange(min(len(data), 400) + 1), dice.choice(_HOSTILE)
    return data[:at] + piece + data[at + len(piece) :]


def _cut(data: bytes, dice: random.Random, _: bytes) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def _drop(data: bytes, dice: random.Random, _: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + data[at + dice.choice([1, 4, 100, 4096]) :]


def _insert(data: bytes, dice: random.Random, _: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.choice([dice.choice(_HOSTILE), dice.randbytes(200)]) + data[at:]


def _splice(data: bytes, dice: random.Random, other: bytes) -> bytes:
    return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]


def _repeat(data: bytes, dice: random.Random, _: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + data[at : at + 2000] * 3 + data[at:]


_INJURIES: tuple[Callable[[bytes, random.Random, bytes], bytes], ...] = (
    _flip, _overwrite, _early, _cut, _drop, _insert, _splice, _repeat,
)  # fmt: skip


def hostile_json(text: str, dice: random.Random) -> str:
    """JSON in which one to three values or names have become something else; perhaps no JSON any more."""
    value = json.loads(text)
    marks: dict[str, str] = {}
    for number in range(dice.randint(1, 3)):
        places = list(_places(value))
        holder, key = dice.choice(places) if places else ({}, None)
        kind = dice.randrange(6)
        if key is None:
            break
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[dice.choice(["", "x", "a2m2_zoo", key + " "])] = holder.pop(key)
        elif kind == 2 and isinstance(holder[key], (int, float)):
            holder[key] = holder[key] * dice.choice([-1, 0, 10, 1000, 1e9, 1e300, 0.001])
        else:
            mark = f"@{number}@"
            marks[json.dumps(mark)] = dice.choice(_VALUES)
            holder[key] = mark
    found = json.dumps(value)
    for mark, hostile in marks.items():
        found = found.replace(mark, hostile)
    return found


def _places(value: Any) -> Any:
    """Every (container, key) of a tree."""
    items: Any = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def hostile_safetensors(data: bytes, dice: random.Random) -> bytes:
    """A safetensors file whose header, or the record inside its header, has been changed."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = dice.randrange(5)
    if kind <= 2:
        own = header["__metadata__"]["a2m2_zoo"]
        header["__metadata__"]["a2m2_zoo"] = hostile_json(own, dice)
        text = json.dumps(header)
    elif kind == 3:
        text = hostile_json(json.dumps(header), dice)
    else:  # Numbers in a tensor that are none.
        at = dice.randrange(0, max(1, len(body) - 4), 4)
        odd = struct.pack("<f", dice.choice([float("nan"), float("inf"), 3e38, 1e-45]))
        return data[: 8 + length] + body[:at] + odd + body[at + 4 :]
    packed = text.encode("utf-8", "surrogatepass")
    size = (
        len(packed) if dice.random() < 0.9 else dice.choice([0, 7, 2**40, 2**63, len(packed) - 1])
    )
    return struct.pack("<Q", size) + packed + body
