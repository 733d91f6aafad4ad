"""Whether a file holds as much as its header announces."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

# Containers whose header has a length for every stream, and those that have one for the whole. Elsewhere it
# is reckoned from what is there.
_BY_STREAM, _BY_FILE = ("mov,", "avi", "mxf"), ("matroska,", "flv", "asf")


class Extent:
    """Follows the packets of all streams of a file and compares their ends with its header.

    Args:
        container: The file.
        stream: Its video.

    Attributes:
        announced: Length in seconds by the header, of the video or else of the longest stream; None if
            it has no opinion.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._index = stream.index
        self._tick = stream.time_base or Fraction(1, 1000)
        self._first: int | None = None
        self._last: int | None = None
        self._end = 0
        self._others = Fraction(0)
        self._count = 0
        self.announced: float | None = None
        form, own = container.format.name, stream.duration
        self._alone = form.startswith(_BY_STREAM) and bool(own)
        if self._alone and own:
            self.announced = float(own * self._tick)
        elif form.startswith((*_BY_STREAM, *_BY_FILE)) and container.duration:
            self.announced = container.duration / 1e6

    def see(self, packet: Packet[VideoStream]) -> None:
        """Take note of a packet, of whatever stream."""
        at = packet.pts if packet.pts is not None else packet.dts
        if at is None:
            return
        length = packet.duration or 0
        if packet.stream_index != self._index:
            self._others = max(self._others, (at + length) * Fraction(packet.time_base or 0))
            return
        self._count += 1
        self._first = at if self._first is None else min(self._first, at)
        self._last = at if self._last is None else max(self._last, at)
        self._end = max(self._end, at + length)

    def missing(self, there: float) -> tuple[float, float] | None:
        """Return the length announced and the length found, in seconds, if much is missing.

        Args:
            there: Length of the video where its packets have no times.
        """
        if self.announced is None:
            return None
        mean = there / max(self._count, 1)
        ends = there
        if self._first is not None and self._last is not None:
            span = (self._last - self._first) * self._tick
            mean = float(span / max(self._count - 1, 1))
            there = float(max(self._end - self._first, 0) * self._tick)
            there = max(there, float(span) + mean)
            # A header may count from zero although nothing begins there, and to the end of the longest
            # stream: where one of them reaches so far, nothing is missing.
            ends = max(there, float(self._end * self._tick))
            ends = ends if self._alone else max(ends, float(self._others))
        if self.announced - ends > max(3 * mean, 0.02 * self.announced):
            return self.announced, there
        return None
