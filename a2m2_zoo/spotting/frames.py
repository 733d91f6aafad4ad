"""Frames of an open container, each decoded once, with its time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

import av
from av.error import FFmpegError

from a2m2_zoo.errors import VideoError
from a2m2_zoo.video import Limits
from a2m2_zoo.video.clip import check_size
from a2m2_zoo.video.container import decoder_pixels, demux, from_address, reason
from a2m2_zoo.video.decoder_memory import LEFTOVERS
from a2m2_zoo.video.duration import Extent
from a2m2_zoo.video.gaps import GAP

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from a2m2_zoo._utils.remote.reading import Fetched


_log = logging.getLogger(__name__)
_LEAST_LEAD = 0.1  # seconds; sound often begins a little earlier


class VideoFrames:
    """Every frame of a video in the order it is shown, decoded once, with its time.

    Iterating ends with a ``VideoError`` where the video is damaged, after every frame that decodes.

    Args:
        container: An open container; closed when the iteration ends.
        stream: Its video.
        name: What to call it in errors.
        limits: Its ``megapixels`` bound the frames; length and time are not bounded.
        file: The open file that the container reads, where there is one; closed with it.
        fetched: What lies at an address and is read, where that is so.

    Attributes:
        seconds: Length by the header, what comes before the first picture included; None where it does not
            say.
        refused: Packets so far that do not decode, or are damaged.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        limits: Limits,
        *,
        file: IO[bytes] | None = None,
        fetched: Fetched | None = None,
    ) -> None:
        self._container, self._stream, self._file = container, stream, file
        self._fetched = fetched
        self._name, self._limits = name, limits
        self.refused = 0
        self._start: float | None = None  # time of the first frame, where reading begins later
        context = stream.codec_context
        context.thread_type, context.thread_count = "SLICE", 1
        context.options = {"max_pixels": decoder_pixels(limits)}
        LEFTOVERS.expect_decoder(context.width, context.height)
        self._extent = Extent(container, stream)
        self._lead = _lead(container, stream)
        self.seconds = self._extent.announced or _announced(container, stream)
        if self._lead and container.duration:
            self.seconds = container.duration / 1e6

    def skip_to(self, seconds: float) -> None:
        """Begin at the last key frame before that time, where the container can; times stay the same.

        Args:
            seconds: As the times of frames are.
        """
        stream, tick = self._stream, float(self._stream.time_base or 0)
        if self._counted or stream.start_time is None or not tick:
            return
        try:
            since = max(0, int((seconds - self._lead) / tick))
            self._container.seek(stream.start_time + since, stream=stream)
        except FFmpegError:
            return
        self._start = stream.start_time * tick - self._lead

    @property
    def _counted(self) -> bool:
        # Such files have no times, and those made up for them are wrong where there are B frames.
        avi = self._container.format.name == "avi"
        return avi and bool(self._stream.codec_context.has_b_frames)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times in seconds, as players show them: from where the file begins.

        That is the first frame, or the sound where it is there before. Where the clock goes back, in files
        that were joined, times go on.

        Raises:
            VideoError: At the end, if something did not decode or is missing.
            VideoLimitError: A frame is too large.
        """
        rate = float(self._stream.average_rate or 25)
        tick = float(self._stream.time_base or 0)
        counted, first = self._counted, self._start
        count, last, stopped = 0, 0.0, ""
        with closing(self):
            packets = demux(self._container, self._stream, self._extent)
            while True:
                try:
                    packet = next(packets, None)
                except FFmpegError as error:
                    packet, stopped = None, reason(error)
                self.refused += packet is not None and packet.is_corrupt
                for frame in self._decoded(packet):
                    check_size(self._name, frame.width, frame.height, self._limits)
                    at = count / rate if counted or frame.pts is None else frame.pts * tick
                    first = at - self._lead if first is None else first
                    if last - (at - first) > GAP:
                        first = at - last - 1 / rate
                        _log.warning(
                            "%s: its clock goes back at %.1f s; times go on from there",
                            self._name,
                            last,
                        )
                    count, last = count + 1, at - first
                    yield frame, last
                if packet is None:
                    break
        if self._fetched is not None:
            with from_address(f"{self._name}: after {last:.1f} s"):
                self._fetched.check()
        self._complain(count, last - self._lead + 1 / rate, stopped)

    def _decoded(self, packet: Any) -> list[av.VideoFrame]:
        try:
            return list(self._stream.codec_context.decode(packet))
        except (FFmpegError, ValueError):
            self.refused += packet is not None
            return []

    def _complain(self, count: int, length: float, stopped: str) -> None:
        if not count:
            raise VideoError(f"{self._name}: no frame decodes: the file is empty or damaged")
        if stopped:
            raise VideoError(f"{self._name}: damaged after {length:.1f} s ({stopped})")
        if self.refused:
            raise VideoError(
                f"{self._name}: {self.refused} packet(s) beside {count} frames do not decode: the file "
                "is damaged"
            )
        missing = self._extent.missing(length)
        if missing is not None and self.seconds is not None:
            raise VideoError(
                f"{self._name}: truncated: its header announces {missing[0]:.1f} s, {missing[1]:.1f} s "
                "are there"
            )


def live(
    container: InputContainer, name: str, limits: Limits, *, file: IO[bytes] | None = None
) -> VideoFrames:
    """The frames of what has no end that is known.

    Args:
        container: An open container; closed when the iteration ends.
        name: What to call it in errors.
        limits: Its ``megapixels`` bound the frames.
        file: The open file that the container reads, where there is one; closed with it.

    Raises:
        VideoError: It holds no video.
    """
    if not container.streams.video:
        container.close()
        if file is not None:
            file.close()
        raise VideoError(f"{name}: holds no video stream")
    opened = VideoFrames(container, container.streams.video[0], name, limits, file=file)
    opened.seconds, opened._lead = None, 0.0
    return opened


def _lead(container: InputContainer, stream: VideoStream) -> float:
    """Seconds for which a file plays before its first picture is shown."""
    if stream.start_time is None or not stream.time_base or container.start_time is None:
        return 0.0
    found = float(stream.start_time * stream.time_base) - container.start_time / 1e6
    return found if found > _LEAST_LEAD else 0.0


def _announced(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None
