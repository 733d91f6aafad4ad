"""What goes wrong with clips at addresses is one line, which shows no secret."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from makers import draw_video
from remote.alike import SPEC, same
from web import Bucket, Web, forget

from a2m2_zoo._utils.remote import systems
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.data.index import find_clips
from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    VideoError,
    VideoLimitError,
    VideoNotFoundError,
)
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.video import Limits, read_clip, read_clips
from a2m2_zoo.video.content import content_hash


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_always_breaks_off_is_said(web: Web, ranges: bool) -> None:
    web.cut, web.ranges = 100, ranges
    with pytest.raises(VideoError, match=r"http://.*/0\.mp4: .* broke.*again and again"):
        read_clip(web.url("0.mp4"), SPEC)


def test_an_object_that_changes_while_it_is_read_is_said(web: Web, in_pieces: None) -> None:
    first, second = web.files["0.mp4"], web.files["1.mkv"]

    def change() -> None:
        web.files["0.mp4"] = second if len(web.seen) > 3 else first

    web.change = change
    with pytest.raises(VideoError, match=r"0\.mp4: it changed while it was read"):
        read_clip(web.url("0.mp4"), SPEC)


@pytest.mark.parametrize("sizes", [True, False])
def test_so_is_one_that_changes_while_it_is_fetched(web: Web, sizes: bool) -> None:
    web.sizes = sizes
    counted = iter(range(256))
    web.change = lambda: web.files.update({"0.mp4": web.files["0.mp4"] + bytes([next(counted)])})
    with pytest.raises(VideoError, match=r"0\.mp4: it changed while it was read"):
        read_clip(web.url("0.mp4"), SPEC)


def test_a_silent_server_is_said(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.silent = threading.Event()
    monkeypatch.setattr(systems, "SILENT_SECONDS", 0.5)
    begun = time.monotonic()
    with pytest.raises(VideoError, match=r"0\.mp4: the server was silent for"):
        read_clip(web.url("0.mp4"), SPEC)
    with pytest.raises(VideoLimitError, match=r"reading takes more than 0\.2 s"):
        read_clip(web.url("0.mp4"), SPEC, limits={"seconds": 0.2})
    web.silent.set()
    assert time.monotonic() - begun < 60


def test_what_is_larger_than_the_limit_is_not_fetched(web: Web, in_pieces: None) -> None:
    limits = Limits(megabytes=0.002)
    with pytest.raises(VideoLimitError, match=r"limit is 2,000 bytes: raise Limits.megabytes"):
        read_clip(web.url("0.mp4"), SPEC, limits=limits)
    assert not any(method == "GET" for method, _, _ in web.seen)
    web.sizes, web.endless = False, True  # it does not say how much it will send
    with pytest.raises(VideoLimitError, match="limit is 2,000 bytes"):
        read_clip(web.url("0.mp4"), SPEC, limits=limits)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, r"there is nothing at this address"),
        (401, r"access is refused \(401\): put a name and a password for it into ~/.netrc"),
        (403, r"access is refused \(403\)"),
        (410, r"there is nothing"),
        (418, r"refused \(418\)"),
        (429, r"failed \(429\): try again later"),
        (500, r"failed \(500\)"),
        (503, r"failed \(503\)"),
    ],
)
def test_what_a_server_answers_is_one_line(web: Web, status: int, said: str) -> None:
    web.status = status
    with pytest.raises(VideoError, match=said) as raised:
        read_clip(web.url("0.mp4"), SPEC)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, VideoNotFoundError) == (status in (404, 410))


def test_what_is_not_there_or_not_reached(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VideoNotFoundError, match=r"s3://clips/none.mp4: there is nothing"):
        read_clip("s3://clips/none.mp4", SPEC)
    with pytest.raises(VideoNotFoundError, match=r"s3://nobody/0.mp4: there is nothing"):
        read_clip("s3://nobody/0.mp4", SPEC)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", nobody)
        forget()
        with pytest.raises(VideoError, match=r"s3://clips/0.mp4: its server cannot be reached"):
            read_clip("s3://clips/0.mp4", SPEC)
        with pytest.raises(VideoError, match=r"127\.0\.0\.1:\d+ cannot be reached"):
            read_clip(f"{nobody}/0.mp4", SPEC)


def test_wrong_credentials_are_said(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("0.mp4", b"...")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    forget()
    s3.ask_for_credentials(after=0)
    try:
        with pytest.raises(VideoError, match=r"access is refused.*check AWS_PROFILE") as raised:
            read_clip("s3://clips/0.mp4", SPEC)
        assert "nobody" not in str(raised.value)
    finally:
        s3.ask_for_credentials(after=1 << 30)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    forget()
    with pytest.raises(VideoError, match="there are no credentials: check AWS_PROFILE"):
        read_clip("s3://clips/0.mp4", SPEC)


def test_what_is_not_installed_is_named() -> None:
    script = """
