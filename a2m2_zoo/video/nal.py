"""What a packet of H.264 or HEVC says about its picture, without decoding it."""

from __future__ import annotations

from collections.abc import Iterator

from a2m2_zoo.video.bitstream import Bits, Headers, Picture

_H264_SLICES = (1, 2, 5)
_H264_INTRA = (2, 4, 7, 9)  # slice types I and SI
_H264_BETWEEN = (1, 6)
_RECOVERY, _ORIENTATION = 6, 47  # kinds of supplemental information
_HEVC_RESTARTS = range(16, 22)  # BLA, IDR and CRA pictures


class H264:
    """Reads packets of H.264, with start codes or with lengths, as the extradata says."""

    def __init__(self, extradata: bytes) -> None:
        self._length = 0
        self.headers: Headers = {}
        if len(extradata) > 6 and extradata[0] == 1:
            self._length = (extradata[4] & 3) + 1
            sets, at = _listed(extradata, 6, extradata[5] & 31)
            sets += _listed(extradata, at + 1, extradata[at])[0] if at < len(extradata) else []
        else:
            sets = list(_units(extradata, 0))
        for unit in sets:
            self._note(unit, self.headers)

    def __call__(self, data: bytes) -> Picture:
        """Describe a packet."""
        headers: Headers = {}
        first, kinds, recovers = 0, [], False
        for unit in _units(data, self._length):
            kind = unit[0] & 31
            if kind in _H264_SLICES:
                first = first or kind
                kinds.append(_slice_kind(unit))
            elif kind == 6:
                recovers = recovers or _recovers(unit)
            else:
                self._note(unit, headers)
        # A picture that only ends a gradual refresh, or from which others are merely like the right ones,
        # is no place to begin: the frames would be others than those of a full decode.
        intra = first == 5 or (recovers and all(kind in _H264_INTRA for kind in kinds))
        return Picture(
            intra=intra and first > 0,
            shown=first > 0,
            between=any(kind in _H264_BETWEEN for kind in kinds),
            headers=headers,
        )

    @staticmethod
    def _note(unit: bytes, headers: Headers) -> None:
        kind = unit[0] & 31
        if kind == 7:
            headers["sequence", Bits(_plain(unit[4:24])).golomb()] = unit
        elif kind == 8:
            headers["picture", Bits(_plain(unit[1:24])).golomb()] = unit


class HEVC:
    """Reads packets of HEVC, with start codes or with lengths, as the extradata says."""

    def __init__(self, extradata: bytes) -> None:
        self._length = 0
        self.headers: Headers = {}
        sets: list[bytes] = []
        if len(extradata) > 23 and extradata[:3] > b"\0\0\1":
            self._length = (extradata[21] & 3) + 1
            at = 23
            for _ in range(extradata[22]):
                if at + 3 > len(extradata):
                    break
                count = int.from_bytes(extradata[at + 1 : at + 3], "big")
                more, at = _listed(extradata, at + 3, count)
                sets += more
        else:
            sets = list(_units(extradata, 0))
        for unit in sets:
            self._note(unit, self.headers)

    def __call__(self, data: bytes) -> Picture:
        """Describe a packet."""
        headers: Headers = {}
        first, layer, drops = -1, 0, False
        for unit in _units(data, self._length):
            if len(unit) < 3:
                continue
            kind, beside = unit[0] >> 1 & 63, (unit[0] & 1) << 5 | unit[1] >> 3
            if beside:  # Another view, or a transparency: not what is shown.
                continue
            if kind < 32:
                # After the bit that marks the first slice: pictures held back are not to be shown any more.
                drops = drops or (kind in _HEVC_RESTARTS and bool(unit[2] & 0x40))
                first = kind if first < 0 else first
                layer = unit[1] & 7
            else:
                self._note(unit, headers)
        return Picture(
            intra=first in _HEVC_RESTARTS,
            shown=first >= 0,
            headers=headers,
            layer=layer,
            doubtful=drops,
        )

    @staticmethod
    def _note(unit: bytes, headers: Headers) -> None:
        kind = unit[0] >> 1 & 63
        if kind == 32:
            headers["video", unit[2] >> 4] = unit
        elif kind == 33:  # Its number lies deep inside; more than one is hardly ever used.
            headers["sequence", 0] = unit
        elif kind == 34:
            headers["picture", Bits(_plain(unit[2:24])).golomb()] = unit
        elif kind == 39 and any(what == _ORIENTATION for what, _ in _information(unit[2:])):
            headers["orientation", 0] = unit


def _slice_kind(unit: bytes) -> int:
    """Return the type of an H.264 slice, the second number of its header."""
    if unit[1] & 0x80:  # The first number is 0, one bit: the usual slice, and there are many.
        rest = (unit[1] & 0x7F) << 8 | unit[2]
        zeros = 15 - rest.bit_length()
        if zeros < 4:
            return (rest >> 14 - 2 * zeros) - 1
    bits = Bits(_plain(unit[1:24]))
    bits.golomb()
    return bits.golomb()


def _units(data: bytes, length: int) -> Iterator[bytes]:
    """Yield the units of a packet, each with its header; ``length`` 0 means start codes.

    Raises:
        IndexError: If lengths and data do not fit.
    """
    at = 0
    if length:
        while at < len(data):
            size = int.from_bytes(data[at : at + length], "big")
            at += length
            if at + size > len(data):
                raise IndexError(at)
            if size:
                yield data[at : at + size]
            at += size
        return
    at = data.find(b"\0\0\1")
    while at >= 0:
        after = data.find(b"\0\0\1", at + 3)
        unit = data[at + 3 : after if after >= 0 else len(data)].rstrip(b"\0")
        if unit:
            yield unit
        at = after


def _listed(data: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """Return ``count`` units that follow each other with lengths of two bytes, and where they end."""
    found = []
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        at += 2 + size
        if at > len(data):
            break
        if size > 4:
            found.append(data[at - size : at].rstrip(b"\0"))
    return found, at


def _plain(unit: bytes) -> bytes:
    """Return the content without the bytes that keep start codes from arising in it."""
    return unit.replace(b"\0\0\3", b"\0\0")


def _information(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each piece of supplemental information."""
    data, at = _plain(content), 0
    while at + 2 < len(data):
        numbers = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 255:
                value, at = value + 255, at + 1
            value, at = value + (data[at] if at < len(data) else 0), at + 1
            numbers.append(value)
        kind, size = numbers
        yield kind, data[at : at + size]
        at += size


def _recovers(unit: bytes) -> bool:
    """Tell whether every picture shown from here on can be had exactly by beginning here."""
    for kind, content in _information(unit[1:]):
        if kind == _RECOVERY and content:
            bits = Bits(content)
            return bits.golomb() == 0 and bits.take(1) == 1
    return False
