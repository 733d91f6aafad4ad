"""Odd videos for the tests: every kind of lie that a container can tell, written with PyAV and by hand."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from video_maker import _same_priority, picture

Packets: TypeAlias = list[av.Packet]
Edit: TypeAlias = Callable[[Packets], Iterable[av.Packet]]
RATE = 25


@dataclass(frozen=True)
class Part:
    """A stretch of frames that is encoded by itself."""

    count: int = 30
    size: tuple[int, int] = (96, 64)
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 6
    fields: dict[str, Any] = field(default_factory=dict)


def write(
    path: Path,
    codec: str = "libx264",
    parts: Sequence[Part] = (Part(),),
    *,
    edit: Edit = list,
    container: dict[str, str] | None = None,
    rate: int = RATE,
    sound: float = 0.0,
    form: str | None = None,
    begin: int = 0,
) -> Path:
    """Encode the parts one after the other, let ``edit`` change the packets, and write them.

    Args:
        path: The file.
        codec: The encoder of all parts.
        parts: The first has its headers in the container if that wants them, the others in the packets.
        edit: Gets the packets with times in frames.
        container: Options of the muxer.
        rate: Frames a second.
        sound: Seconds of silence beside.
        form: The muxer, where the suffix does not say.
        begin: Time of the first frame, in frames.
    """
    options = container or {}
    if edit.__qualname__.startswith(
        "timed"
    ):  # Decoding times that have nothing to do with the others.
        options = {"avoid_negative_ts": "disabled"}
    with _same_priority(), av.open(str(path), "w", format=form, options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        _set_up(stream, stream.codec_context, parts[0], rate)
        packets = encode(stream.codec_context, parts[0], 0)
        first = parts[0].count
        for part in parts[1:]:
            context = av.CodecContext.create(codec, "w")
            _set_up(context, context, part, rate)
            packets += encode(context, part, first)
            first += part.count
        track = out.add_stream("aac", rate=44_100) if sound else None
        for packet in edit(packets):
            packet.stream = stream
            packet.pts = None if packet.pts is None else packet.pts + begin
            packet.dts = None if packet.dts is None else packet.dts + begin
            out.mux(packet)
        for start in range(0, int(sound * 44_100), 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            silence.sample_rate, silence.pts = 44_100, start + begin * 44_100 // rate
            out.mux(track.encode(silence))
        if track is not None:
            out.mux(track.encode())
    return path


def write_streams(path: Path, *videos: tuple[str, Part, int]) -> Path:
    """Write several video streams: encoder, frames and disposition of each. They start with number 100 k."""
    with av.open(str(path), "w") as out:
        streams = []
        for codec, part, disposition in videos:
            stream = out.add_stream(codec, rate=RATE)
            _set_up(stream, stream.codec_context, part, RATE)
            stream.disposition = disposition
            streams.append(stream)
        for number, (_, part, _) in enumerate(videos):
            packets = encode(streams[number].codec_context, part, 100 * number)
            for packet in packets:
                packet.pts, packet.dts = packet.pts - 100 * number, packet.dts - 100 * number
                packet.stream = streams[number]
                out.mux(packet)
    return path


def _set_up(stream: Any, context: Any, part: Part, rate: int) -> None:
    context.width, context.height = part.size
    context.pix_fmt = part.pixels
    context.framerate = rate
    context.time_base = Fraction(1, rate)
    context.gop_size = part.gop
    context.thread_count = 1
    for name, value in part.fields.items():
        setattr(context, name, value)
    context.options = part.options


def encode(context: Any, part: Part, first: int) -> Packets:
    """Encode frames from number ``first`` on; their packets, with times in frames."""
    packets: Packets = []
    for number in range(first, first + part.count):
        frame = av.VideoFrame.from_ndarray(picture(number, *part.size), "rgb24")
        if part.pixels == "pal8":
            frame = paletted(number, *part.size)
        frame = frame.reformat(format=part.pixels)
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    return packets + context.encode(None)


def paletted(number: int, width: int, height: int) -> av.VideoFrame:
    """A frame with a palette of grey levels, which runs backwards."""
    levels = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 4, axis=1)
    levels[:, 0] = 255  # opaque
    return av.VideoFrame.from_ndarray(
        (255 - picture(number, width, height)[..., 0], levels), "pal8"
    )


# ---- what may be done to packets


def flagged(which: Callable[[int], bool]) -> Edit:
    """Mark packets as key frames by their number, whatever they are."""

    def edit(packets: Packets) -> Packets:
        for index, packet in enumerate(packets):
            packet.is_keyframe = which(index)
        return packets

    return edit


def timed(change: Callable[[int, int], int]) -> Edit:
    """Give each packet another time, from its number in the file and its time; for muxers without others."""

    def edit(packets: Packets) -> Packets:
        for index, packet in enumerate(packets):
            packet.pts = change(index, packet.pts)
            packet.dts = index - 10**6
        return packets

    return edit


def shifted(change: Callable[[int], int]) -> Edit:
    """Move times along, decoding times as well."""

    def edit(packets: Packets) -> Packets:
        for packet in packets:
            packet.pts = change(packet.pts)
            packet.dts = None if packet.dts is None else change(packet.dts)
        return packets

    return edit


def only(which: Callable[[int], bool]) -> Edit:
    """Keep some of the packets."""
    return lambda packets: [packet for index, packet in enumerate(packets) if which(index)]


def bare(*, after: int, marks: tuple[bytes, ...]) -> Edit:
    """Take units that begin with one of ``marks`` out of the packets after number ``after``."""

    def edit(packets: Packets) -> Packets:
        done = []
        for index, packet in enumerate(packets):
            units = bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
            kept = [unit for unit in units if index <= after or not unit.startswith(marks)]
            done.append(_like(packet, b"".join(b"\0\0\0\1" + unit for unit in kept)))
        return done

    return edit


def content(change: Callable[[int, bytes], bytes]) -> Edit:
    """Change what is in the packets."""
    return lambda packets: [
        _like(packet, change(index, bytes(packet))) for index, packet in enumerate(packets)
    ]


def _like(packet: av.Packet, data: bytes) -> av.Packet:
    other = av.Packet(data)
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.is_keyframe = packet.time_base, packet.is_keyframe
    return other


# ---- what may be done to files


def renamed(path: Path, old: bytes, new: bytes) -> Path:
    """Rename a box or chunk, so that readers pass over it."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def every_entry_is_key(path: Path) -> Path:
    """Mark every entry of an AVI index."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"idx1") + 8
    while at + 16 <= len(data) and data[at : at + 4] == b"00dc":
        data[at + 4 : at + 8] = struct.pack("<I", 0x10)
        at += 16
    path.write_bytes(data)
    return path


def cut(path: Path, part: float) -> Path:
    """Leave the beginning of a file only."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def flv_spliced(path: Path, first: Path, second: Path, shift: int) -> Path:
    """Put the tags of one FLV behind those of another, ``shift`` milliseconds later."""
    data = bytearray(first.read_bytes())
    tail = second.read_bytes()[13:]
    at = 0
    while at + 15 <= len(tail):
        kind, size = tail[at], int.from_bytes(tail[at + 1 : at + 4], "big")
        time = int.from_bytes(tail[at + 4 : at + 7], "big") + shift
        if kind == 9:
            data += bytes([kind]) + tail[at + 1 : at + 4] + (time & 0xFFFFFF).to_bytes(3, "big")
            data += bytes([time >> 24]) + tail[at + 8 : at + 11 + size + 4]
        at += 11 + size + 4
    path.write_bytes(data)
    return path


def exif(orientation: int) -> bytes:
    """An EXIF segment of a JPEG that says how the picture is turned."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    entries += struct.pack("<HHI4s", 0x010F, 2, 4, b"abc")
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


def with_exif(orientation: Callable[[int], int | None]) -> Edit:
    """Give JPEG packets an orientation by their number."""

    def change(index: int, data: bytes) -> bytes:
        turn = orientation(index)
        return data if turn is None else data[:2] + exif(turn) + data[2:]

    return content(change)


def full_decode(path: Path, stream: int = 0) -> list[av.VideoFrame]:
    """Every frame that decodes, the plain way: packet after packet from the first."""
    frames: list[av.VideoFrame] = []
    with av.open(str(path)) as container:
        video = container.streams.video[stream]
        video.codec_context.thread_count = 1
        packets = (packet for packet in container.demux(video) if packet.size)
        while True:
            try:
                packet = next(packets, None)
                frames += video.codec_context.decode(packet)
            except (av.error.FFmpegError, ValueError):
                pass
            if packet is None:
                return frames
