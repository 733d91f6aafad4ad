"""Segments as clips of their own."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.words import tenths
from a2m2_zoo.errors import SaveError, VideoError
from a2m2_zoo.spotting.frames import VideoFrames
from a2m2_zoo.spotting.segments import Segment
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.video import Limits
from a2m2_zoo.video.preprocess import turned

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_TICK = Fraction(1, 16_000)  # MPEG-4 part 2 takes no finer one


def clip_name(number: int, segment: Segment) -> str:
    """A file name that is safe on every system and sorts by time.

    >>> clip_name(3, Segment(75.25, 78.0, "pick up / throw", 0.9))
    '003_pick_up_throw_0075.3s.mp4'
    """
    plain = unicodedata.normalize("NFKC", segment.label)
    label = re.sub(r"[^\w]+", "_", plain).strip("_")[:40] or "action"
    return f"{number:03d}_{label}_{tenths(segment.start) / 10:06.1f}s.mp4"


def cut_segments(
    video: str | os.PathLike[str],
    segments: Sequence[Segment],
    folder: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
) -> Iterator[Path]:
    """Write every known segment as a clip, in one pass over the video.

    Pictures are turned as they are shown, sound is left out, each clip appears whole or not at all.

    Args:
        video: The video the segments were found in.
        segments: In the order of time, without overlap, as ``spot`` gives them.
        folder: Where the clips go, made if need be; clips of the same name are replaced.
        limits: Its ``megapixels`` bound the frames.

    Yields:
        The path of each clip.

    Raises:
        VideoError: The video cannot be opened.
        SaveError: A clip could not be written.
    """
    opened = open_video_file(os.fspath(video), limits)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        opened.close()
        raise SaveError(
            f"cannot make the folder {os.fspath(folder)!r}: {error.strerror}; name another"
        ) from error
    with closing(opened):
        frames = _Frames(opened)
        for number, segment in enumerate((s for s in segments if s.known), start=1):
            while frames.first is not None and frames.first[1] < segment.start:
                frames.advance()
            if frames.first is None:
                return
            if frames.first[1] >= segment.end:  # none of it is shown
                continue
            target = Path(folder) / clip_name(number, segment)
            try:
                yield write_atomically(target, partial(_write, frames=frames, segment=segment))
            except av.FFmpegError as error:
                raise SaveError(
                    f"cannot write {str(target)!r}: its pictures cannot be encoded ({error}); cut them "
                    "with another program"
                ) from error


def cut_segment(
    video: str | os.PathLike[str],
    segment: Segment,
    path: Path,
    *,
    limits: Limits | None = None,
) -> Path:
    """Write one segment as a clip; what lies before it is not decoded where the container can skip it.

    Args:
        video: The video.
        segment: Where it is.
        path: The clip.
        limits: Its ``megapixels`` bound the frames.

    Raises:
        VideoError: The video cannot be opened, or ends before the segment.
        SaveError: The clip could not be written.
    """
    opened = open_video_file(os.fspath(video), limits)
    opened.skip_to(segment.start)
    frames = _Frames(opened)
    if frames.first is None:  # it cannot be skipped to: MPEG-TS has no index of its key frames
        opened.close()
        opened = open_video_file(os.fspath(video), limits)
        frames = _Frames(opened)
    with closing(opened):
        while frames.first is not None and frames.first[1] < segment.start:
            frames.advance()
        if frames.first is None:
            raise VideoError(f"{os.fspath(video)}: nothing is there at {segment.start:.1f} s")
        try:
            return write_atomically(path, partial(_write, frames=frames, segment=segment))
        except av.FFmpegError as error:
            raise SaveError(
                f"cannot write {str(path)!r}: {error}; look at the video itself"
            ) from error


class _Frames:
    """Frames of a video, the next one in sight; where they do not decode they end."""

    def __init__(self, opened: VideoFrames) -> None:
        self._rest = iter(opened)
        self.first: tuple[av.VideoFrame, float] | None = None
        self.advance()

    def advance(self) -> None:
        try:
            self.first = next(self._rest, None)
        except VideoError:  # spotting has complained about it
            self.first = None


def _write(path: Path, *, frames: _Frames, segment: Segment) -> None:
    """Encode the frames up to the segment's end."""
    assert frames.first is not None
    wanted = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    begun, latest = frames.first[1], -1
    with av.open(str(path), "w") as container:
        stream = _stream(container, wanted, frames.first[0])
        while frames.first is not None and frames.first[1] < segment.end:
            frame, at = frames.first
            picture = av.VideoFrame.from_ndarray(_even(frame), "rgb24")
            latest = max(latest + 1, round((at - begun) / _TICK))
            picture.pts, picture.time_base = latest, _TICK
            container.mux(stream.encode(picture))
            frames.advance()
        container.mux(stream.encode(None))


def _stream(container: OutputContainer, codec: str, frame: av.VideoFrame) -> VideoStream:
    options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {}
    stream = cast("VideoStream", container.add_stream(codec, rate=25, options=options))
    picture = _even(frame)
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt, stream.codec_context.time_base = "yuv420p", _TICK
    if codec == "mpeg4":
        stream.bit_rate = 4_000_000
    return stream


def _even(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """The picture as it is shown, of even height and width, as encoders want it."""
    picture = turned(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), frame)
    height, width = (side - side % 2 for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])
