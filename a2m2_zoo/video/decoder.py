"""Decoding chosen packets of a stream, exactly, for as little work as possible."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from a2m2_zoo.video.clip import Job, check_size
from a2m2_zoo.video.container import File, Table, decoder_pixels, demux, open_video
from a2m2_zoo.video.decoder_memory import LEFTOVERS

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.stream import VideoStream


# Decoders that leave out single pictures when told to, packet by packet. Others ignore the wish, or
# settle it once for the whole stream (AV1) and would leave out wanted pictures too.
_SKIPPING = frozenset({"h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video", "vp9"})


@dataclass(frozen=True)
class Run:
    """A stretch of packets to decode, from a key frame to the last wanted packet, both included."""

    first: int
    last: int
    wanted: frozenset[int]


def plan(
    table: Table, wanted: Collection[int], beside: Mapping[int, Collection[int]] | None = None
) -> list[Run]:
    """Return the stretches of packets from which the wanted ones can be decoded.

    A key frame serves a wanted picture if it comes first both in the file and on the screen:
    pictures that are stored after a key frame but shown before it may refer to what lies before it.

    Args:
        table: The packets.
        wanted: Ordinals of packets that have a presentation time.
        beside: For a wanted packet others to decode too, if they take no earlier beginning.

    Returns:
        Stretches in file order that do not overlap.
    """
    runs: list[Run] = []
    for ordinal in sorted(set(wanted)):
        start = _start(table, ordinal)
        others = [
            other for other in (beside or {}).get(ordinal, ()) if _start(table, other) == start
        ]
        run = Run(start, max(ordinal, *others, ordinal), frozenset({ordinal, *others}))
        while runs and run.first <= runs[-1].last + 1:  # Nothing to leave out between them.
            before = runs.pop()
            run = Run(
                min(before.first, run.first),
                max(before.last, run.last),
                before.wanted | run.wanted,
            )
        runs.append(run)
    return runs


def _start(table: Table, ordinal: int) -> int:
    """Return the last key frame that serves a picture; the first packet if there is none."""
    shown_at = table.times[ordinal]
    for position in range(bisect_right(table.keys, ordinal) - 1, -1, -1):
        key = table.keys[position]
        key_time = table.times[key]
        if key_time is not None and shown_at is not None and key_time <= shown_at:
            return key
    return 0


class Decoder:
    """A stream's decoder, fed by packet ordinal.

    There is no seeking: packets are left out by counting them, which cannot miss its aim. They are
    kept from the listing where they fit in memory, and read again from the start of the file
    otherwise.
    """

    def __init__(self, path: File, stream: VideoStream, table: Table, job: Job) -> None:
        self._path, self._table, self._job = path, table, job
        self._context = stream.codec_context
        LEFTOVERS.expect_decoder(self._context.width, self._context.height)
        self.failures = 0
        """Packets that the decoder has refused so far."""
        self._skips = self._context.name in _SKIPPING and not table.layered
        self._context.thread_count = job.threads
        # Frame threads that log through Python can dead-lock on damaged files, so they are used
        # only while PyAV's logging is off, as it is by default.
        several = job.threads > 1 and av.logging.get_level() is None
        self._context.thread_type = "AUTO" if several else "SLICE"
        self._context.options = {"max_pixels": decoder_pixels(job.limits)}

    @property
    def reorders(self) -> bool:
        """Whether it holds pictures back to bring them into order, as far as it knows by now."""
        return bool(self._context.has_b_frames)

    def skip_none(self) -> None:
        """Decode every picture, also those that no wanted one needs."""
        self._skips = False

    def run(self, run: Run) -> Iterator[av.VideoFrame]:
        """Yield the pictures of one stretch in the order they are shown, at least the wanted ones.

        What is damaged is left out. The caller knows what it waits for.
        """
        if self._context.is_open:
            self._context.flush_buffers()
        for ordinal, packet in self._packets(run):
            self._job.watch.check()
            # A picture that is not wanted and that no other one refers to need not be decoded.
            skip = self._skips and ordinal not in run.wanted
            self._context.skip_frame = "NONREF" if skip else "DEFAULT"
            yield from self._feed(packet)
        yield from self._feed(None)

    def every(self) -> Iterator[av.VideoFrame]:
        """Yield all pictures that decode, in the order they are shown."""
        ordinals = range(len(self._table.times))
        return self.run(Run(0, len(ordinals) - 1, frozenset(ordinals)))

    def _feed(self, packet: Packet[VideoStream] | None) -> Iterator[av.VideoFrame]:
        try:
            frames = self._context.decode(packet)
        except (FFmpegError, ValueError):
            self.failures += 1
            return
        for frame in frames:
            check_size(self._job.name, frame.width, frame.height, self._job.limits)
            yield frame

    def _packets(self, run: Run) -> Iterator[tuple[int, Packet[VideoStream]]]:
        if self._table.held is not None:
            yield from enumerate(self._table.held[run.first : run.last + 1], run.first)
            return
        container, stream = open_video(self._path, self._job, probe=self._table.probed)
        with closing(container):
            try:
                for ordinal, packet in enumerate(demux(container, stream)):
                    self._job.watch.check()
                    if ordinal > run.last:
                        return
                    if ordinal >= run.first:
                        yield ordinal, packet
            except FFmpegError:
                return
