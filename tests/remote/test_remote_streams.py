"""`watch` and `spot` of streams by their address: HTTP, UDP and RTSP, each from a server on loopback."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from streaming import Streaming, over_http, over_rtsp, over_udp, transport_stream
from web import Web

from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, VideoError, VideoLimitError
from a2m2_zoo.spotting import network
from a2m2_zoo.spotting.network import NetworkFrames, is_stream
from a2m2_zoo.spotting.sources import open_live
from a2m2_zoo.video import Limits

FRAMES = 60


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return transport_stream(tmp_path_factory.mktemp("stream") / "stream.ts", FRAMES)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_FIRST_WAIT", 0.05)
    monkeypatch.setattr(network, "_OPEN_SECONDS", 60.0)
    monkeypatch.setattr(network, "_READ_SECONDS", 2.0)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, network.__name__)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def called(command: str, source: object, *arguments: Any) -> tuple[int, str, str]:
        fixed = ("--model", work / "tiny", "--supports", work / "supports", "--window", 1)
        code = main([command, *map(str, (source, *arguments, *fixed))])
        return code, *capsys.readouterr()

    return called


def times(address: str, *, patience: float = 0) -> list[float]:
    return [at for _, at in NetworkFrames(address, patience=patience)]


@contextmanager
def datagrams(data: bytes) -> Iterator[Streaming]:
    with over_udp(data, pace=len(data) / 3) as address:
        yield Streaming([], address=address)


@pytest.mark.parametrize(("serve", "lost"), [(over_http, 0), (over_rtsp, 2)])
def test_every_frame_comes_in_its_time(stream: bytes, serve: Any, lost: int) -> None:
    with serve(stream) as server:
        assert is_stream(server.address)
        found = times(server.address)
    assert FRAMES - lost <= len(found) <= FRAMES
    assert found == pytest.approx([i / 15 for i in range(len(found))], abs=1e-3)


def test_datagrams_that_get_lost_are_said(stream: bytes, said: Callable[[], list[str]]) -> None:
    third = len(stream) // 3
    with over_udp(stream, pace=len(stream) / 3, leave_out=(third, 2 * third)) as address:
        found: list[float] = []
        with pytest.raises(VideoError, match=rf"{address}: .*nothing came for 2 s"):
            found.extend(at for _, at in NetworkFrames(address, patience=0))
    assert found[-1] > 3
    assert len(found) < FRAMES - 10
    assert any("packet(s) are lost or damaged" in line for line in said()), said()
    assert any("s without frames before" in line for line in said()), said()


def test_a_stream_that_breaks_off_is_opened_again(
    stream: bytes, said: Callable[[], list[str]]
) -> None:
    half = stream[: len(stream) // 2 // 188 * 188]
    with over_http(half, half, stream) as server:
        found: list[float] = []

        def take() -> Iterator[float]:
            for _, at in NetworkFrames(server.address, patience=1):
                server.closed = server.asked == 3
                yield at

        with pytest.raises(VideoError, match=r"no frame came for \d+ s \(.*5XX.*it is given up"):
            found.extend(take())
    assert len(found) > 1.5 * FRAMES
    assert found == sorted(found)  # the time goes on
    lines = [line for line in said() if "it broke off (it ended)" in line]
    assert len(lines) == 2
    assert all(line.endswith("s are lost") for line in lines)


def test_what_is_lost_between_is_in_the_times(
    tmp_path: Path, said: Callable[[], list[str]]
) -> None:
    second = transport_stream(tmp_path / "second.ts", 15)
    found: list[float] = []
    begun = time.monotonic()
    with over_http(second) as server:
        for _, at in NetworkFrames(server.address, patience=60):
            found.append(at)
            if len(found) == 15:
                time.sleep(2.0)  # as if it were out of reach
            if len(found) == 16:
                break
    assert 0.8 < found[15] - found[14] < time.monotonic() - begun + 0.1
    assert said()[-1].endswith(f"{found[15] - found[14]:.1f} s are lost")


def test_nobody_there_is_said_at_once(
    run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for address in (f"rtsp://127.0.0.1:{port}/live", f"http://127.0.0.1:{port}/live"):
            code, _, err = run("watch", address)
            assert code == 1
            assert address in err
            assert "Traceback" not in err
    monkeypatch.setattr(network, "_OPEN_SECONDS", 1.0)
    begun = time.monotonic()
    with pytest.raises(VideoError, match=r"cannot be opened \(nothing came for 1 s"):
        NetworkFrames(f"udp://127.0.0.1:{port}")
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("serve", [over_http, over_rtsp, datagrams])
def test_watch_names_what_happens(
    run: Callable[..., tuple[int, str, str]], stream: bytes, serve: Any
) -> None:
    with serve(stream) as server:
        code, out, err = run("watch", server.address, "--json", "--reconnect", 0)
    segments = [json.loads(line) for line in out.splitlines()]
    assert segments, err
    assert 2.5 < segments[-1]["end"] <= 4.1
    assert code == (1 if serve is datagrams else 0)  # of datagrams nobody says that they end
    assert ("nothing came" in err) == (serve is datagrams)


def test_spot_says_the_same_as_of_the_file(
    run: Callable[..., tuple[int, str, str]], stream: bytes, tmp_path: Path
) -> None:
    (tmp_path / "stream.ts").write_bytes(stream)
    code, out, _ = run("spot", tmp_path / "stream.ts", "--json")
    with over_http(stream) as server:
        found = run("spot", server.address, "--json", "--reconnect", 0)
        assert (found[0], json.loads(found[1])["segments"]) == (code, json.loads(out)["segments"])
        assert json.loads(found[1])["video"] == server.address
        code, _, err = run("spot", server.address, "--plot", tmp_path / "plot.png")
        assert (code, "a stream is read once" in err) == (2, True)


def test_a_file_of_a_web_server_is_no_stream(
    run: Callable[..., tuple[int, str, str]], web: Web, stream: bytes, tmp_path: Path
) -> None:
    web.files["stream.ts"] = stream
    (tmp_path / "stream.ts").write_bytes(stream)
    assert not is_stream(web.url("stream.ts"))
    assert not open_live(web.url("stream.ts"))[1]  # and is played at its pace
    here, there = (run("spot", x, "--json") for x in (tmp_path / "stream.ts", web.url("stream.ts")))
    assert json.loads(here[1])["segments"] == json.loads(there[1])["segments"]
    code, out, _ = run("spot", web.url("none.ts"), "--json")
    assert (code, "nothing at this address" in json.loads(out)["error"]) == (1, True)


def test_pictures_that_are_too_large_end_it_at_once(stream: bytes) -> None:
    with over_http(stream) as server:
        frames = NetworkFrames(server.address, Limits(megapixels=0.01), patience=30)
        with pytest.raises(VideoLimitError, match=r"128x96 is .* megapixels"):
            list(frames)
        assert server.asked == 1  # it is not opened again


def test_a_stream_leads_nowhere_else(stream: bytes, web: Web) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{web.url('3.ts')}\n".encode()
    concat = f"ffconcat version 1.0\nfile '{web.url('3.ts')}'\n".encode()
    sdp = (
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nm=video 9 RTP/AVP 33\r\n"
    )
    for content in (playlist, concat, sdp):
        with (
            over_http(content) as server,
            pytest.raises(VideoError, match="cannot be opened"),
        ):
            NetworkFrames(server.address)
    assert not web.seen


def test_secrets_come_from_netrc_and_are_not_shown(
    stream: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login me password w@rd\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    with over_http(stream) as server:
        server.word = base64.b64encode(b"me:w@rd").decode()
        assert len(times(server.address)) == FRAMES
        server.closed = True
        with pytest.raises(VideoError) as raised:
            NetworkFrames(server.address)
        assert "w@rd" not in str(raised.value)
        assert "w%40rd" not in str(raised.value)
    for address in ("rtsp://me:w@rd@127.0.0.1/live", "udp://127.0.0.1:1?localaddr=w@rd"):
        with pytest.raises(ArgumentError, match="without") as refused:
            NetworkFrames(address)
        assert "w@rd" not in str(refused.value)
