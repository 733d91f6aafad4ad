"""The Hugging Face Hub on loopback: what the real client needs of its protocol, and faults on demand.

    with serving() as hub:
        hub.repos["org/name"] = Repo({COMMIT: {"model.safetensors": data}}, head=COMMIT)
        point_client_at(hub, cache, monkeypatch)      # or environment(hub, cache) for another process

Downloads are here, uploads in ``hub_uploads.Uploads``, which is mixed in.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "loopback" * 4


@dataclass
class Repo:
    """A repository: commit → file name → content."""

    files: dict[str, dict[str, bytes]]
    head: str | None = None
    private: bool = False
    lfs: dict[str, bytes] = field(default_factory=dict)  # uploaded, by sha256


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next request of ``method``.

    Attributes:
        method: GET or HEAD.
        status: Answer with it instead.
        code: ``X-Error-Code`` of that answer.
        headers: More headers of that answer.
        cut: Close the connection after so many bytes of the body.
        reset: Cut by a reset instead of an orderly close.
        flip: Flip a bit of the body.
        announce: Size to announce instead of the true one; None announces the true one.
        drip: Seconds to wait before every kilobyte.
        whole: Ignore the Range header.
        lies: Headers over those of a true answer; None leaves one out.
        endless: Send the body again and again, without saying how long it is.
    """

    method: str = "GET"
    status: int = 0
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    reset: bool = False
    flip: bool = False
    announce: int | None = None
    drip: float = 0.0
    whole: bool = False
    lies: dict[str, str | None] = field(default_factory=dict)
    endless: bool = False


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    host: str


class Hub(ThreadingHTTPServer):
    """The server; ``url`` is what ``HF_ENDPOINT`` takes.

    Attributes:
        repos: Repositories by ``org/name``.
        token: The token that opens private repositories and writes.
        faults: What goes wrong next, in this order for each method.
        seen: All requests that came.
        cdn: Answer downloads with a redirect to another host, as the Hub does for large files.
        xet: Say that files lie in the Xet storage, of which there is only the door.
        before_get: Called before a body is sent; lets a test hold requests back.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        from hub_uploads import Uploads  # here, since it needs Repo

        class Handler(Uploads, Downloads):  # type: ignore[misc]
            pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.token = TOKEN
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.cdn = False
        self.xet = False
        self.before_get: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, method: str | None = None) -> int:
        """Requests so far."""
        return sum(method in (None, request.method) for request in self.seen)

    def next_fault(self, method: str) -> Fault:
        """The next fault for this method, taken off the queue; one without effect if there is none."""
        with self._lock:
            for index, fault in enumerate(self.faults):
                if fault.method == method:
                    return self.faults.pop(index)
        return Fault(method)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class Downloads(BaseHTTPRequestHandler):
    """HEAD and GET of files and the read-only API."""

    protocol_version = "HTTP/1.1"
    server: Hub

    @property
    def repos(self) -> dict[str, Repo]:
        return self.server.repos

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        seen = Seen(
            self.command,
            path,
            self.headers["Range"],
            self.headers["Authorization"],
            self.headers["Host"],
        )
        self.server.seen.append(seen)
        if match := re.fullmatch(r"/cdn/(.+?)/resolve/([^/]+)/(.+)", path):
            files = self.repos[match[1]].files[match[2]]
            self.send_file(match[3], files[match[3]], match[2], self.server.next_fault("GET"))
        elif match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            self.resolve(*match.groups())
        elif self.server.xet and "/xet-read-token/" in path:
            token = {
                "casUrl": f"{self.server.url}/cas",
                "exp": 1 << 32,
                "accessToken": "short-lived",
            }
            named = zip(
                ("Cas-Url", "Token-Expiration", "Access-Token"), token.values(), strict=True
            )
            self.answer(200, token, headers={f"X-Xet-{key}": str(value) for key, value in named})
        elif match := re.fullmatch(
            r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(?:/.*)?)?", path
        ):
            if (repo := self.readable(match[1])) is not None:
                self.describe(match[1], repo, match[2], match[3])
        else:
            self.answer(404, {"error": "no such page"})

    def readable(self, name: str) -> Repo | None:
        """The repository, or None after the Hub's answer to somebody who may not know of it."""
        repo = self.repos.get(name)
        known = self.headers["Authorization"] == f"Bearer {self.server.token}"
        if repo is not None and (known or not repo.private):
            return repo
        status = 404 if known or (repo is None and not self.headers["Authorization"]) else 401
        self.answer(status, {"error": "Repository not found"}, code="RepoNotFound")
        return None

    def resolve(self, name: str, revision: str, file: str) -> None:
        """A file of a repository, as the Hub would answer."""
        fault = self.server.next_fault(self.command)
        if fault.status:
            self.answer(fault.status, {"error": "as told"}, code=fault.code, headers=fault.headers)
            return
        if (repo := self.readable(name)) is None:
            return
        commit = repo.head if revision == "main" else revision
        if commit is None or commit not in repo.files:
            self.answer(404, {"error": "Invalid rev id"}, code="RevisionNotFound")
        elif file not in repo.files[commit]:
            headers = {"X-Repo-Commit": commit}
            self.answer(404, {"error": "Entry not found"}, code="EntryNotFound", headers=headers)
        elif self.server.cdn:
            data = repo.files[commit][file]
            other = f"http://localhost:{self.server.server_port}/cdn{self.path}?signature=secret"
            headers = {"Location": other, **linked(data, commit, fault), **fault.lies}
            self.answer(302, {}, headers=headers)
        else:
            self.send_file(file, repo.files[commit][file], commit, fault)

    def send_file(self, file: str, data: bytes, commit: str, fault: Fault) -> None:
        """The bytes, whole or in part, with whatever goes wrong."""
        headers = {**linked(data, commit, fault), "Accept-Ranges": "bytes"}
        headers["Content-Disposition"] = f'inline; filename="{file}";'
        if self.server.xet:
            route = f"{self.server.url}/api/models/org/name/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": "ab" * 32, "X-Xet-Refresh-Route": route}
        start, total = 0, len(data) if fault.announce is None else fault.announce
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "")
        if fault.flip:
            data = bytes([*data[:-1], data[-1] ^ 1])
        status = 200
        if wanted and not fault.whole:
            start, status = int(wanted[1]), 206
            if start >= len(data):
                headers = {"Content-Range": f"bytes */{len(data)}"}
                self.answer(416, {"error": "range"}, headers=headers)
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.send_response(status)
        length = {} if fault.endless else {"Content-Length": str(total - start)}
        for key, value in {**headers, **length, **fault.lies}.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with suppress(ConnectionError):
            while fault.endless:
                self.wfile.write(data)
        self.server.before_get()
        body = data[start:total] if fault.cut is None else data[start : start + fault.cut]
        with suppress(ConnectionError):  # the client has given up
            self.send_body(body, fault.drip)
        if fault.cut is not None or len(body) < total - start:
            self.break_off(reset=fault.reset)

    def send_body(self, body: bytes, drip: float) -> None:
        step = 1024 if drip else len(body) or 1
        for at in range(0, len(body), step):
            if drip:
                threading.Event().wait(drip)
            self.wfile.write(body[at : at + step])
            self.wfile.flush()

    def break_off(self, *, reset: bool) -> None:
        """Close under the client's hands; linger of zero seconds makes it a reset."""
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        else:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def describe(self, name: str, repo: Repo, what: str | None, revision: str | None) -> None:
        """``/api/models/NAME``, ``.../revision/REV`` and ``.../tree/REV``."""
        commit = repo.head if revision in (None, "main") else revision
        if commit not in repo.files:
            self.answer(404, {"error": "Invalid rev id"}, code="RevisionNotFound")
            return
        files = repo.files[commit]
        if what == "tree":
            self.answer(200, [entry(file, data) for file, data in files.items()])
            return
        facts = {"_id": "0", "id": name, "modelId": name, "sha": commit, "private": repo.private}
        siblings = [{"rfilename": file, "size": len(data)} for file, data in files.items()]
        self.answer(200, {**facts, "gated": False, "disabled": False, "siblings": siblings})

    def answer(
        self,
        status: int,
        body: Any,
        *,
        code: str = "",
        headers: Mapping[str, str | None] | None = None,
    ) -> None:
        """JSON, or the headers of it."""
        data = json.dumps(body).encode()
        self.send_response(status)
        errors = {"X-Error-Code": code, "X-Error-Message": str(body.get("error"))} if code else {}
        for key, value in {**errors, **(headers or {})}.items():
            if value is not None:
                self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def linked(data: bytes, commit: str, fault: Fault) -> dict[str, str]:
    """What the Hub says of a large file: its ETag is its sha256."""
    size = len(data) if fault.announce is None else fault.announce
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    return {
        "ETag": etag,
        "X-Linked-Etag": etag,
        "X-Linked-Size": str(size),
        "X-Repo-Commit": commit,
    }


