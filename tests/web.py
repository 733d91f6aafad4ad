"""Web servers and buckets on loopback, and what goes wrong with them on demand."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from a2m2_zoo._utils.remote import reading, systems


@dataclass
class Web:
    """Files on a web server, which can be changed while it runs.

    Attributes:
        files: Path, without the first slash → content.
        address: Where it is.
        ranges: It gives parts.
        sizes: It says how long an answer is.
        stamped: It says which version an answer is of.
        cut: Connections are closed after so many bytes of an answer, as often as ``cuts`` says.
        status: What is answered to everything.
        word: Name and password that it asks for.
        silent: Until it is set, nothing is sent after the head of an answer.
        endless: Bodies never end.
        change: Called before each answer to GET.
        seen: Method, path and range of each request.
    """

    files: dict[str, bytes]
    address: str = ""
    ranges: bool = True
    sizes: bool = True
    stamped: bool = True
    cut: int | None = None
    cuts: int = 1 << 30
    status: int | None = None
    word: tuple[str, str] | None = None
    silent: threading.Event | None = None
    endless: bool = False
    change: Any = None
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Web]:
    """A web server on loopback."""
    web = Web(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            if web.change is not None:
                web.change()
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            wanted = self.headers.get("Range")
            web.seen.append((self.command, self.path, wanted))
            data = web.files.get(self.path.lstrip("/"))
            token = web.word and base64.b64encode(":".join(web.word).encode()).decode()
            status = web.status or (404 if data is None else 200)
            if token and self.headers.get("Authorization") != f"Basic {token}":
                status = 401
            if status >= 400:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = data or b""
            headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'} if web.stamped else {}
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "") if web.ranges else None
            if part:
                start, end = int(part[1]), min(int(part[2] or len(data)), len(data) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
                data, status = data[start : end + 1], 206
            self.send_response(status)
            if web.sizes:
                headers["Content-Length"] = str(len(data))
            else:
                headers["Connection"] = "close"
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self._send(data)
            self.close_connection = self.close_connection or not web.sizes

        def _send(self, data: bytes) -> None:
            with suppress(ConnectionError):
                if web.silent is not None:
                    self.wfile.flush()
                    web.silent.wait(300)
                while web.endless:
                    self.wfile.write(bytes(1 << 16))
                if web.cut is not None and web.cuts and len(data) > web.cut:
                    web.cuts -= 1
                    data = data[: web.cut]
                    self.close_connection = True
                self.wfile.write(data)

    with _running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        web.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield web


@contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Bucket:
    """moto's S3 server with a bucket, ``s3://clips``."""

    def __init__(self, address: str) -> None:
        import boto3

        self.address = address
        # What one server was given, others of the same process have, too.
        request = urllib.request.Request(f"{address}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()
        self._client = boto3.client(
            "s3", endpoint_url=address, region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        self._client.create_bucket(Bucket="clips")

    def put(self, key: str, content: bytes) -> str:
        self._client.put_object(Bucket="clips", Key=key, Body=content)
        return f"s3://clips/{key}"

    def put_folder(self, folder: Path, key: str) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{key}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"s3://clips/{key}"

    def get(self, key: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket="clips", Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None

    def ask_for_credentials(self, *, after: int) -> None:
        """From so many requests on, names are looked up, and nobody has one; a large number for never."""
        request = urllib.request.Request(
            f"{self.address}/moto-api/reset-auth",
            data=str(after).encode(),
            method="POST",
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(request).close()

    def close(self) -> None:
        self._client.close()


@contextmanager
def bucket() -> Iterator[Bucket]:
    """A bucket on loopback."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    made = Bucket(f"http://{host}:{port}")
    try:
        yield made
    finally:
        made.close()
        server.stop()


def environment(bucket: Bucket) -> dict[str, str]:
    """What a process needs to reach it."""
    return {
        "AWS_ENDPOINT_URL_S3": bucket.address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def forget() -> None:
    """Clients and contents are made anew, as in a new process."""
    systems._system.cache_clear()
    reading._held.clear()
    with suppress(ImportError):
        import fsspec

        for kind in {fsspec.get_filesystem_class(name) for name in ("http", "s3", "hf")}:
            kind.clear_instance_cache()


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow at once."""
    monkeypatch.setattr(systems, "_WAITS", (0.01, 0.02))
