"""What stands before the page, asked directly as a server would ask it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs gradio: a2m2_zoo[app]")

from app.door import LOCAL, Door

from a2m2_zoo.app.headers import PublicOrigin
from a2m2_zoo.app.serve import names_of
from a2m2_zoo.errors import ArgumentError

JOIN = json.dumps({"session_hash": "a", "fn_index": 1, "data": []}).encode()


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


def test_a_page_for_other_machines_is_called_by_its_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Studio")
    monkeypatch.setattr(socket, "getfqdn", lambda: "studio.example.org")
    join = "/gradio_api/queue/join"
    door = Door(tmp_path, hosts=names_of("0.0.0.0", ["Clips.lan"]))
    own = ("192.0.2.7:7860", "[2001:db8::7]:7860", "localhost", "studio", "STUDIO.example.org")
    for host in (*own, "clips.lan:7860"):
        assert door.ask("/", host=host) == 200
        assert door.ask(join, "POST", JOIN, host=host, origin=f"http://{host}") == 200
    for host in ("evil.example", "evil.example:7860", "192.0.2.7.evil.example", "studio.evil", ""):
        assert door.ask("/", host=host) == 421
        assert door.ask(join, "POST", JOIN, host=host, origin=f"http://{host}") in (400, 421)
    assert door.ask("/", host="evil.example") == 421
    assert b"under the name evil.example; " in door.body
    assert b"--allow-host evil.example" in door.body
    here = Door(tmp_path, hosts=names_of("127.0.0.1", ["clips.lan"]))
    found = [here.ask("/", host=host) for host in ("clips.lan", "127.0.0.1", "192.0.2.7", "studio")]
    assert found == [200, 200, 421, 421]


def test_a_proxy_on_another_machine_calls_the_page_as_it_likes() -> None:
    public = PublicOrigin.parse("https://clips.example.org")
    assert names_of("0.0.0.0", public=public) is None
    said = names_of("0.0.0.0", ["page"], public=public)
    assert said is not None
    assert "page" in said
    assert "evil.example" not in said
    near = names_of("127.0.0.1", public=public)
    assert near is not None
    assert "evil.example" not in near


@pytest.mark.parametrize("text", ["", "clips.lan:7860", "http://clips.lan", "a b", "*", "[::g]"])
def test_a_name_to_allow_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ArgumentError, match="the host to allow is") as caught:
        names_of("0.0.0.0", [text])
    assert "\n" not in str(caught.value)


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


def test_every_answer_carries_the_policy_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for path in ("/", "/nothing"):
        door.ask(path)
        policies = [value for key, value in door.headers if key == b"content-security-policy"]
        assert len(policies) == 1
        assert b"default-src 'self'" in policies[0]
        assert b"http" not in policies[0]
        assert [v for k, v in door.headers if k == b"x-frame-options"] == [b"DENY"]
