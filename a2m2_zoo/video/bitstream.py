"""What the bits of a packet say about its picture, without decoding it.

Containers mark the packets that decoding can start from, and often they are wrong: without an index
every packet is marked, or none. The packets themselves know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Headers: TypeAlias = dict[tuple[str, int], bytes]
"""What a packet brings that holds for the pictures after it too, by kind and number."""


_GROUP_OR_PICTURE = re.compile(rb"\x00\x00\x01[\x00\xb8]")
_MATRIX = re.compile(rb"\x00\x00\x01\xb5[\x30-\x3f]")


@dataclass(frozen=True)
class Picture:
    """What one packet holds.

    Attributes:
        intra: The picture refers to none before it, and none shown after it does.
        shown: The packet gives a picture to show.
        between: The picture refers to a later one (a B picture).
        headers: What it brings along that stays in force.
        layer: Its temporal layer: pictures of a higher one may refer to it whatever it says.
        doubtful: It cannot be said how many pictures the decoder gives for it.
    """

    intra: bool
    shown: bool = True
    between: bool = False
    headers: Headers = field(default_factory=dict)
    layer: int = 0
    doubtful: bool = False


class Bits:
    """Numbers out of a string of bits.

    >>> bits = Bits(bytes([0b10100110]))
    >>> bits.take(1), bits.golomb(), bits.golomb()
    (1, 1, 2)
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next ``count`` bits.

        Raises:
            IndexError: If there are not so many.
        """
        self._left -= count
        if self._left < 0:
            raise IndexError(count)
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an unsigned number in Exp-Golomb coding."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


class Reader:
    """Reads packets of one codec by a function, with what the container keeps apart."""

    def __init__(self, read: Callable[[bytes], Picture], headers: Headers | None = None) -> None:
        self._read = read
        self.headers = headers or {}

    def __call__(self, data: bytes) -> Picture:
        """Describe a packet."""
        return self._read(data)


def read_mpeg4(data: bytes) -> Picture:
    """Describe a packet of MPEG-4 part 2."""
    headers: Headers = {}
    kind, pictures = -1, 0
    for code, section in _sections(data):
        if code == 0xB6:
            pictures += 1
            kind = section[4] >> 6 if pictures == 1 and len(section) > 4 else kind
        elif code != 0xB3 and not pictures:  # B3 is the time of day, new with every group.
            headers["section", code] = section
    return Picture(
        intra=kind == 0,
        shown=pictures > 0,
        between=kind == 2,
        headers=headers,
        # Two pictures in one packet, or the stand-in for a picture that repeats another.
        doubtful=pictures > 1 or (pictures == 1 and len(data) <= 8),
    )


def read_mpeg2(data: bytes) -> Picture:
    """Describe a packet of MPEG-1 or MPEG-2 video."""
    headers: Headers = {}
    at = data.find(b"\0\0\1\0")
    kind = data[at + 5] >> 3 & 7 if 0 <= at < len(data) - 5 else 0
    start = data.find(b"\0\0\1\xb3", 0, max(at, 0) or len(data))
    if start >= 0:
        end = _GROUP_OR_PICTURE.search(data, start)
        headers["sequence", 0] = data[start : end.start() if end else len(data)].rstrip(b"\0")
        headers["matrix", 0] = b""
    matrix = _MATRIX.search(data, max(at, 0))
    if matrix:
        headers["matrix", 0] = data[matrix.start() : matrix.start() + 270]
    return Picture(intra=kind == 1, shown=at >= 0, between=kind == 3, headers=headers)


def read_vp8(data: bytes) -> Picture:
    """Describe a packet of VP8, which stores pictures that are only referred to by themselves."""
    return Picture(intra=not data[0] & 1, shown=bool(data[0] & 0x10))


def read_vp9(data: bytes) -> Picture:
    """Describe a packet of VP9, which may hold several pictures of which one is shown."""
    last = data[-1]
    index = 2 + (1 + (last >> 3 & 3)) * (1 + (last & 7))
    several = last & 0xE0 == 0xC0 and len(data) > index and data[-index] == last
    bits = Bits(data[:4])
    if bits.take(2) != 2:
        return Picture(intra=False)
    if bits.take(1) + 2 * bits.take(1) == 3:
        bits.take(1)
    if bits.take(1):
        return Picture(intra=False)
    intra, shown = not bits.take(1), bool(bits.take(1))
    return Picture(intra=intra, shown=shown or several)


def read_av1(data: bytes) -> Picture:
    """Describe a packet of AV1."""
    headers: Headers = {}
    intra: bool | None = None
    at = 0
    while at < len(data):
        kind, extended, sized = data[at] >> 3 & 15, data[at] >> 2 & 1, data[at] >> 1 & 1
        at += 1 + extended
        end = len(data)
        if sized:
            size, at = _leb128(data, at)
            end = at + size
        if kind == 1:
            headers["sequence", 0] = data[at:end]
        elif kind in (3, 6) and intra is None:
            # Not one shown again, of kind "key", and shown at once: then nothing older is kept.
            intra = data[at] >> 4 == 0b0001
        at = end
    return Picture(intra=bool(intra), headers=headers)


def read_jpeg(data: bytes) -> Picture:
    """Describe a JPEG picture, whose tables may have come with an earlier one."""
    headers: Headers = {}
    at = data.find(b"\xff\xd8") + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            break
        if marker in (0xC4, 0xDB):
            key = ("tables", marker)
            headers[key] = headers.get(key, b"") + data[at : at + 2 + size]
        at += 2 + size
    return Picture(intra=True, headers=headers)


def _sections(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the parts between start codes: the code, and the part with it."""
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        after = data.find(b"\0\0\1", at + 4)
        yield data[at + 3], data[at : after if after >= 0 else len(data)].rstrip(b"\0")
        at = after


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, seven bits a byte, and the place after it."""
    value, shift = 0, 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at
