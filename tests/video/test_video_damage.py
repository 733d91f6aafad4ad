"""Files that are broken, lying, hostile or something else: one clear line each, and never a hang."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from makers import draw_video
from odd_maker import Part, content, full_decode, write
from video_maker import PYAV, SPEC, make, number, picture

from a2m2_zoo.errors import A2M2Error, VideoError, VideoLimitError, VideoNotFoundError
from a2m2_zoo.video import Limits, Preprocess, read_clip
from a2m2_zoo.video.decoder import Decoder
from a2m2_zoo.video.stream_choice import packets_of_all

FASTSTART = {"movflags": "faststart"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make(
        tmp_path_factory.mktemp("good") / "good.mp4", gop=20, container_options=FASTSTART
    ).read_bytes()


def refuse(source, kind=VideoError, words=None, **options) -> str:
    with pytest.raises(kind, match=words) as caught:
        read_clip(source, SPEC, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.count(str(source)) <= 1
    return message


def test_what_is_not_there(tmp_path):
    message = refuse(tmp_path / "absent.mp4", VideoNotFoundError, "no such file")
    assert "absent.mp4" in message
    refuse("zero\0byte.mp4", VideoError)
    refuse("http://localhost:9/x.mp4", VideoError, "localhost:9")
    with pytest.raises(VideoNotFoundError, match="an empty path"):
        read_clip("", SPEC)


@pytest.mark.parametrize("content", [b"", b"hello, this is a letter\n" * 50, b"\0" * 5000])
def test_files_that_are_no_video(tmp_path, content):
    path = tmp_path / "letter.mp4"
    path.write_bytes(content)
    refuse(path, VideoError, "not a video")


def test_sound_alone(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=44_100)
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts = 44_100, start
            container.mux(track.encode(frame))
        container.mux(track.encode())
    refuse(path, VideoError, "only sound")


def cover(path, video: bool):
    """An mp4 with an attached picture as a video stream, with a video or only with sound."""
    jpeg = cv2.imencode(".jpg", np.full((64, 64, 3), 128, np.uint8))[1].tobytes()
    with av.open(str(path), "w") as container:
        still = container.add_stream("mjpeg", rate=1)
        still.width, still.height, still.pix_fmt = 64, 64, "yuvj420p"
        still.disposition = av.stream.Disposition.attached_pic
        stream = container.add_stream("libx264", rate=30) if video else None
        track = None if video else container.add_stream("aac", rate=44_100)
        if stream is not None:
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        packet = av.Packet(jpeg)
        packet.stream, packet.pts, packet.dts, packet.time_base = still, 0, 0, Fraction(1)
        container.mux(packet)
        for index in range(20):
            if stream is not None:
                frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
                frame.pts, frame.time_base = index, 1 / stream.average_rate
                container.mux(stream.encode(frame))
            elif track is not None:
                frame = av.AudioFrame.from_ndarray(
                    np.zeros((2, 1024), np.float32), "fltp", "stereo"
                )
                frame.sample_rate, frame.pts = 44_100, index * 1024
                container.mux(track.encode(frame))
        container.mux((stream or track).encode())
    return path


@pytest.mark.skipif(PYAV < 18, reason="this PyAV cannot write covers")
def test_a_cover_is_not_read(tmp_path):
    path = cover(tmp_path / "video.mp4", video=True)
    with av.open(str(path)) as container:
        kinds = [stream.disposition for stream in container.streams.video]
    assert sum(bool(kind & av.stream.Disposition.attached_pic) for kind in kinds) == 1
    clip = read_clip(path, SPEC)
    assert clip.count == 20
    assert [number(frame) for frame in clip.frames] == list(clip.indices)
    refuse(cover(tmp_path / "song.mp4", video=False), VideoError, "only a cover picture")


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{target}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
        "<Period><AdaptationSet><Representation id='1' bandwidth='1'><BaseURL>{target}</BaseURL>"
        "</Representation></AdaptationSet></Period></MPD>",
    ],
)
@pytest.mark.parametrize("name", ["x.mp4", "x.m3u8", "x.ffconcat", "x.mpd", "x.ts"])
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_a_playlist_cannot_open_other_files(tmp_path, good, playlist, name, reader):
    if reader == "decord":
        pytest.importorskip("decord")
    target, path = tmp_path / "secret.ts", tmp_path / name
    make(target, count=5)
    long_ago = 1_000_000_000
    os.utime(target, (long_ago, long_ago))
    path.write_text(playlist.format(target=target))
    refuse(path, VideoError, "not a video", reader=reader)
    # A kernel that notes access times would show it had been opened.
    assert target.stat().st_atime == long_ago


def test_names_that_look_like_commands(tmp_path, good, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "concat:a|b.mp4",
        "%03d.mp4",
        "file:x.mp4",
        "pipe:0",
        "*.mp4",
        "-i.mp4",
        "é ü.mp4",
    ):
        (tmp_path / name).write_bytes(good)
        assert read_clip(name, SPEC).count == 60


def test_a_line_break_in_a_name_does_not_break_the_message(tmp_path):
    path = tmp_path / "two\nlines.mp4"
    path.write_bytes(b"text")
    with pytest.raises(VideoError) as caught:
        read_clip(path, SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    refuse(tmp_path / "pipe.mp4", VideoError, "neither file nor folder")


def test_a_cut_file_gives_what_is_left(tmp_path, good):
    path = tmp_path / "cut.mp4"
    path.write_bytes(good[: int(len(good) * 0.6)])
    clip = read_clip(path, SPEC)
    assert 15 < clip.count < 50
    # Near the cut a picture may be missing whose successors are there.
    for index, frame in zip(clip.indices, clip.frames, strict=True):
        assert number(frame) - index in (0, 1, 2)
    assert any("truncated: its header announces 2.00 s" in warning for warning in clip.warnings)
    refuse(path, VideoError, "truncated", strict=True)


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_other_containers_say_they_are_cut(tmp_path, suffix):
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = make(
        tmp_path / f"cut.{suffix}",
        codec=codec,
        options={"cpu-used": "8"} if codec[3] == "v" else {},
    )
    whole = path.read_bytes()
    assert read_clip(path, SPEC, strict=True).warnings == ()
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    clip = read_clip(path, SPEC)
    assert any("truncated" in warning for warning in clip.warnings)
    for index, frame in zip(clip.indices, clip.frames, strict=True):
        assert number(frame) - index in (0, 1, 2)


def test_what_does_not_decode_is_left_out_and_told(tmp_path):
    path = make(tmp_path / "holes.mkv", codec="mjpeg", pixels="yuvj420p", count=40)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    lost = {2, 8, 30}
    for index in lost:
        start = data.index(packets[index])
        data[start : start + len(packets[index])] = bytes(len(packets[index]))
    path.write_bytes(data)
    clip = read_clip(path, SPEC)
    assert clip.count == 37
    assert clip.warnings[0] == "3 of 40 frames do not decode and are left out"
    left = [index for index in range(40) if index not in lost]
    # The line keeps its gaps, so a frame is found by its time, not by counting.
    assert [number(frame) for frame in clip.frames] == [left[index] for index in clip.indices]
    refuse(path, VideoError, "3 of 40 frames", strict=True)


@pytest.mark.parametrize("gop", [10, 40])
def test_what_the_decoder_guesses_is_told(tmp_path, gop):
    """Pictures of which a part is missing: shown as the decoder fills them, from all that came before."""
    keep = set(range(0, 40, gop))
    cut_short = content(lambda i, data: data if i in keep else data[: len(data) * 2 // 3])
    options = {"x264-params": "slices=3"}
    path = write(tmp_path / "x.mp4", parts=(Part(40, options=options, gop=gop),), edit=cut_short)
    guessed = sum(frame.is_corrupt for frame in full_decode(path))
    assert guessed
    clip = read_clip(path, SPEC)
    assert f"{guessed} of {clip.count} frames are damaged" in clip.warnings[-1]
    refuse(path, VideoError, "damaged", strict=True)


def test_nothing_decodes(tmp_path):
    path = make(tmp_path / "none.mkv", codec="mjpeg", pixels="yuvj420p", count=3)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    for packet in packets:
        start = data.index(packet)
        data[start : start + len(packet)] = bytes(len(packet))
    path.write_bytes(data)
    refuse(path, VideoError, "none of its 3 frames decodes")


def test_a_giant_picture_is_refused_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setattr("a2m2_zoo.video.video_file.Decoder", None)  # nothing is decoded
    path = make(tmp_path / "giant.mp4", count=1, size=(8192, 4320), options={"preset": "ultrafast"})
    assert path.stat().st_size < 6_000_000
    refuse(path, VideoLimitError, "8192x4320 is 35.4 megapixels")


def test_a_picture_that_grows_under_way_is_left_out(tmp_path):
    """Two raw streams after each other: the header of the first, the size of the second."""
    small = make(tmp_path / "small.h264", count=10).read_bytes()
    large = make(tmp_path / "large.h264", count=10, size=(960, 640)).read_bytes()
    path = tmp_path / "grows.h264"
    path.write_bytes(small + large)
    clip = read_clip(path, SPEC, limits=Limits(megapixels=0.3))
    assert clip.count == 10
    assert clip.warnings[0] == "10 of 20 frames do not decode and are left out"
    assert read_clip(path, SPEC).count == 20


def test_a_decoder_that_stalls_is_stopped(tmp_path, good, monkeypatch):
    stalls, clock = [], SimpleNamespace(now=100.0, monotonic=lambda: clock.now)

    def stall(_self, packet):
        stalls.append(packet)
        clock.now += 0.05
        return iter(())

    path = tmp_path / "slow.mp4"
    path.write_bytes(good)
    monkeypatch.setattr(Decoder, "_feed", stall)
    monkeypatch.setattr("a2m2_zoo.video.clip.time", clock)
    refuse(path, VideoLimitError, "more than 0.2 s", limits=Limits(seconds=0.2))
    assert 0 < len(stalls) <= 5


FUZZED = {
    "f.mp4": {"gop": 20, "container_options": FASTSTART},
    "f.mkv": {"gop": 20},
    "f.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "f.ts": {"gop": 12},
    "f.webm": {"codec": "libvpx-vp9", "gop": 20, "options": {"cpu-used": "8"}},
    "f.gif": {"codec": "gif", "pixels": "rgb8", "rate": 25},
}


@pytest.mark.parametrize("name", FUZZED)
@pytest.mark.parametrize("threads", [1, 2])
def test_random_damage_never_escapes(tmp_path, name, threads):
    """Flipped bytes and cuts, 34 files of each kind: a clip or one of our errors, and soon."""
    whole = make(tmp_path / name, count=30, **FUZZED[name]).read_bytes()
    rng = random.Random(f"{name}{threads}")
    outcomes = set()
    for case in range(17):
        data = bytearray(whole)
        # A third each: the header, the whole file, and a cut.
        reach = [min(600, len(data)), len(data), len(data)][case % 3]
        for _ in range(rng.choice([1, 4, 40])):
            data[rng.randrange(reach)] = rng.randrange(256)
        if case % 3 == 2:
            del data[rng.randrange(len(data)) :]
        path = tmp_path / f"{case}-{name}"
        path.write_bytes(data)
        start = time.monotonic()
        try:
            clip = read_clip(path, SPEC, limits=Limits(megapixels=4, seconds=10), threads=threads)
        except A2M2Error as error:
            outcomes.add("refused" if "\n" not in str(error) else "refused in many lines")
        else:
            assert clip.frames.shape == (7, 64, 64, 3)
            assert max(clip.indices) < clip.count
            outcomes.add("read")
        assert time.monotonic() - start < 40  # it never hangs
    assert "read" in outcomes
    assert "refused in many lines" not in outcomes


def test_folders(tmp_path):
    empty, some = tmp_path / "empty", tmp_path / "some"
    for folder in (empty, some):
        folder.mkdir()
    (empty / "notes.txt").write_text("no picture")
    refuse(empty, VideoError, "no pictures")
    names = [f"{index}.{suffix}" for index, suffix in enumerate(["png", "jpg", "bmp", "webp"] * 3)]
    for index, name in enumerate(names):
        cv2.imwrite(str(some / name), picture(index)[..., ::-1])
    (some / ".hidden.png").write_bytes(b"x")
    (some / "%03d.png").unlink(missing_ok=True)
    spec = Preprocess(frames=12, size=64, crop="stretch")
    clip = read_clip(some, spec)
    assert [number(frame) for frame in clip.frames] == list(range(12))
    refuse(some, VideoLimitError, "12 pictures", limits=Limits(frames=11))
    refuse(some, VideoLimitError, "megapixels", limits=Limits(megapixels=0.005))
    (some / "4.png").write_bytes((some / "4.png").read_bytes()[:40])
    (some / "5.jpg").write_text("#EXTM3U")
    clip = read_clip(some, spec)
    assert clip.count == 10
    assert clip.warnings[0] == "2 of 12 pictures do not decode and are left out"
    assert {4, 5}.isdisjoint(number(frame) for frame in clip.frames)
    with pytest.raises(VideoError, match=r"4\.png"):
        read_clip(some, spec, strict=True)
    for name in names:
        (some / name).write_bytes(b"broken")
    refuse(some, VideoError, "none of its 12 pictures")


def test_a_picture_bomb_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "bomb.png"), np.zeros((6000, 6000), np.uint8))
    refuse(tmp_path, VideoError, "damaged or has more than 16 megapixels")


def test_a_stream_that_first_shows_in_the_middle_ends_nothing(tmp_path: Path) -> None:
    """PyAV knows no stream for its packets, and raises an IndexError from the iteration."""

    class Surprised:
        """A container whose iterator breaks off twice."""

        def __init__(self, container: Any) -> None:
            self._packets = container.demux()
            self._left = 2

        def demux(self) -> Iterator[Any]:
            for count, packet in enumerate(self._packets):
                yield packet
                if count == 2 and self._left:
                    self._left -= 1
                    raise IndexError("list index out of range")

    with av.open(str(draw_video(tmp_path / "a.mp4", 12))) as container:
        whole = [packet.pts for packet in container.demux()]
    with av.open(str(tmp_path / "a.mp4")) as container:
        found = packets_of_all(Surprised(container))  # type: ignore[arg-type]
        assert [packet.pts for packet in found] == whole
