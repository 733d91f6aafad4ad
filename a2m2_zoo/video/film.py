"""Reading a video file with PyAV: the frames that are wanted, exactly, for as little decoding as possible.

1. List the packets. Their presentation times give the time line without decoding anything.
2. Choose the times wanted, and for each the last key frame it can be decoded from.
3. Feed the decoder from there to the wanted packet, telling it to skip pictures that nothing refers to.
   Where a key frame lies between one wanted frame and the next, the packets between are left out.
4. If a wanted frame does not come, decode everything once, keep what decodes and choose among that.

There is no seeking: packets are left out by their ordinal, which cannot miss.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError

from a2m2_zoo.errors import VideoError, VideoLimitError
from a2m2_zoo.video.clip import Clip, Limits, Watch, check_size, short_clip
from a2m2_zoo.video.container import Table, decoder_pixels, demux, list_packets, open_video
from a2m2_zoo.video.preprocess import Preprocess, Resizer
from a2m2_zoo.video.sample import time_centres, time_random

if TYPE_CHECKING:
    from av.codec.context import CodecContext
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """A stretch of packets to decode: from a key frame to the last wanted packet, both included."""

    first: int
    last: int
    wanted: frozenset[int]


@dataclass(frozen=True)
class Line:
    """A clip's shown frames: when each appears (ticks, increasing) and how long the whole lasts."""

    times: tuple[int, ...]
    duration: Fraction


def read_film(
    path: str | Path,
    spec: Preprocess,
    *,
    name: str,
    limits: Limits,
    watch: Watch,
    seed: int | None,
    strict: bool,
    threads: int,
) -> Clip:
    """Read the wanted frames of one video file.

    Args:
        path: A regular file.
        spec: How many frames, where, and what size.
        name: What to call the file in messages.
        limits: What it may cost.
        watch: The clock that runs for it.
        seed: For random sampling.
        strict: Refuse a file that has lost frames instead of warning.
        threads: Decoder threads.

    Raises:
        VideoError: If nothing decodes, or with ``strict`` if something does not.
        VideoLimitError: If a limit is passed.
    """
    container, stream = open_video(path, name, limits, probe=False)
    with closing(container):
        table = list_packets(container, stream, name, limits, watch)
        if not table.times:
            raise VideoError(f"{name}: holds no frame: the file is empty or cut off at its start")
        line = time_line(table)
        if line is not None:
            indices = _choose(line, spec, seed)
            ordinals = {time: ordinal for ordinal, time in enumerate(table.times)}
            runs = plan(table, [ordinals[line.times[index]] for index in indices])
            work = sum(run.last - run.first + 1 for run in runs)
            if work > limits.frames:
                raise _too_many(name, work, limits)
            decoder = _Decoder(path, stream, table, name, limits, watch, threads)
            found = decoder.pictures(runs, spec)
            if all(line.times[index] in found for index in indices):
                warnings = _losses(table, line, 0)
                return _clip(name, line, table, indices, found, warnings, strict=strict)
    return _read_all(path, spec, table, name, limits, watch, seed, strict, threads)


def time_line(table: Table) -> Line | None:
    """Return the shown frames in the order they are shown, or None where the packets do not tell."""
    times = [time for time, shown in zip(table.times, table.shown, strict=True) if shown]
    known = sorted(time for time in times if time is not None)
    if not known or len(known) < len(times) or any(a == b for a, b in pairwise(known)):
        return None
    if len(set(table.times)) < len(table.times):
        return None  # A hidden packet with a shown one's time would be mistaken for it.
    return _line(known, table.last)


def plan(table: Table, wanted: Collection[int]) -> list[Run]:
    """Return the stretches of packets from which the wanted ones can be decoded.

    Args:
        table: The packets.
        wanted: Ordinals of packets with a presentation time.

    A key frame serves a wanted picture if it comes first both in the file and on the screen: pictures
    shown before a key frame but stored after it may refer to what lies before it.
    """
    runs: list[Run] = []
    for ordinal in sorted(set(wanted)):
        shown_at = table.times[ordinal]
        first = 0
        for position in range(bisect_right(table.keys, ordinal) - 1, -1, -1):
            key_time = table.times[table.keys[position]]
            if key_time is not None and shown_at is not None and key_time <= shown_at:
                first = table.keys[position]
                break
        if runs and first <= runs[-1].last:
            before = runs.pop()
            runs.append(Run(before.first, ordinal, before.wanted | {ordinal}))
        else:
            runs.append(Run(first, ordinal, frozenset({ordinal})))
    return runs


