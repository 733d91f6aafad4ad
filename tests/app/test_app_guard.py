"""What stands before the page, asked directly as a server would ask it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs gradio: a2m2_zoo[app]")

from a2m2_zoo.app.guard import Guard
from a2m2_zoo.app.headers import PublicOrigin
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.serve import _one_line, ending_orderly, is_loopback, listening
from a2m2_zoo.app.store import ANYONE, Store, held_bytes
from a2m2_zoo.errors import ArgumentError

LOCAL = frozenset({"127.0.0.1", "localhost"})
JOIN = json.dumps({"session_hash": "a", "fn_index": 1, "data": []}).encode()


class Page:
    """Stands for Gradio: remembers what it was asked."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        self.received.append({**scope, "body": body})
        headers = [(b"x-frame-options", b"ALLOW")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"page"})


class Door:
    """A guard with a page behind it, asked directly."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: frozenset[str] | None = LOCAL,
        limits: AppLimits | None = None,
        public: str | None = None,
    ) -> None:
        self.page = Page()
        self.store = Store(folder, limits or AppLimits())
        origin = None if public is None else PublicOrigin.parse(public)
        self.guard = Guard(self.page, store=self.store, hosts=hosts, public=origin)
        self.headers: list[tuple[bytes, bytes]] = []

    def ask(
        self, path: str, method: str = "GET", *pieces: bytes, query: str = "", **headers: str
    ) -> int:
        given = {"host": "127.0.0.1:7860", **headers}
        raw = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in given.items()]
        return self.ask_raw(path, method, raw, *pieces, query=query)

    def ask_raw(
        self,
        path: str,
        method: str,
        headers: list[tuple[bytes, bytes]],
        *pieces: bytes,
        query: str = "",
    ) -> int:
        sent: list[dict[str, Any]] = []
        left = list(pieces or [b""])
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()  # as a server does until somebody leaves
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        self.headers = sent[0]["headers"]
        self.body = b"".join(m.get("body", b"") for m in sent[1:])
        return int(sent[0]["status"])

    def upload(self, data: bytes, *, step: int = 1 << 16, **headers: str) -> int:
        """Send one file in pieces, its length not announced unless ``headers`` do."""
        form = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
            + data
            + b"\r\n--x--\r\n"
        )
        pieces = [form[i : i + step] for i in range(0, len(form), step)]
        kind = {"content_type": "multipart/form-data; boundary=x", **headers}
        return self.ask("/gradio_api/upload", "POST", *pieces, **kind)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/assets/index-x.js", 200),
        ("GET", "/static/fonts/a/b.woff2", 200),
        ("GET", "/config", 200),
        ("GET", "/gradio_api/heartbeat/abc", 200),
        ("POST", "/gradio_api/queue/join", 200),
        ("POST", "/gradio_api/queue/join/", 200),
        ("GET", "/gradio_api/queue/join", 404),
        ("GET", "/assets/../../etc/passwd", 404),
        ("GET", "/assets/.hidden", 404),
        ("GET", "/assets//etc/passwd", 404),
        ("GET", "/assets/http://example.com/", 404),
        ("GET", "/gradio_api/file=/etc/passwd", 404),
        ("GET", "/gradio_api/file=http://example.com/", 404),
        ("GET", "/gradio_api/file/etc/passwd", 404),
        ("GET", "/gradio_api/proxy=https://example.com/", 404),
        ("GET", "/gradio_api/stream/a/b/c/playlist.m3u8", 404),
        ("GET", "/gradio_api/queue/status", 404),
        ("GET", "/gradio_api/deep_link", 404),
        ("GET", "/gradio_api/dev/reload", 404),
        ("GET", "/gradio_api/vibe-code", 404),
        ("GET", "/gradio_api/mcp/sse", 404),
        ("GET", "/gradio_api/runs", 404),
        ("GET", "/gradio_api/custom_component/a/b/c/d", 404),
        ("GET", "/gradio_api/call/add/1", 404),
        ("GET", "/gradio_api/openapi.json", 404),
        ("GET", "/gradio_api/whatever-comes-next", 404),
        ("GET", "/docs", 404),
        ("GET", "/monitoring", 404),
        ("GET", "/monitoring/summary", 404),
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/api/predict", 404),
        ("POST", "/gradio_api/call/add", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/gradio_api/stream/1", 404),
        ("POST", "/gradio_api/process_recording", 404),
        ("POST", "/gradio_api/vibe-edit", 404),
        ("POST", "/login", 404),
        ("PUT", "/", 404),
        ("DELETE", "/", 404),
        ("OPTIONS", "/gradio_api/upload", 404),
    ],
)
def test_only_what_the_page_needs_is_there(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    door = Door(tmp_path)
    assert door.ask(path, method, JOIN) == status
    assert len(door.page.received) == (status == 200)


def test_the_page_is_asked_in_words_of_our_own(tmp_path: Path) -> None:
    door = Door(tmp_path)
    body = {
        "session_hash": "abc",
        "fn_index": 3,
        "trigger_id": 4,
        "data": [[{"path": "/etc/passwd"}], {"a": {"url": "http://x/", "path": 7}}, "text", 1.5],
        "event_data": {"path": "/etc/passwd"},
        "event_id": "x",
        "batched": True,
        "request": {},
        "oauth_token": "t",
    }
    join = "/gradio_api/queue/join"
    foreign = {"x_forwarded_host": "evil", "forwarded": "host=evil", "authorization": "x"}
    assert door.ask(join, "POST", json.dumps(body).encode(), query="a=b", **foreign) == 200
    (received,) = door.page.received
    said = json.loads(received["body"])
    assert said.keys() == {"session_hash", "fn_index", "trigger_id", "data", "event_data"}
    nothing = {"path": f"{tmp_path}/none/{{}}", "meta": {"_type": "gradio.FileData"}}
    first, second = ({**nothing, "path": nothing["path"].format(n)} for n in ("passwd", "7"))
    assert said["data"] == [[first], {"a": second}, "text", 1.5]
    assert said["session_hash"] != "abc"
    assert said["event_data"] is None
    assert received["query_string"] == b""
    assert {key for key, _ in received["headers"]} == {b"host", b"content-type", b"content-length"}
    assert door.ask("/", query="deep_link=../../etc", accept="text/html") == 200
    assert door.page.received[-1]["query_string"] == b""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"session_hash": "a", "fn_index": 1, "data": ' + b"[" * 50 + b"]" * 50 + b"}",
        b'{"session_hash": "a", "fn_index": 1, "data": ["\\ud800"]}',
        b'{"session_hash": "a", "fn_index": 1, "data": [NaN]}',
        b'{"session_hash": "a", "fn_index": 1, "data": [' + b"9" * 5000 + b"]}",
        b'{"session_hash": "a", "fn_index": 1e99, "data": []}',
        b'{"session_hash": "a", "fn_index": true, "data": []}',
        b'{"session_hash": "a", "fn_index": 1, "trigger_id": [], "data": []}',
        b'{"session_hash": "a", "fn_index": 1, "data": {"path": "/etc/passwd"}}',
        b'{"session_hash": "../x", "fn_index": 1, "data": []}',
        b'{"session_hash": null, "fn_index": 1, "data": []}',
    ],
)
def test_a_body_that_means_nothing_is_refused(tmp_path: Path, body: bytes) -> None:
    door = Door(tmp_path)
    assert door.ask("/gradio_api/queue/join", "POST", body) == 400
    assert door.page.received == []
    assert b"\n" not in door.body


def test_other_sites_cannot_send_and_other_names_cannot_read(tmp_path: Path) -> None:
    door, wide = Door(tmp_path), Door(tmp_path, hosts=None)
    join = "/gradio_api/queue/join"
    assert door.ask(join, "POST", JOIN, origin="http://127.0.0.1:7860") == 200
    foreign = ("http://example.com", "http://127.0.0.1:1", "http://127.0.0.1", "null", "app://x")
    for other in foreign:
        assert door.ask(join, "POST", JOIN, origin=other) == 403
    for host in ("example.com", "example.com:7860", "127.0.0.1.example.com", "127.0.0.2", ""):
        assert door.ask("/", host=host) == 421
        assert wide.ask("/", host=host) == 200
    assert door.ask("/", host="LOCALHOST:1") == 200


HEADERS = [
    ("host", "["),
    ("host", "[::1"),
    ("host", "[::g]:1"),
    ("host", "a b"),
    ("host", "127.0.0.1:99999"),
    ("host", "127.0.0.1:0"),
    ("host", "127.0.0.1:x"),
    ("host", "user@127.0.0.1"),
    ("host", "127.0.0.1/x"),
    ("host", "127.0.0.1\x00"),
    ("host", "\xe4.example"),
    ("origin", "http://["),
    ("origin", "["),
    ("origin", "http://"),
    ("origin", "http://127.0.0.1:99999"),
    ("origin", "http://127.0.0.1:7860/path"),
    ("origin", "http://a@127.0.0.1:7860"),
    ("origin", "\xff"),
    ("content-length", "x"),
    ("content-length", "-1"),
    ("content-length", "+1"),
    ("content-length", "1.0"),
    ("content-length", ""),
    ("content-length", "1, 1"),
    ("content-length", "\xb2"),
    ("content-type", "["),
    ("content-type", "\xff/\xff"),
    ("content-type", "a/b\x00"),
    ("cookie", "a2m2_visitor=\xff\xfe"),
    ("cookie", "a=\x00"),
    ("forwarded", "for=\xff"),
    ("x-forwarded-host", "\xff"),
    ("x-\xff", "a"),
    ("user-agent", "\x1b[2J"),
]


@pytest.mark.parametrize(("name", "value"), HEADERS)
@pytest.mark.parametrize("hosts", [LOCAL, None])
def test_a_malformed_header_is_400(
    tmp_path: Path, name: str, value: str, hosts: frozenset[str] | None
) -> None:
    door = Door(tmp_path, hosts=hosts)
    given = {b"host": b"127.0.0.1:7860", name.encode("latin-1"): value.encode("latin-1")}
    for path, method in (
        ("/", "GET"),
        ("/gradio_api/upload", "POST"),
        ("/gradio_api/queue/join", "POST"),
    ):
        if method == "GET" and name == "origin":
            continue
        assert door.ask_raw(path, method, list(given.items()), JOIN) == 400
    assert door.page.received == []


@pytest.mark.parametrize("name", ["host", "origin", "content-length", "content-type", "range"])
def test_a_header_that_is_there_twice_is_400(tmp_path: Path, name: str) -> None:
    host = [(b"host", b"127.0.0.1:7860")] if name != "host" else []
    twice = [(name.encode(), value) for value in (b"1", b"2")]
    door = Door(tmp_path, hosts=None)
    assert door.ask_raw("/gradio_api/upload", "POST", [*host, *twice], b"") == 400


def test_forwarded_headers_and_strange_cookies_are_not_believed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for name, value in (
        ("forwarded", "for=[;host=evil"),
        ("x_forwarded_host", "["),
        ("x_forwarded_proto", "file"),
        ("x_forwarded_for", "a, b"),
        ("cookie", "a2m2_visitor=short; ;;= ="),
    ):
        assert door.ask("/", **{name: value}) == 200
        assert {key for key, _ in door.page.received[-1]["headers"]} == {b"host"}


def test_a_page_behind_a_proxy_knows_its_origin(tmp_path: Path) -> None:
    upload, join = "/gradio_api/upload", "/gradio_api/queue/join"
    door = Door(tmp_path, public="https://clips.example.org")
    inner, outer = "127.0.0.1:7860", "clips.example.org"
    for host in (inner, outer, f"{outer}:443"):  # as proxies pass it on or do not
        for origin in ("https://clips.example.org", "https://clips.example.org:443"):
            assert door.upload(b"clip", host=host, origin=origin) == 200
            assert door.ask(join, "POST", JOIN, host=host, origin=origin) == 200
        for other in ("http://clips.example.org", "https://example.org", "null"):
            if other != f"http://{host}":
                assert door.upload(b"clip", host=host, origin=other) == 403
    assert door.ask("/", host="evil.example") == 421
    assert door.ask(upload, "POST", b"", host="evil.example") == 421
    wide = Door(tmp_path, hosts=None, public="https://clips.example.org")
    assert wide.upload(b"clip", host="evil.example", origin="http://evil.example") == 403
    assert door.ask("/", host=outer) == 200
    cookie = dict(door.headers)[b"set-cookie"].decode()
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
    alone = Door(tmp_path)
    assert alone.upload(b"clip", origin="https://clips.example.org") == 403
    assert b"--public-origin" in alone.body


def test_a_path_below_the_public_origin_is_stripped_or_not(tmp_path: Path) -> None:
    door = Door(tmp_path, public="https://example.org/clips/")
    for path in ("/clips/config", "/config"):
        assert door.ask(path) == 200
        assert door.page.received[-1]["path"] == "/config"
    assert door.ask("/clips") == 307
    assert dict(door.headers)[b"location"] == b"/clips/"
    assert door.ask("/clipsconfig") == 404
    assert door.ask("/clips/gradio_api/file=/etc/passwd") == 404
    assert door.ask("/clips/", cookie="other=1") == 200
    assert b"; Path=/clips; " in dict(door.headers)[b"set-cookie"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "clips.example.org",
        "ftp://x.org",
        "https://",
        "https://[",
        "https://a b",
        "https://u@x.org",
        "https://x.org:0",
        "https://x.org?a",
        "https://x.org/#a",
        "https://x.org/a/../b",
        "https://x.org//a",
        'https://x.org/"',
        "null",
    ],
)
def test_a_public_origin_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ArgumentError, match="the public origin is") as caught:
        PublicOrigin.parse(text)
    assert "\n" not in str(caught.value)


def test_the_command_refuses_a_public_origin_that_is_none() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "a2m2_zoo", "app", "--public-origin", "clips.example.org"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode != 0
    assert "the public origin is 'clips.example.org'" in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr


def test_what_is_sent_is_bounded(tmp_path: Path) -> None:
    door = Door(tmp_path, limits=AppLimits(upload_mb=1, held_mb=2))
    half = bytes(1 << 19)
    assert door.upload(half) == 200  # its length was not announced
    assert door.upload(bytes((1 << 20) + 1)) == 413
    assert b"a.mp4 is larger than 1 MB" in door.body
    for length, status in ((f"{1 << 19}", 200), (f"{2 << 20}", 413), ("9" * 5000, 413)):
        assert door.upload(half, content_length=length) == status
    assert held_bytes(tmp_path) == 2 * len(half)
    assert door.upload(bytes(1 << 20)) == 413  # cut where it begins to be too much
    assert b"holds 2 MB" in door.body
    assert door.upload(half) == 200
    assert door.upload(half) == 413
    assert held_bytes(tmp_path) == 3 * len(half)
    for path in list(tmp_path.glob("*/a.mp4")):
        door.store.forget(path)
    assert door.upload(bytes(1 << 20)) == 200  # all room was given back
    pieces = [bytes(1 << 20)] * 5
    assert door.ask("/gradio_api/queue/join", "POST", *pieces) == 413
    assert door.ask("/gradio_api/queue/join", "POST", content_length="5000000") == 413


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b"x"),
        ("text/plain", b"x"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=x; charset=none-such", b"x"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"x"),
        ("multipart/form-data; boundary=x", b"--y\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: \xff\r\n\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nA\r\n--x--\r\n',
        ),
    ],
)
def test_a_form_that_is_none_is_400(tmp_path: Path, kind: str, body: bytes) -> None:
    door = Door(tmp_path)
    assert door.ask("/gradio_api/upload", "POST", body, content_type=kind) == 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("wave.mp4", "wave.mp4"),
        ("../../wave.mp4", "wave.mp4"),
        ("C:\\clips\\wave.mp4", "wave.mp4"),
        ("..", "clip"),
        (".bashrc", "bashrc"),
        ("a\x00\n\x1b[2J\u202e.mp4", "a[2J.mp4"),
        ("w%2e%2e#?.mp4", "w2e2e.mp4"),
        ("\ud800", "clip"),
        ("洗手.mp4", "洗手.mp4"),
        ("é" * 500 + ".mp4", "é" * 58 + ".mp4"),
        ("." + "x" * 500, "clip"),
        ("x." + "y" * 500, "clip"),
    ],
)
def test_the_name_of_what_was_sent_can_do_no_harm(tmp_path: Path, name: str, kept: str) -> None:
    store = Store(tmp_path, AppLimits())
    path = store.keep(ANYONE, name, io.BytesIO(b"clip"))
    assert path.name == kept
    assert path.parent.parent == tmp_path
    assert path.read_bytes() == b"clip"


def test_what_was_sent_is_given_back_to_its_visitor_only(tmp_path: Path) -> None:
    door = Door(tmp_path)
    her, his = f"a2m2_visitor={'a' * 32}", f"a=b; a2m2_visitor={'b' * 32}; c=d"
    assert door.upload(b"0123456789", cookie=her) == 200
    (place,) = json.loads(door.body)
    url = f"/gradio_api/file={place}"
    assert door.ask(url, cookie=her, range="bytes=2-4") == 206
    assert door.body == b"234"
    assert dict(door.headers)[b"content-type"] == b"video/mp4"
    for cookie in (his, ""):
        assert door.ask(url, cookie=cookie) == 404
    for other in (place + "/", place + "/../a.mp4", place.replace("/sent", "//sent"), place[1:]):
        assert door.ask(f"/gradio_api/file={other}", cookie=her) == 404
    for bad in ("bytes=9-2", "bytes=a-b", "bytes=-", "x", "bytes=99-"):
        assert door.ask(url, cookie=her, range=bad) in (200, 400, 416)
    assert door.page.received == []


def test_a_sent_page_is_saved_and_not_shown(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for name in ("a.html", "a.svg", "a.xml", "a.js", "a"):
        path = door.store.keep(ANYONE, name, io.BytesIO(b"<script>"))
        assert door.ask(f"/gradio_api/file={path}") == 200
        headers = dict(door.headers)
        assert headers[b"content-type"] == b"application/octet-stream"
        assert headers[b"content-disposition"].startswith(b"attachment")


def test_every_answer_carries_the_policy_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for path in ("/", "/nothing"):
        door.ask(path)
        policies = [value for key, value in door.headers if key == b"content-security-policy"]
        assert len(policies) == 1
        assert b"default-src 'self'" in policies[0]
        assert b"http" not in policies[0]
        assert [v for k, v in door.headers if k == b"x-frame-options"] == [b"DENY"]


def test_a_request_that_breaks_off_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("test of one line")
    log.addFilter(_one_line)
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log.error("Exception in %s\n", "ASGI application", exc_info=error)
    log.error("as it is: %s", "x")
    broken, other = (caplog.handler.format(record) for record in caplog.records)
    assert "a request broke off: ValueError('two\\nlines')" in broken
    assert "\n" not in broken
    assert other.endswith("as it is: x")


def test_the_address() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("example.com")
    with listening("127.0.0.1", 0) as channel:
        port = channel.getsockname()[1]
        with pytest.raises(ArgumentError, match=f"port {port}"), listening("127.0.0.1", port):
            pass
    with pytest.raises(ArgumentError, match="cannot listen"), listening("192.0.2.1", 0):
        pass


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_what_asks_the_process_to_end_unwinds_it(name: str) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"no {name} here")
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught, ending_orderly():
            signal.raise_signal(number)
        assert caught.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
