"""Videos for the tests: every frame carries its own number as ten bars, so it can be told apart."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from a2m2_zoo.video import Preprocess

PYAV = int(av.__version__.split(".")[0])
BITS = 10
SPEC = Preprocess(frames=7, size=64, crop="stretch")


def picture(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """A frame: bars for the number in the upper half, a moving texture in the lower."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    frame = np.zeros((height, width, 3), np.uint8)
    columns = np.minimum(np.arange(width) * BITS // width, BITS - 1)
    frame[: height // 2] = (np.array(bits)[columns] * 255)[None, :, None]
    rows = np.arange(height // 2, height)[:, None]
    texture = (rows * 7 + np.arange(width)[None] * 3 + number * 5) % 200
    frame[height // 2 :] = texture[..., None]
    return frame


def number(frame: np.ndarray) -> int:
    """Read the bars of a (stretched) frame."""
    height, width = frame.shape[:2]
    line = frame[height // 8 : height // 3].astype(float).mean(axis=(0, 2))
    centres = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(line[x] > 127) << bit for bit, x in enumerate(centres))


def make(
    path: Path,
    *,
    count: int = 60,
    codec: str = "libx264",
    rate: int = 30,
    gop: int = 250,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    times: Iterable[int] | None = None,
    size: tuple[int, int] = (96, 64),
    rotation: float | None = None,
    sound: bool = False,
) -> Path:
    """Encode ``count`` numbered frames; ``times`` (in 1/1000 s) makes the rate variable."""
    with _same_priority(), av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        stream.options = options or {}
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if sound:
            track = container.add_stream("aac", rate=44_100)
        moments = list(times) if times is not None else range(count)
        for index, moment in enumerate(moments):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), "rgb24")
            frame.pts = moment
            frame.time_base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            for start in range(0, 44_100, 1024):
                silence = av.AudioFrame.from_ndarray(
                    np.zeros((2, 1024), np.float32), "fltp", "stereo"
                )
                silence.sample_rate, silence.pts = 44_100, start
                container.mux(track.encode(silence))
            container.mux(track.encode())
    return path


@contextmanager
def _same_priority() -> Iterator[None]:
    """Where it may, SVT-AV1 makes the thread that calls it a real-time one, and nothing else gets to run."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, values = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, values)


def full_decode(path: Path) -> list[av.VideoFrame]:
    """Every frame, decoded the plain way."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))
