"""Streams by their address: opened by FFmpeg within bounds, opened again when they break off."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from netrc import NetrcParseError, netrc
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

import av
from av.error import FFmpegError

from a2m2_zoo._utils.remote.addresses import RemotePath, check_secrets, place
from a2m2_zoo._utils.remote.systems import facts_of
from a2m2_zoo.errors import DependencyError, VideoError, VideoLimitError
from a2m2_zoo.spotting.frames import VideoFrames, live
from a2m2_zoo.video import Limits
from a2m2_zoo.video.container import FORMATS, from_address, reason

if TYPE_CHECKING:
    from av.container import InputContainer

#: Seconds without a frame after which a stream is given up.
PATIENCE = 30.0

_OPEN_SECONDS, _READ_SECONDS = 10.0, 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0
_CLOSED = (
    "(Input/output error)"  # what FFmpeg says where a server sends without a length, and closes
)
_SILENT = "Immediate exit requested"  # what it says when it was told to wait no longer
_LEAP = 0.5  # seconds from one frame to the next from which on something is missing
_QUIET = 10.0  # seconds between two lines about packets
# What FFmpeg may open for each. A stream cannot lead to a file, a playlist or another protocol.
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsp,rtsps,rtp,udp,tcp,tls",
    "udp": "udp",
    "http": "http,tcp",
    "https": "https,tcp,tls",
}
_ADDRESS = re.compile(rf"({'|'.join(_PROTOCOLS)})://[^/]", re.IGNORECASE)

_log = logging.getLogger(__name__)


def is_stream(source: str) -> bool:
    """Whether it is the address of a stream; one of a web server is, unless it is that of a file.

    Raises:
        VideoError: The web server has nothing there, or cannot be asked.
        ArgumentError: A name, a password or a query stands in it.
    """
    if not _ADDRESS.match(source):
        return False
    check_secrets(source)
    path = place(source)
    if not isinstance(path, RemotePath):
        return True
    try:
        with from_address(source):
            return facts_of(path).size is None
    except DependencyError:  # FFmpeg needs none for it
        return True


class NetworkFrames:
    """Every frame of a stream that arrives, with its time; it is opened again when it breaks off.

    What is lost is said in the log ``a2m2_zoo.spotting.network``, which goes to stderr where nobody listens.
    A name and a password for the machine are taken from ~/.netrc.

    Args:
        address: Where it is; rtsp, rtsps, udp, http or https.
        limits: Its ``megapixels`` bound the frames; length and time are not bounded.
        patience: Seconds without a frame after which it is given up; 0 ends where it breaks off.

    Attributes:
        seconds: None: nobody knows how long it will be.
    """

    seconds = None

    def __init__(
        self, address: str, limits: Limits | None = None, *, patience: float = PATIENCE
    ) -> None:
        check_secrets(address)
        self._address, self._limits = address, limits or Limits()
        self._patience = patience
        self._opened: VideoFrames | None = self._open()

    def close(self) -> None:
        """Let go of the connection."""
        if self._opened is not None:
            self._opened.close()

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames and their times in seconds from the first one; after a break the time goes on.

        Raises:
            VideoError: It was given up.
            VideoLimitError: A frame is too large.
        """
        begun = seen = time.monotonic()
        last: float | None = None
        wait, why = _FIRST_WAIT, ""
        while True:
            if self._opened is not None:
                offset: float | None = None
                try:
                    for frame, at in self._frames(self._opened):
                        seen = time.monotonic()
                        if last is None:
                            begun = seen
                        if offset is None:
                            offset = 0.0 if last is None else max(seen - begun, last) - at
                            if last is not None:
                                self._say(
                                    f"it broke off ({why}), {offset + at - last:.1f} s are lost"
                                )
                        wait, last = _FIRST_WAIT, offset + at
                        yield frame, last
                        seen = time.monotonic()  # whoever took the frame may be slow
                    why = "it ended"
                except VideoLimitError:
                    raise
                except VideoError as error:
                    why = self._why(error)
                    if self._address.lower().startswith("http") and _CLOSED in why:
                        why = "it ended"
                    elif not self._patience:
                        raise VideoError(f"{self._address}: {why}") from None
                if not self._patience:
                    return
            if time.monotonic() - seen + wait > self._patience:
                gone = time.monotonic() - seen
                raise VideoError(
                    f"{self._address}: no frame came for {gone:.0f} s ({why}): it is given up"
                )
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
            try:
                self._opened = self._open()
            except VideoLimitError:
                raise
            except VideoError as error:
                self._opened, why = None, self._why(error)

    def _frames(self, opened: VideoFrames) -> Iterator[tuple[av.VideoFrame, float]]:
        """The frames of one connection."""
        before: float | None = None
        refused, said = 0, 0.0
        with closing(opened):
            for frame, at in opened:
                if before is None:
                    refused = opened.refused  # of pictures that were on their way when we came
                elif not -_LEAP < at - before < _LEAP:
                    self._say(f"{abs(at - before):.1f} s without frames before {at:.1f} s")
                if opened.refused > refused and time.monotonic() - said > _QUIET:
                    self._say(
                        f"{opened.refused - refused} packet(s) are lost or damaged before {at:.1f} s"
                    )
                    refused, said = opened.refused, time.monotonic()
                before = at
                yield frame, at

    def _why(self, error: VideoError) -> str:
        said = str(error).removeprefix(f"{self._address}: ")
        return said.replace(_SILENT, f"nothing came for {_READ_SECONDS:g} s")

    def _say(self, what: str) -> None:
        _log.warning("%s: %s", self._address, what)

    def _open(self) -> VideoFrames:
        scheme = urlsplit(self._address).scheme.lower()
        options = {"protocol_whitelist": _PROTOCOLS[scheme], "format_whitelist": FORMATS}
        if scheme.startswith("rtsp"):
            options |= {"rtsp_flags": "prefer_tcp", "format_whitelist": f"rtsp,rtp,sdp,{FORMATS}"}
        if scheme == "udp":
            options |= {"overrun_nonfatal": "1", "fifo_size": "100000"}
        try:
            container: InputContainer = av.open(
                _with_login(self._address),
                "r",
                container_options=options,
                timeout=(_OPEN_SECONDS, _READ_SECONDS),
                metadata_errors="ignore",
            )
        except (FFmpegError, ValueError) as error:
            said = reason(error).replace(_SILENT, f"nothing came for {_OPEN_SECONDS:g} s")
            raise VideoError(
                f"{self._address}: cannot be opened ({said}): check that it runs and can be "
                "reached, as MPEG-TS, Matroska or, by RTSP, H.264"
            ) from None
        return live(container, self._address, self._limits)


def _with_login(address: str) -> str:
    """The address as FFmpeg wants it: with the name and the password of ~/.netrc, if there are any."""
    parts = urlsplit(address)
    try:
        found: Any = netrc(os.environ.get("NETRC")).authenticators(parts.hostname or "")
    except (OSError, NetrcParseError):
        found = None
    if not found or parts.scheme.lower() == "udp":
        return address
    login = ":".join(quote(part or "", safe="") for part in (found[0], found[2]))
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc}"))
