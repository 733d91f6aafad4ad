"""Where frames come from: a file read from end to end, a camera, a pipe, a stream by its address."""

from __future__ import annotations

import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
from av.error import FFmpegError

from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.remote.addresses import RemotePath, place
from a2m2_zoo.errors import VideoError, VideoNotFoundError
from a2m2_zoo.spotting.frames import VideoFrames as VideoFrames
from a2m2_zoo.spotting.frames import live
from a2m2_zoo.spotting.network import PATIENCE, NetworkFrames, is_stream
from a2m2_zoo.video import Limits, Preprocess
from a2m2_zoo.video.clip import Job, Watch
from a2m2_zoo.video.container import FORMATS, fetch_video, from_address, open_video, reason
from a2m2_zoo.video.inputs import missing

_CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


def open_video_file(path: str | Path, limits: Limits | None = None) -> VideoFrames:
    """Open a video file of any length, here or at an address.

    Raises:
        VideoNotFoundError: There is no such file.
        VideoError: It is no video.
        VideoLimitError: Its picture is too large.
    """
    limits, path = limits or Limits(), place(path)
    name = str(path)
    job = Job(name, Preprocess(), limits, Watch(name, limits))
    if isinstance(path, RemotePath):
        with from_address(name):
            fetched = fetch_video(path, job, long=True)
            try:
                opened = open_video(fetched, job, probe=True)
            finally:
                fetched.check()
        return VideoFrames(*opened, name, limits, fetched=fetched)
    if not exists(path):
        raise VideoNotFoundError(f"{name}: {missing(name)}")
    if not path.is_file():
        more = "; `a2m2 watch` reads pipes" if path.is_fifo() else ""
        raise VideoError(f"{name}: not a video file: give a file with moving pictures{more}")
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
    return live(container, f"camera {device!r}", limits)


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
    return live(container, name, limits, file=file)


def open_live(
    source: str, limits: Limits | None = None, *, patience: float = PATIENCE
) -> tuple[VideoFrames | NetworkFrames, bool]:
    """Open whatever can be watched.

    Args:
        source: A camera's index or name, a pipe, a video file, the address of a file or of a stream.
        limits: Its ``megapixels`` bound the frames.
        patience: See ``NetworkFrames``.

    Returns:
        The frames, and whether they come at their own pace; those of a file do not, see ``paced``.

    Raises:
        VideoError: It cannot be opened.
    """
    if is_stream(source):
        return NetworkFrames(source, limits, patience=patience), True
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


def open_spotted(
    source: str | Path, limits: Limits | None = None, *, patience: float = PATIENCE
) -> VideoFrames | NetworkFrames:
    """Open a video of any length, or a stream by its address.

    Raises:
        VideoError: It cannot be opened.
    """
    if is_stream(str(source)):
        return NetworkFrames(str(source), limits, patience=patience)
    return open_video_file(source, limits)


def paced(opened: VideoFrames | NetworkFrames) -> Iterator[tuple[av.VideoFrame, float]]:
    """The frames of a file no earlier than a player would show them."""
    begun = time.monotonic()
    for frame, at in opened:
        time.sleep(max(0.0, begun + at - time.monotonic()))
        yield frame, at


class Lag:
    """How far work on frames is behind a stream in real time.

    >>> lag = Lag()
    >>> [lag.add(seconds=0.75, at=0.5 * i) for i in range(3)], lag.add(seconds=0.0, at=60.0)
    ([0.75, 1.0, 1.25], 0.0)
    """

    def __init__(self) -> None:
        self._behind, self._at = 0.0, 0.0

    def add(self, seconds: float, at: float) -> float:
        """Note how long the frame that was shown at ``at`` took; how late it is done."""
        passed, self._at = at - self._at, at
        self._behind = max(self._behind - max(passed, 0.0), 0.0) + seconds
        return self._behind
