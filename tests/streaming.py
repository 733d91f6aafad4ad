"""Streams on loopback: MPEG-TS over HTTP, over UDP, and over RTSP, each by a server of its own protocol."""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np

_PACKET = 188
_NOTHING = b"\x47\x1f\xff\x10" + bytes(_PACKET - 4)  # a packet that fills a gap


def transport_stream(path: Path, frames: int = 60, *, rate: int = 15, speed: int = 3) -> bytes:
    """A moving square as MPEG-TS with a key frame every five frames."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=rate, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.gop_size = 5
        texture = np.random.default_rng(0).integers(60, 255, (24, 24, 3), dtype=np.uint8)
        for i in range(frames):
            picture = np.full((96, 128, 3), 40, np.uint8)
            x = (i * speed) % 104
            picture[30:54, x : x + 24] = texture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


@dataclass
class Streaming:
    """What a server does, to be changed while it runs.

    Attributes:
        address: Where it is.
        parts: What it sends to each connection in turn; to later ones the last.
        pace: Bytes a second.
        closed: It takes no connection.
        word: What it asks for, as HTTP writes a name and a password.
        asked: Connections so far.
        headers: What was asked for, by connection.
    """

    parts: list[bytes]
    address: str = ""
    pace: float = 1e9
    closed: bool = False
    word: str = ""
    asked: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)

    def next_part(self) -> bytes:
        self.asked += 1
        return self.parts[min(self.asked, len(self.parts)) - 1]

    def pieces(self, size: int) -> Iterator[bytes]:
        """What goes to the next connection, no faster than the pace."""
        part = self.next_part()
        begun = time.monotonic()
        for at in range(0, len(part), size):
            time.sleep(max(0.0, begun + at / self.pace - time.monotonic()))
            yield part[at : at + size]


@contextmanager
def _served(server: Any) -> Iterator[int]:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def over_http(*parts: bytes) -> Iterator[Streaming]:
    """A server that sends MPEG-TS to whoever asks, without saying how long it is."""
    streaming = Streaming(list(parts))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            streaming.headers.append(dict(self.headers))
            if streaming.closed:
                self.send_error(503)
                return
            if streaming.word and self.headers.get("Authorization") != f"Basic {streaming.word}":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="live"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.send_header("Connection", "close")
            self.end_headers()
            if "Python" in self.headers.get("User-Agent", ""):
                return  # looked at what it is; FFmpeg has another name
            with suppress(ConnectionError):
                for piece in streaming.pieces(10 * _PACKET):
                    self.wfile.write(piece)

    with _served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        streaming.address = f"http://127.0.0.1:{port}/live"
        yield streaming


@contextmanager
def over_rtsp(*parts: bytes) -> Iterator[Streaming]:
    """An RTSP server: MPEG-TS in RTP (RFC 2250), interleaved in the connection (RFC 2326)."""
    streaming = Streaming(list(parts))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                method = line.split()[0].decode()
                headers = {}
                while more := self.rfile.readline().decode().strip():
                    name, _, value = more.partition(":")
                    headers[name.lower()] = value.strip()
                streaming.headers.append(headers)
                if not self._answer(method, headers):
                    return

        def _answer(self, method: str, headers: dict[str, str]) -> bool:
            said = {"CSeq": headers.get("cseq", "0")}
            body = b""
            if method == "DESCRIBE":
                body = (
                    b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=live\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                    b"m=video 0 RTP/AVP 33\r\na=control:track\r\n"
                )
                said |= {"Content-Type": "application/sdp", "Content-Length": str(len(body))}
            elif method == "SETUP":
                said |= {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1"}
            elif method == "PLAY":
                said["Session"] = "1"
            else:
                said["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
            head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            with suppress(ConnectionError):
                self.wfile.write(f"RTSP/1.0 200 OK\r\n{head}\r\n".encode() + body)
                if method == "PLAY":
                    self._play()
            return method not in ("PLAY", "TEARDOWN")

        def _play(self) -> None:
            for number, piece in enumerate(streaming.pieces(7 * _PACKET)):
                clock = int(time.monotonic() * 90_000) & 0xFFFFFFFF
                packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, clock, 1) + piece
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with _served(Server(("127.0.0.1", 0), Handler)) as port:
        streaming.address = f"rtsp://127.0.0.1:{port}/live"
        yield streaming


def _heard(sender: socket.socket) -> bool:
    """Whether somebody listens by now; of a datagram that nobody takes the next one is told."""
    try:
        for _ in range(2):
            sender.send(_NOTHING)
    except ConnectionError:
        return False
    return True


@contextmanager
def over_udp(data: bytes, *, pace: float, leave_out: tuple[int, int] = (0, 0)) -> Iterator[str]:
    """Somebody who sends datagrams of MPEG-TS from when one listens; some packets get lost."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            while not _heard(sender):
                if over.wait(0.02):
                    return
            begun = time.monotonic()
            for at in range(0, len(data), 7 * _PACKET):
                if over.wait(max(0.0, begun + at / pace - time.monotonic())):
                    return
                if not leave_out[0] <= at < leave_out[1]:
                    with suppress(ConnectionError):
                        sender.send(data[at : at + 7 * _PACKET])

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield f"udp://127.0.0.1:{port}"
    finally:
        over.set()
        thread.join()