class _Decoder:
    """Feeds packets by ordinal and resizes the pictures that are wanted as they come out."""

    def __init__(
        self,
        path: str | Path,
        stream: VideoStream,
        table: Table,
        name: str,
        limits: Limits,
        watch: Watch,
        threads: int,
    ) -> None:
        self._path, self._stream, self._table = path, stream, table
        self._name, self._limits, self._watch = name, limits, watch
        context = stream.codec_context
        context.thread_count = threads
        # Frame threads that log through Python can dead-lock on damaged files, so they are for
        # processes that have left PyAV's logging off, as it is by default.
        quiet = threads > 1 and av.logging.get_level() is None
        context.thread_type = "AUTO" if quiet else "SLICE"
        context.options = {"max_pixels": decoder_pixels(limits)}

    def pictures(self, runs: Sequence[Run], spec: Preprocess) -> dict[int, NDArray[np.uint8]]:
        """Return the wanted pictures that decode, by presentation time."""
        resize, found = Resizer(spec), {}
        for run in runs:
            times = {self._table.times[ordinal] for ordinal in run.wanted}
            for frame in self._frames(run):
                if frame.pts in times and frame.pts is not None:
                    found[frame.pts] = resize(frame)
        return found

    def every(self) -> Iterator[av.VideoFrame]:
        """Yield every picture that decodes, in the order they are shown."""
        everything = range(len(self._table.times))
        return self._frames(Run(0, len(everything) - 1, frozenset(everything)))

    def _frames(self, run: Run) -> Iterator[av.VideoFrame]:
        context: CodecContext = self._stream.codec_context
        context.flush_buffers()
        for ordinal, packet in self._packets(run):
            self._watch.check()
            # A picture that is not wanted and that no other refers to need not be decoded.
            context.skip_frame = "DEFAULT" if ordinal in run.wanted else "NONREF"
            yield from self._feed(context, packet)
        yield from self._feed(context, None)

    def _feed(
        self, context: CodecContext, packet: Packet[VideoStream] | None
    ) -> Iterator[av.VideoFrame]:
        try:
            frames = context.decode(packet)  # type: ignore[attr-defined]
        except (FFmpegError, ValueError):
            return  # Damaged: the picture does not come, which the caller sees.
        for frame in frames:
            check_size(self._name, frame.width, frame.height, self._limits)
            yield frame

    def _packets(self, run: Run) -> Iterator[tuple[int, Packet[VideoStream]]]:
        if self._table.held is not None:
            yield from enumerate(self._table.held[run.first : run.last + 1], run.first)
            return
        container, stream = open_video(self._path, self._name, self._limits, probe=False)
        with closing(container):
            try:
                for ordinal, packet in enumerate(demux(container, stream)):
                    self._watch.check()
                    if ordinal > run.last:
                        return
                    if ordinal >= run.first:
                        yield ordinal, packet
            except FFmpegError:
                return


def _read_all(
    path: str | Path,
    spec: Preprocess,
    table: Table,
    name: str,
    limits: Limits,
    watch: Watch,
    seed: int | None,
    strict: bool,
    threads: int,
) -> Clip:
    """Decode the whole file to learn what it really holds, then once more for the chosen frames."""
    if len(table.times) > limits.frames:
        raise _too_many(name, len(table.times), limits)
    container, stream = open_video(path, name, limits, probe=True)
    with closing(container):
        table = list_packets(container, stream, name, limits, watch)
        decoder = _Decoder(path, stream, table, name, limits, watch, threads)
        times = [frame.pts for frame in decoder.every()]
        if not times:
            raise VideoError(f"{name}: none of its {len(table.times)} frames decodes: damaged file")
        known = [time for time in times if time is not None]
        timed = len(known) == len(times) and all(a < b for a, b in pairwise(known))
        tick = table.time_base
        if not timed:  # Without usable times the frames are taken to follow each other evenly.
            known, tick = list(range(len(times))), 1 / (stream.average_rate or Fraction(25))
        line = _line(known, table.last if timed else 1)
        indices = _choose(line, spec, seed)
        wanted, resize, found = set(indices), Resizer(spec), {}
        for index, frame in enumerate(decoder.every()):
            if index in wanted:
                found[line.times[index]] = resize(frame)
            if index >= max(wanted):
                break
    missing = sum(table.shown) - len(times)
    table = replace(table, time_base=tick)
    return _clip(name, line, table, indices, found, _losses(table, line, missing), strict=strict)