import sys
from a2m2_zoo.video import Preprocess, read_clip
for module, address in (
    ("s3fs", "s3://bucket/a.mp4"), ("gcsfs", "gs://bucket/a.mp4"),
    ("aiohttp", "https://127.0.0.1:1/a.mp4"), ("fsspec", "http://127.0.0.1:1/a.mp4"),
):
    sys.modules[module] = None
    try:
        read_clip(address, Preprocess())
    except ImportError as error:
        print(f"{type(error).__name__}: {error}")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    for line, package in zip(lines, ("s3fs", "gcsfs", "aiohttp", "fsspec"), strict=True):
        assert re.match(
            rf"DependencyError: \w+:// needs {package}, which is not installed", line
        ), line
        assert 'pip install "a2m2_zoo[remote]"' in line


def test_no_room_for_what_is_fetched_is_said(web: Web) -> None:
    resource = pytest.importorskip("resource", reason="needs limits on the size of files")
    web.files["long.mp4"] = os.urandom(300_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            VideoError, match=r"long\.mp4: no room for it .*: make some, or set TMPDIR"
        ):
            read_clip(web.url("long.mp4"), SPEC)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_other_readers_are_for_files_of_this_machine(web: Web) -> None:
    with pytest.raises(VideoError, match="decord reads files of this machine: take reader='pyav'"):
        read_clip(web.url("0.mp4"), SPEC, reader="decord")


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "address",
    [
        f"https://me:{SECRET}@127.0.0.1:1/a.mp4",
        f"https://{SECRET}@127.0.0.1:1/a.mp4",
        f"https://127.0.0.1:1/a.mp4?X-Amz-Signature={SECRET}",
        f"https://127.0.0.1:1/a.mp4?{SECRET}",
        f"https://127.0.0.1:1/a.mp4#{SECRET}",
        f"HTTPS:/me:{SECRET}@127.0.0.1:1/a.mp4",
        f"s3://key:{SECRET}@bucket/a.mp4",
        f"s3://bucket/a.mp4?token={SECRET}",
        f"ftp://me:{SECRET}@host/a.mp4",
        f"rtsp://me:{SECRET}@host/a.mp4",
    ],
)
def test_secrets_in_addresses_are_refused_and_not_shown(address: str) -> None:
    for call in (
        lambda: read_clip(address, SPEC),
        lambda: find_clips(address),
        lambda: content_hash(Path(address)),
        lambda: open_video_file(address),
    ):
        with pytest.raises(A2M2Error) as raised:
            call()
        assert SECRET not in str(raised.value)
        assert SECRET not in repr(raised.value.args)
    with pytest.raises(ArgumentError, match="credentials are taken from the environment"):
        place(address)
    good, bad = list(read_clips([np.zeros((8, 64, 64, 3), np.uint8), address], SPEC))
    assert not isinstance(good, A2M2Error)
    assert isinstance(bad, A2M2Error)
    assert SECRET not in str(bad)


def test_playlists_are_refused_over_http(web: Web, work: Path) -> None:
    other = web.url("0.mp4")
    web.files |= {
        "list.m3u8": f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        "list.mp4": f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile '{other}'\n".encode(),
        "local.mp4": f"ffconcat version 1.0\nfile '{work / 'clips' / '0.mp4'}'\n".encode(),
        "cast.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "dash.mpd": f'<?xml version="1.0"?><MPD><BaseURL>{other}</BaseURL></MPD>'.encode(),
    }
    for name in ("list.m3u8", "list.mp4", "concat.mp4", "local.mp4", "cast.sdp", "dash.mpd"):
        for read in (lambda url: read_clip(url, SPEC), open_video_file):
            with pytest.raises(VideoError, match="not a video that can be read"):
                read(web.url(name))
    assert not any(path == "/0.mp4" for _, path, _ in web.seen)


def test_a_damaged_clip_says_what_the_same_file_says(web: Web, tmp_path: Path) -> None:
    file = draw_video(tmp_path / "long.mkv", 60)
    file.write_bytes(file.read_bytes()[:-400])
    web.files["long.mkv"] = file.read_bytes()
    assert read_clip(file, SPEC).warnings
    same(web.url("long.mkv"), file)
