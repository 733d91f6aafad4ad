"""What stands before the page, asked directly as a server would ask it."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import pytest

from a2m2_zoo.app.guard import Guard
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.serve import _one_line, ending_orderly, is_loopback, listening
from a2m2_zoo.errors import ArgumentError

LOCAL = frozenset({"127.0.0.1", "localhost"})


async def _page(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"x-frame-options", b"ALLOW")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"page"})


def ask(
    folder: Path,
    path: str,
    method: str = "GET",
    *,
    hosts: frozenset[str] | None = LOCAL,
    limits: AppLimits | None = None,
    **headers: str,
) -> tuple[int, dict[bytes, bytes]]:
    guard = Guard(_page, limits=limits or AppLimits(), files=folder, hosts=hosts)
    given = {"host": "127.0.0.1:7860", **headers}
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/assets/index.js", 200),
        (
            "GET",
            "/gradio_api/file=/tmp/a.png",
            200,
        ),  # whether that file is ours is the page's question
        ("GET", "/gradio_api/file=http://example.com/", 404),
        ("GET", "/gradio_api/proxy=https://example.com/", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
        ("GET", "/monitoring", 404),
        ("POST", "/gradio_api/queue/join", 200),
        ("POST", "/gradio_api/upload", 200),
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/call/add", 404),
        ("POST", "/gradio_api/component_server", 404),
        ("POST", "/login", 404),
        ("DELETE", "/", 404),
    ],
)
def test_only_what_the_page_needs_is_there(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    assert ask(tmp_path, path, method, content_length="2")[0] == status


def test_other_sites_cannot_send_and_other_names_cannot_read(tmp_path: Path) -> None:
    join = "/gradio_api/queue/join"
    own = {"content_length": "2", "origin": "http://127.0.0.1:7860"}
    assert ask(tmp_path, join, "POST", **own)[0] == 200
    for other in ("http://example.com", "http://127.0.0.1:1", "null"):
        assert ask(tmp_path, join, "POST", **{**own, "origin": other})[0] == 403
    for host in ("example.com", "example.com:7860", "127.0.0.1.example.com", ""):
        assert ask(tmp_path, "/", host=host)[0] == 421
        assert ask(tmp_path, "/", host=host, hosts=None)[0] == 200
    assert ask(tmp_path, "/", host="localhost:1")[0] == 200


def test_what_is_sent_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "held.mp4").write_bytes(bytes(1 << 19))
    limits = AppLimits(upload_mb=1, held_mb=1)
    for length, status in (("500000", 200), ("600000", 413), ("x", 411), ("-1", 411), ("", 411)):
        found = ask(tmp_path, "/gradio_api/upload", "POST", limits=limits, content_length=length)
        assert found[0] == status
    assert ask(tmp_path, "/gradio_api/queue/join", "POST", content_length="5000000")[0] == 413


def test_every_answer_carries_the_policy_once(tmp_path: Path) -> None:
    for path in ("/", "/nothing"):
        headers = ask(tmp_path, path)[1]
        policy = headers[b"content-security-policy"].decode()
        assert "default-src 'self'" in policy
        assert "http" not in policy
        assert headers[b"x-frame-options"] == b"DENY"


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