def entry(file: str, data: bytes) -> dict[str, Any]:
    """A row of a tree."""
    digest = hashlib.sha256(data).hexdigest()
    large = {"lfs": {"oid": digest, "size": len(data), "pointerSize": 134}}
    oid = hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()
    weights = file.endswith(".safetensors")
    return {
        "type": "file",
        "path": file,
        "size": len(data),
        "oid": oid,
        **(large if weights else {}),
    }


@contextmanager
def serving() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


def environment(hub: Hub | str, cache: Path) -> dict[str, str]:
    """The environment of a process whose client speaks to ``hub`` and keeps its files below ``cache``."""
    mine = {
        k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
    }
    return {
        **mine,
        "HF_ENDPOINT": hub if isinstance(hub, str) else hub.url,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "120",
        "NO_PROXY": "*",
    }


def point_client_at(hub: Hub | str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for this process, whose client may have read its environment long ago."""
    from huggingface_hub import close_session, constants

    url = hub if isinstance(hub, str) else hub.url
    wanted = environment(hub, cache)
    for name in list(os.environ):
        if name not in wanted:
            monkeypatch.delenv(name)
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    for name, value in {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(cache),
        "HF_HUB_CACHE": str(cache / "hub"),
        "HUGGINGFACE_HUB_CACHE": str(cache / "hub"),
        "HF_TOKEN_PATH": str(cache / "token"),
        "HF_STORED_TOKENS_PATH": str(cache / "stored_tokens"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DOWNLOAD_TIMEOUT": 120,
        "AGENT_HARNESSES_PATH": str(cache / "agents.json"),
    }.items():
        if hasattr(constants, name):
            monkeypatch.setattr(constants, name, value)
    close_session()  # connections to a hub of an earlier test
