"""Opening a video file without trusting it, and listing its packets without decoding them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import av
from av.error import FFmpegError

from a2m2_zoo._utils.files import open_regular
from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.remote.reading import Fetched, fetch
from a2m2_zoo.errors import (
    RemoteError,
    RemoteNotFoundError,
    VideoError,
    VideoLimitError,
    VideoNotFoundError,
)
from a2m2_zoo.video.clip import Job, Limits, check_size
from a2m2_zoo.video.duration import Extent
from a2m2_zoo.video.keyframes import Restarts
from a2m2_zoo.video.stream_choice import choose, packets_of_all

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Containers that hold their own pictures. Playlists (hls, concat, dash, image2, ...) are absent on
# purpose: with them a small text file makes the library open other files, under any name it likes.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,gif,apng,nut,mxf,"
    "ivf,h263,h264,hevc,obu,av1,dv,yuv4mpegpipe"
)
#: A file of this machine, or one version of a file at an address.
File: TypeAlias = "str | Path | Fetched"
_MP4 = (b"ftyp", b"moov", b"mdat", b"free", b"wide")
_HELD_BYTES = 64 * 2**20
_PACKETS_PER_FRAME_LIMIT = 50


@dataclass(frozen=True)
class Table:
    """The packets of a video stream in decoding order, described.

    Attributes:
        times: Presentation time of each packet in ticks, or None where the container has none.
        shown: Whether the packet's picture is to be shown (not cut away by an edit list).
        keys: Ordinals of the packets that decoding can start from, none before them being needed.
        last: Stay of the last picture in ticks, 0 if unknown.
        tick: Seconds per tick.
        announced: Length by the header in seconds where less is there, None otherwise.
        ordered: The presentation times can be believed. AVI stores pictures in decoding order,
            without times; those made up for it are wrong where there are B frames.
        broken: The file ended in the middle of something.
        probed: How the file was opened, see :func:`open_video`.
        held: The packets themselves, or None where they are too large to keep in memory.
        there: Length of what is there in seconds, where that is less than announced.
        skippable: Packets may be left out: the codec is one of those known to allow it, and no packet
            changes more than its own picture.
        flagged: ``keys`` are the container's word, to be checked.
        between: Whether there are B pictures, None where that is not known.
        layered: There are temporal layers.
        certain: Each packet that is shown gives one picture.
    """

    times: tuple[int | None, ...]
    shown: tuple[bool, ...]
    keys: tuple[int, ...]
    last: int
    tick: Fraction
    announced: float | None
    ordered: bool
    broken: bool
    probed: bool
    held: tuple[Packet[VideoStream], ...] | None
    there: float | None = None
    skippable: bool = True
    flagged: bool = False
    between: bool | None = None
    layered: bool = False
    certain: bool = True


@contextmanager
def from_address(name: str) -> Iterator[None]:
    """Errors of an address become those of the clip at it.

    Raises:
        VideoNotFoundError: There is nothing.
        VideoLimitError: It is too large.
        VideoError: It cannot be had.
    """
    try:
        yield
    except RemoteError as error:
        said = f"{name}: {error.strerror}"
        if isinstance(error, RemoteNotFoundError):
            raise VideoNotFoundError(said) from None
        if error.errno == errno.EFBIG:
            raise VideoLimitError(f"{said}: raise Limits.megabytes") from None
        raise VideoError(said) from None


def fetch_video(path: RemotePath, job: Job, *, long: bool = False) -> Fetched:
    """Make a video at an address ready to be opened.

    Args:
        path: The address.
        job: What to call it, and what it may cost.
        long: Neither time nor, where it is read by ranges, size are bounded.

    Raises:
        RemoteError: It cannot be had.
        VideoLimitError: It takes too long.
    """
    check = (lambda: None) if long else job.watch.check
    return fetch(path, most=job.limits.bytes, long=long, check=check)


def open_video(path: File, job: Job, *, probe: bool) -> tuple[InputContainer, VideoStream]:
    """Open a file and find its video.

    Args:
        path: A regular file, or one that was fetched.
        job: What to call it in messages, and the largest picture.
        probe: Decode a few frames to learn what the header leaves out. Without it, MP4 and Matroska
            open many times faster, and their headers say all that is needed.

    Returns:
        The container, to be closed by the caller, and the video stream that is read.

    Raises:
        VideoError: If it cannot be opened or holds no video.
        VideoLimitError: If its picture is too large.
    """
    name = job.name
    head = _head(path, name)
    stored_times = head[:4] == b"\x1aE\xdf\xa3" or head[4:] in _MP4
    # Options for the streams take memory by the number of streams known when the file is opened; with
    # none known yet (TS, FLV), PyAV before 18 crashes. So they are given where a header lists them.
    options = {}
    if stored_times or head[:4] == b"RIFF":
        options["max_pixels"] = decoder_pixels(job.limits)
    if stored_times and not probe:
        options["skip_frame"] = "all"
    container = _open(path, job, options)
    try:
        number, counted = choose(container, job)
        if counted:  # It was read to its end for that.
            container.close()
            container = _open(path, job, options)
        stream = container.streams.video[number]
        # PyAV leaves the context out where its FFmpeg has no decoder.
        if cast("object", stream.codec_context) is None:
            raise VideoError(f"{name}: no decoder for its video stream: convert it to H.264")
        check_size(name, stream.codec_context.width, stream.codec_context.height, job.limits)
    except BaseException:
        container.close()
        raise
    return container, stream


def _open(path: File, job: Job, options: dict[str, str]) -> InputContainer:
    # An absolute path cannot be taken for a protocol ("concat:a|b"); of an open file FFmpeg opens none.
    place = path.played() if isinstance(path, Fetched) else str(Path(path).absolute())
    protocols = "file" if isinstance(place, str) else "none"
    try:
        return av.open(
            place,
            "r",
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": protocols},
            options=options,
            metadata_errors="ignore",
        )
    except (FFmpegError, ValueError) as error:
        raise VideoError(
            f"{job.name}: not a video that can be read ({reason(error)}): "
            "give an mp4, mkv, webm, avi, mov or similar file"
        ) from None


def list_packets(
    container: InputContainer, stream: VideoStream, job: Job, *, probed: bool
) -> Table:
    """Read every packet of the stream once, decoding none.

    Raises:
        VideoLimitError: If there are absurdly many, or it takes too long.
    """
    most = _PACKETS_PER_FRAME_LIMIT * job.limits.frames
    times: list[int | None] = []
    shown: list[bool] = []
    keys: list[int] = []
    held: list[Packet[VideoStream]] | None = []
    room, broken, last = _HELD_BYTES, False, 0
    restarts, extent = Restarts(stream), Extent(container, stream)
    try:
        for packet in demux(container, stream, extent):
            job.watch.check()
            if len(times) >= most:
                raise VideoLimitError(
                    f"{job.name}: more than {most} packets of video: cut it or raise Limits.frames"
                )
            begins, show = restarts.see(packet)
            if begins:
                keys.append(len(times))
            # MP4 counts a packet's duration to the next one in the file, which with B frames is not the
            # next one on the screen. The last in the file has no next one, so its own is true.
            last = packet.duration or 0
            times.append(packet.pts)
            shown.append(show and not packet.is_discard)
            broken = broken or packet.is_corrupt
            if held is not None:
                room -= packet.size
                held.append(packet)
                if room < 0:
                    held = None
    except FFmpegError:
        broken = True
    tick = stream.time_base or Fraction(1, 1000)
    missing = extent.missing(len(times) / float(stream.average_rate or 25))
    between = restarts.between
    untimed = container.format.name == "avi"
    return Table(
        tuple(times),
        tuple(shown),
        tuple(keys),
        last,
        tick,
        missing[0] if missing else None,
        not (untimed and (stream.codec_context.has_b_frames if between is None else between)),
        broken,
        probed,
        None if held is None else tuple(held),
        there=missing[1] if missing else None,
        skippable=restarts.skippable,
        flagged=restarts.flagged,
        between=between,
        layered=restarts.layered,
        certain=restarts.certain,
    )


def demux(
    container: InputContainer, stream: VideoStream, extent: Extent | None = None
) -> Iterator[Packet[VideoStream]]:
    """Yield the stream's packets, without empty ones.

    Args:
        container: The file.
        stream: Whose packets.
        extent: Is told of the packets of all streams.
    """
    if extent is None:
        yield from (packet for packet in container.demux(stream) if packet.size)
        return
    for packet in packets_of_all(container):
        extent.see(cast("Packet[VideoStream]", packet))
        if packet.size and packet.stream_index == stream.index:
            yield cast("Packet[VideoStream]", packet)


def decoder_pixels(limits: Limits) -> str:
    """Return the decoder option by which it refuses larger pictures, before it allocates them.

    There is slack for sizes that are padded to whole blocks.
    """
    return str(int(limits.pixels * 1.05) + 65_536)


def reason(error: BaseException) -> str:
    """Return what FFmpeg said, in one line and without the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def _head(path: File, name: str) -> bytes:
    """Return the first eight bytes, by which containers are told apart."""
    try:
        with path.open() if isinstance(path, Fetched) else open_regular(path) as file:
            return file.read(8)
    except OSError as error:
        raise VideoError(f"{name}: cannot be opened: {error.strerror}") from None
