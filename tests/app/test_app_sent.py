"""What is sent to the page: bounded, named without harm, and given back to who sent it only."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs gradio: a2m2_zoo[app]")

from app.door import Door

from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.store import ANYONE, Store, held_bytes


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
