"""From which packets of a stream decoding may begin, so that it gives what a full decode gives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from a2m2_zoo.video import bitstream as bits
from a2m2_zoo.video.bitstream import Headers, Picture
from a2m2_zoo.video.nal import H264, HEVC

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


class _Reader(Protocol):
    headers: Headers

    def __call__(self, data: bytes) -> Picture: ...


# Every picture by itself, and the decoder keeps nothing from one to the next.
_ALONE = frozenset(
    {
        "dnxhd",
        "dvvideo",
        "ffvhuff",
        "huffyuv",
        "jpeg2000",
        "magicyuv",
        "png",
        "prores",
        "r210",
        "rawvideo",
    }
    | {"utvideo", "v210", "v308", "v408", "v410"}
)
# An intra picture replaces all that came before it, and the decoder says of what kind a picture is. Where
# one is, the container has to say, and what it says is checked when the first picture is there.
_FLAGGED = frozenset(
    {
        "flv1",
        "h263",
        "h263i",
        "h263p",
        "msmpeg4v1",
        "msmpeg4v2",
        "msmpeg4v3",
        "rv30",
        "rv40",
        "theora",
    }
    | {"vc1", "vp6", "vp6a", "vp6f", "wmv1", "wmv2", "wmv3"}
)
_FUNCTIONS: dict[str, Callable[[bytes], Picture]] = {
    "av1": bits.read_av1,
    "mjpeg": bits.read_jpeg,
    "mpeg1video": bits.read_mpeg2,
    "mpeg2video": bits.read_mpeg2,
    "mpeg4": bits.read_mpeg4,
    "vp8": bits.read_vp8,
    "vp9": bits.read_vp9,
}
# What decoding a packet changes beyond its own picture.
_CHANGES = (
    "palette",
    "new_extradata",
    "param_change",
    "display_matrix",
    "frame_cropping",
)


class Restarts:
    """Looks at the packets of a stream one after the other.

    Attributes:
        skippable: Packets may be left out at all.
        flagged: The container's word is all there is to go by.
        between: Whether there are B pictures; None where the packets do not tell.
        layered: There are temporal layers.
        certain: Each packet that is shown gives one picture.
    """

    def __init__(self, stream: VideoStream) -> None:
        codec = stream.codec_context.codec.canonical_name
        extradata = stream.codec_context.extradata or b""
        self.flagged = codec in _FLAGGED
        self._alone = codec in _ALONE
        self._read: _Reader | None = None
        if codec in _FUNCTIONS:
            read = _FUNCTIONS[codec]
            # AV1 puts four bytes of its own before what a packet would hold.
            ahead = extradata[4:] if codec == "av1" else extradata
            self._read = bits.Reader(read, _described(read, ahead).headers)
        elif codec in ("h264", "hevc"):
            self._read = _opened(H264 if codec == "h264" else HEVC, extradata)
        self.skippable = self.flagged or self._alone or self._read is not None
        tells = codec in ("h264", "mpeg4", "mpeg1video", "mpeg2video") or self._alone
        self.between: bool | None = False if tells else None
        self.layered = False
        self.certain = True
        self._layers: set[int] = set()
        self._begun = False
        self._apart: Headers = dict(self._read.headers) if self._read else {}
        self._now: Headers = dict(self._apart)

    def see(self, packet: Packet[VideoStream]) -> tuple[bool, bool]:
        """Return whether decoding may begin with a packet, and whether it gives a picture to show."""
        with suppress(IndexError):  # A kind that this PyAV has no name for.
            if any(data.data_type in _CHANGES for data in packet.iter_sidedata()):
                self.skippable = False
        if self._read is None:
            return self._alone or packet.is_keyframe, True
        picture = _described(self._read, bytes(packet))
        self._layers.add(picture.layer)
        self.layered = len(self._layers) > 1
        if self.between is not None:
            self.between = self.between or picture.between
        if picture.doubtful:
            self.skippable = self.certain = False
        if not picture.headers and not picture.intra:
            return False, picture.shown
        # Where the size or the like changes, decoders drop or bring forth pictures they have held back.
        if self._begun and any(
            _sizes(key) and self._now.get(key, item) != item
            for key, item in picture.headers.items()
        ):
            self.skippable = False
        self._begun = True
        # Beginning here, the decoder knows what the container keeps apart and what comes with the packet.
        # That has to be all that holds by now.
        self._now.update(picture.headers)
        known = {**self._apart, **picture.headers} if picture.intra else {}
        begins = picture.intra and all(known.get(key) == item for key, item in self._now.items())
        return begins, picture.shown


def _sizes(key: tuple[str, int]) -> bool:
    """Tell whether headers of a kind hold for the whole sequence of pictures."""
    return key[0] == "sequence" or (key[0] == "section" and 0x20 <= key[1] < 0x30)


def _described(read: Callable[[bytes], Picture], data: bytes) -> Picture:
    """Describe a packet; one that cannot be read is no place to begin, and is left to the decoder."""
    try:
        return read(data)
    except IndexError:
        return Picture(intra=False)


def _opened(kind: type[H264] | type[HEVC], extradata: bytes) -> _Reader | None:
    try:
        return kind(extradata)
    except IndexError:
        return None
