"""Which of a file's video streams is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from av.error import FFmpegError
from av.stream import Disposition

from a2m2_zoo.errors import VideoError
from a2m2_zoo.video.clip import Job

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# A stream with less than this part of the longest one's frames is a row of previews, not another video.
_PREVIEWS = 0.1


@dataclass(frozen=True)
class _Candidate:
    number: int
    frames: int
    pixels: int
    default: bool
    decodes: bool

    def rank(self, most: int) -> tuple[bool, bool, bool, int, int, int]:
        """The largest is read; ``most`` is the length of the longest stream in frames."""
        moves = self.frames > max(1, _PREVIEWS * most)
        return self.decodes, moves, self.default, self.frames, self.pixels, -self.number


def choose(container: InputContainer, job: Job) -> tuple[int, bool]:
    """Choose the one to read among the video streams, and say so where it could as well be another.

    Covers, thumbnails and streams of one picture are none. Of several videos the one that is marked as
    the default is read, else the one with the most frames, else the largest, else the first.

    Args:
        container: A file just opened.
        job: What to call it in messages; its notes hear of the choice.

    Returns:
        The number among the video streams, and whether the file was read to find it.

    Raises:
        VideoError: If there is no moving picture.
    """
    streams = container.streams.video
    moving = [number for number, stream in enumerate(streams) if not stream.disposition & _STILLS]
    if not moving:
        inside = "only a cover picture" if streams else "no video stream"
        sound = " and sound" if streams and container.streams.audio else ""
        sound = ", only sound" if not streams and container.streams.audio else sound
        raise VideoError(f"{job.name}: holds {inside}{sound}: give a file with moving pictures")
    if len(moving) == 1:
        return moving[0], False
    counts = _counts(container, job)
    candidates = [_candidate(number, streams[number], counts) for number in moving]
    most = max(candidate.frames for candidate in candidates)
    best = max(candidates, key=lambda candidate: candidate.rank(most))
    equals = [
        other
        for other in candidates
        if other is not best and other.rank(most)[:3] == best.rank(most)[:3]
    ]
    if equals:
        job.note(
            f"{len(equals) + 1} videos in one file: stream {streams[best.number].index}, of {best.frames} "
            "frames, is the one read"
        )
    return best.number, True


def packets_of_all(container: InputContainer) -> Iterator[Packet[Any]]:
    """Yield the packets of all streams, but for those that first show in the middle of a damaged file.

    PyAV has no stream for the packets of such a one, and its iterator ends with an IndexError.
    """
    while True:
        try:
            yield from container.demux()
        except IndexError:
            continue  # behind the packet that was read
        return


def _counts(container: InputContainer, job: Job) -> dict[int, int]:
    """Return how many packets each stream has."""
    counts: dict[int, int] = {}
    try:
        for packet in packets_of_all(container):
            job.watch.check()
            if packet.size:
                counts[packet.stream_index] = counts.get(packet.stream_index, 0) + 1
    except FFmpegError:  # A file that is cut off: what is there counts.
        pass
    return counts


def _candidate(number: int, stream: VideoStream, counts: dict[int, int]) -> _Candidate:
    context = stream.codec_context
    decodes = cast("object", context) is not None
    return _Candidate(
        number,
        counts.get(stream.index, 0),
        context.width * context.height if decodes else 0,
        bool(stream.disposition & Disposition.default),
        decodes,
    )
