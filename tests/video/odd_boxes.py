"""An MP4 written by hand, as no muxer of FFmpeg writes it."""

from __future__ import annotations

import struct
from pathlib import Path

import av
from odd_maker import RATE


def boxes(data: bytes, *names: bytes) -> bytes:
    """Return the content of a box within boxes of an MP4."""
    for name in names:
        at = 0
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
        data = data[at + 8 : at + int.from_bytes(data[at : at + 4], "big")]
    return data


def box(name: bytes, *content: bytes) -> bytes:
    """Make a box of an MP4."""
    inside = b"".join(content)
    return struct.pack(">I", 8 + len(inside)) + name + inside


def mp4_spliced(path: Path, *sources: Path) -> Path:
    """Write an MP4 by hand: one track with a sample description for each source, and their samples."""
    stbl = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    entries, samples, runs, keys = [], [], [], []
    for number, source in enumerate(sources, 1):
        entries.append(boxes(source.read_bytes(), *stbl)[8:])
        with av.open(str(source)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        keys += [len(samples) + i for i, packet in enumerate(packets, 1) if packet.is_keyframe]
        runs.append((len(runs) + 1, len(packets), number))
        samples += [bytes(packet) for packet in packets]
    head = box(b"ftyp", b"isom\0\0\2\0isomavc1")
    starts, at = [], len(head) + 8
    for _, count, _ in runs:
        starts.append(at)
        done = sum(run[1] for run in runs[: len(starts) - 1])
        at += sum(len(sample) for sample in samples[done : done + count])
    total, full = len(samples), struct.pack(">I", 0)

    def numbers(*values: int) -> bytes:
        return struct.pack(f">{len(values)}I", *values)

    table = box(
        b"stbl",
        box(b"stsd", full, numbers(len(entries)), *entries),
        box(b"stts", full, numbers(1, total, 1)),
        box(b"stss", full, numbers(len(keys), *keys)),
        box(b"stsc", full, numbers(len(runs)), *(numbers(*run) for run in runs)),
        box(b"stsz", full, numbers(0, total, *map(len, samples))),
        box(b"stco", full, numbers(len(starts), *starts)),
    )
    unity = numbers(65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    moov = box(
        b"moov",
        box(
            b"mvhd", full, numbers(0, 0, RATE, total, 65536), b"\1\0" + bytes(10), unity, bytes(28)
        ),
        box(
            b"trak",
            box(
                b"tkhd",
                numbers(3, 0, 0, 1, 0, total),
                bytes(16),
                unity,
                numbers(96 << 16, 64 << 16),
            ),
            box(
                b"mdia",
                box(b"mdhd", full, numbers(0, 0, RATE, total), b"\x55\xc4\0\0"),
                box(b"hdlr", full, bytes(4), b"vide", bytes(13)),
                box(
                    b"minf",
                    box(b"vmhd", numbers(1), bytes(8)),
                    box(b"dinf", box(b"dref", full, numbers(1), box(b"url ", numbers(1)))),
                    table,
                ),
            ),
        ),
    )
    path.write_bytes(head + box(b"mdat", *samples) + moov)
    return path
