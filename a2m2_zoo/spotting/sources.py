"""Where frames come from: a file read from end to end, a camera, a pipe."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import av
from av.error import FFmpegError

from a2m2_zoo._utils.files import exists
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.video import Limits, Preprocess
from a2m2_zoo.video.clip import Job, Watch, check_size
from a2m2_zoo.video.container import FORMATS, decoder_pixels, demux, open_video, reason
from a2m2_zoo.video.decoder_memory import LEFTOVERS
from a2m2_zoo.video.duration import Extent
from a2m2_zoo.video.inputs import missing

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


class VideoFrames:
    """Every frame of a video in the order it is shown, decoded once, with its time.

    Iterating ends with a ``VideoError`` where the video is damaged, after every frame that decodes.

    Args:
        container: An open container; closed when the iteration ends.
        stream: Its video.
        name: What to call it in errors.
        limits: Its ``megapixels`` bound the frames; length and time are not bounded.
        file: The open file that the container reads, where there is one; closed with it.

    Attributes:
        seconds: Length by the header, None where it does not say.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        limits: Limits,
        *,
        file: IO[bytes] | None = None,
    ) -> None:
        self._container, self._stream, self._file = container, stream, file
        self._name, self._limits = name, limits
        self._refused = 0
        context = stream.codec_context
        context.thread_type, context.thread_count = "SLICE", 1
        context.options = {"max_pixels": decoder_pixels(limits)}
        LEFTOVERS.expect_decoder(context.width, context.height)
        self._extent = Extent(container, stream)
        self.seconds = self._extent.announced or _announced(container, stream)

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()
        if self._file is not None:
            self._file.close()

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times in seconds from the first one.

        Raises:
            VideoError: At the end, if something did not decode or is missing.
            VideoLimitError: A frame is too large.
        """
        rate = float(self._stream.average_rate or 25)
        tick = float(self._stream.time_base or 0)
        # Such files have no times, and those made up for them are wrong where there are B frames.
        counted = self._container.format.name == "avi" and self._stream.codec_context.has_b_frames
        first: float | None = None
        count, last, stopped = 0, 0.0, ""
        with closing(self):
            packets = demux(self._container, self._stream, self._extent)
            while True:
                try:
                    packet = next(packets, None)
                except FFmpegError as error:
                    packet, stopped = None, reason(error)
                self._refused += packet is not None and packet.is_corrupt
                for frame in self._decoded(packet):
                    check_size(self._name, frame.width, frame.height, self._limits)
                    at = count / rate if counted or frame.pts is None else frame.pts * tick
                    first = at if first is None else first
                    count, last = count + 1, at - first
                    yield frame, last
                if packet is None:
                    break
        self._complain(count, last + 1 / rate, stopped)

    def _decoded(self, packet: Any) -> list[av.VideoFrame]:
        try:
            return list(self._stream.codec_context.decode(packet))
        except (FFmpegError, ValueError):
            self._refused += packet is not None
            return []

    def _complain(self, count: int, length: float, stopped: str) -> None:
        if not count:
            raise VideoError(f"{self._name}: no frame decodes: the file is empty or damaged")
        if stopped:
            raise VideoError(f"{self._name}: damaged after {length:.1f} s ({stopped})")
        if self._refused:
            raise VideoError(
                f"{self._name}: {self._refused} packet(s) beside {count} frames do not decode: the file "
                "is damaged"
            )
        missing = self._extent.missing(length)
        if missing is not None and self.seconds is not None:
            raise VideoError(
                f"{self._name}: truncated: its header announces {missing[0]:.1f} s, {missing[1]:.1f} s "
                "are there"
            )


def open_video_file(path: str | Path, limits: Limits | None = None) -> VideoFrames:
    """Open a video file of any length.

    Raises:
        VideoNotFoundError: There is no such file.
        VideoError: It is no video.
        VideoLimitError: Its picture is too large.
    """
    name, limits, path = str(path), limits or Limits(), Path(path)
    if not exists(path):
        raise VideoNotFoundError(f"{name}: {missing(name)}")
    if not path.is_file():
        raise VideoError(f"{name}: not a video file: give a file with moving pictures")
    job = Job(name, Preprocess(), limits, Watch(name, limits))
    return VideoFrames(*open_video(path, job, probe=True), name, limits)


def open_camera(
    device: str, limits: Limits | None = None, *, driver: str | None = None
) -> VideoFrames:
    """Open a camera.

    Args:
        device: Its index, or its name as the system's driver knows it (``/dev/video0``; on Windows
            ``video=NAME``, which has no index).
        limits: Its ``megapixels`` bound the frames.
        driver: FFmpeg's input device; by default the system's.

    Raises:
        VideoError: There is no such camera, or it is in use.
    """
    limits = limits or Limits()
    driver = driver or _CAMERAS.get(sys.platform, "v4l2")
    place = f"/dev/video{device}" if driver == "v4l2" and device.isdecimal() else device
    try:
        container = av.open(place, format=driver)
    except (FFmpegError, ValueError) as error:
        raise VideoError(
            f"camera {device!r} cannot be opened ({reason(error)}): give the index or the name of a "
            "camera that is connected and free"
        ) from None
    return _live(container, f"camera {device!r}", limits)


def open_pipe(path: str | Path, limits: Limits | None = None) -> VideoFrames:
    """Open a named pipe (FIFO) into which a program writes a video, as MPEG-TS or Matroska.

    Raises:
        VideoError: What comes out of it is no video.
    """
    limits, name = limits or Limits(), str(path)
    # Opened by Python, which stays open to Ctrl-C while it waits for the writer.
    file = Path(path).open("rb", buffering=0)  # noqa: SIM115  # closed with the container
    try:
        container = av.open(
            file, "r", container_options={"format_whitelist": FORMATS}, metadata_errors="ignore"
        )
    except (FFmpegError, ValueError) as error:
        file.close()
        raise VideoError(
            f"{name}: no video comes out of the pipe ({reason(error)}): write MPEG-TS or Matroska "
            "into it"
        ) from None
    return _live(container, name, limits, file=file)


def open_live(source: str, limits: Limits | None = None) -> tuple[VideoFrames, bool]:
    """Open whatever can be watched.

    Args:
        source: A camera's index or name, a pipe, or a video file.
        limits: Its ``megapixels`` bound the frames.

    Returns:
        The frames, and whether they come at their own pace; those of a file do not, see ``paced``.

    Raises:
        VideoError: It cannot be opened.
    """
    try:
        mode = Path(source).stat().st_mode
    except (OSError, ValueError):
        if source.isdecimal() or source.startswith("video="):
            return open_camera(source, limits), True
        return open_video_file(source, limits), False
    if stat.S_ISCHR(mode):
        return open_camera(source, limits), True
    if stat.S_ISFIFO(mode):
        return open_pipe(source, limits), True
    return open_video_file(source, limits), False


def paced(opened: VideoFrames) -> Iterator[tuple[av.VideoFrame, float]]:
    """The frames of a file no earlier than a player would show them."""
    begun = time.monotonic()
    for frame, at in opened:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        yield frame, at


def _live(
    container: InputContainer, name: str, limits: Limits, *, file: IO[bytes] | None = None
) -> VideoFrames:
    if not container.streams.video:
        container.close()
        if file is not None:
            file.close()
        raise VideoError(f"{name}: holds no video stream")
    opened = VideoFrames(container, container.streams.video[0], name, limits, file=file)
    opened.seconds = None
    return opened


def _announced(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None
