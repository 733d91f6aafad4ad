"""Odd files: the frames taken are those that a plain decode from the first packet gives."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import odd_videos_more  # noqa: F401  # adds to the corpus
import pytest
from odd_maker import Part, full_decode, write, write_streams
from odd_videos import CORPUS
from PIL import Image, ImageOps
from video_maker import PYAV, number, picture

from a2m2_zoo.errors import VideoError
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.video import Limits, Preprocess, decode, read_clip, read_clips, segment_centres
from a2m2_zoo.video.clip import Job, Watch
from a2m2_zoo.video.decoder import Decoder
from a2m2_zoo.video.images import in_order
from a2m2_zoo.video.preprocess import Resizer
from a2m2_zoo.video.stream_choice import choose
from a2m2_zoo.video.timeline import Line

SPECS = [Preprocess(frames=frames, size=64, crop="stretch") for frames in (1, 3, 8)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Makes each video once."""
    folder, done = tmp_path_factory.mktemp("odd"), {}

    def get(name: str):
        if name not in done:
            try:
                done[name] = CORPUS[name].make(folder / name)
            except av.codec.codec.UnknownCodecError as error:
                pytest.skip(f"this PyAV cannot encode {error}")
        return done[name]

    return get


def _spotted(path):
    """The frames that ``spot`` sees, and what it complains of in the end."""
    frames, complaint = [], ""
    try:
        frames.extend(frame for frame, _ in open_video_file(path))
    except VideoError as error:
        complaint = str(error)
    return frames, complaint


@pytest.mark.parametrize("name", CORPUS)
def test_the_frames_of_odd_files_are_those_of_a_full_decode(videos, name, monkeypatch):
    path, expected = videos(name), CORPUS[name]
    resize = Resizer(SPECS[0])
    frames = [np.array(resize(frame)) for frame in full_decode(path, expected.stream)]
    assert len(frames) == (expected.frames or len(frames)) > 0
    if expected.readable and expected.frames:
        assert [number(frame) for frame in frames] == [
            expected.numbers(index) for index in range(len(frames))
        ]
    seen, complaint = _spotted(path)
    assert ("truncated" in complaint) == (expected.warning == "truncated")
    assert len(seen) == len(frames)
    for index in segment_centres(len(frames), 5):
        assert (resize(seen[index]) == frames[index]).all()
    fed = []
    feed = Decoder._feed
    monkeypatch.setattr(
        Decoder, "_feed", lambda self, packet: fed.append(packet) or feed(self, packet)
    )
    for spec in SPECS:
        fed.clear()
        clip = read_clip(path, spec)
        decoded = len(fed)
        assert clip.count == len(frames)
        if expected.steady:
            assert clip.indices == segment_centres(len(frames), spec.frames)
        for index, frame in zip(clip.indices, clip.frames, strict=True):
            assert (frame == frames[index]).all()
        if expected.warning:
            assert any(expected.warning in warning for warning in clip.warnings), clip.warnings
        elif expected.frames:
            assert clip.warnings == ()
            assert read_clip(path, spec, strict=True).count == clip.count
        if expected.quick and spec.frames == 1:
            assert decoded <= 2 * len(frames) // 3


JPEG = Part(1, pixels="yuvj420p")
DEFAULT = av.stream.Disposition.default
VIDEO, OTHER = ("libx264", Part(30), 0), ("mpeg4", Part(20), 0)
CHOICES = {
    "thumbnail.mkv": (("mjpeg", JPEG, 0), VIDEO, 1, ""),
    "thumbnail.mp4": (("mjpeg", JPEG, 0), VIDEO, 1, ""),
    "thumbnail.mov": (("png", Part(1, pixels="rgb24"), DEFAULT), VIDEO, 1, ""),
    "previews.mkv": (("mjpeg", replace(JPEG, count=3), DEFAULT), VIDEO, 1, ""),
    "default_second.mkv": ((*VIDEO[:2], 0), (*OTHER[:2], DEFAULT), 1, ""),
    "default_first.mkv": ((*OTHER[:2], DEFAULT), (*VIDEO[:2], 0), 0, ""),
    "two.avi": (OTHER, VIDEO, 1, "2 videos in one file: stream 1, of 30 frames, is the one read"),
    "two.ts": (VIDEO, OTHER, 0, "2 videos in one file"),
    "equal.mkv": (VIDEO, VIDEO, 0, "2 videos in one file"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_the_one_to_read_is_found_among_the_streams(tmp_path, name):
    first, second, number_, warning = CHOICES[name]
    path = write_streams(tmp_path / name, first, second)
    clip = read_clip(path, SPECS[-1])
    count = (first, second)[number_][1].count
    assert clip.count == count
    assert [number(f) for f in clip.frames] == [100 * number_ + index for index in clip.indices]
    assert len(clip.warnings) == (1 if warning else 0)
    assert warning in "".join(clip.warnings)
    assert sum(1 for _ in open_video_file(path)) == count


@pytest.mark.parametrize("flag", ["attached_pic", "timed_thumbnails", "still_image"])
def test_a_stream_that_says_it_is_no_video_is_none(flag):
    """No muxer of FFmpeg writes all of these flags."""
    kinds = [av.stream.Disposition[flag] | DEFAULT, av.stream.Disposition(0)]
    streams = [SimpleNamespace(disposition=kind, index=i) for i, kind in enumerate(kinds)]
    container = SimpleNamespace(streams=SimpleNamespace(video=streams, audio=[]))
    job = Job("video", SPECS[0], Limits(), Watch("video", Limits()))
    assert choose(container, job) == (1, False)
    streams.pop()
    with pytest.raises(VideoError, match="only a cover picture"):
        choose(container, job)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pictures_are_turned_by_their_exif(tmp_path, suffix, orientation):
    if suffix != "jpg" and PYAV < 18:
        pytest.skip("this PyAV does not read the orientation of such pictures")
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = orientation, "maker"
    stored = Image.fromarray(
        np.kron(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, np.ones((16, 16), np.uint8))
    )
    options = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        stored.convert("RGB").save(folder / f"{index}.{suffix}", exif=tags, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(folder / f"0.{suffix}")).convert("RGB"))
    spec = Preprocess(frames=2, size=64, crop="pad")
    clip = read_clip(folder, spec, strict=True)
    expected = read_clip(np.ascontiguousarray(upright)[None], replace(spec, frames=1))
    assert clip.warnings == ()
    assert np.abs(clip.frames[0].astype(int) - expected.frames[0]).max() <= 4


def test_one_clip_that_fails_in_an_unknown_way_ends_no_batch(tmp_path, monkeypatch):
    good, bad = (write(tmp_path / f"{name}.mp4", parts=(Part(10),)) for name in ("good", "bad"))
    real = decode.READERS["pyav"]

    def reader(path, job):
        if path.name == "bad.mp4":
            raise RuntimeError("two\nlines")
        return real(path, job)

    monkeypatch.setitem(decode.READERS, "pyav", reader)
    results = list(read_clips([good, bad, Nameless(), good], SPECS[-1], workers=1))
    assert [isinstance(result, VideoError) for result in results] == [False, True, True, False]
    assert f"{bad}: cannot be read (RuntimeError: two lines)" in str(results[1])
    with pytest.raises(VideoError, match="RuntimeError"):
        read_clip(bad, SPECS[-1])


class Nameless:
    """Looks like an array and is none."""

    @property
    def shape(self):
        raise RuntimeError("no shape")

    def __array__(self, dtype=None, copy=None):
        raise MemoryError("no room")


NAMES = [
    ["t0.0", "t0.125", "t0.25", "t0.5", "t0.75", "t1.0", "t2.5", "t10.0"],
    ["f1.1", "f1.2", "f1.9", "f1.10", "f1.11", "f2.1"],
    ["1", "2", "10", "010x"],
    ["a_0001", "a_0002", "a_0010"],
    ["v1.2.3", "v1.2.10", "v1.10.1"],
    ["frame 0.05", "frame 0.1", "frame 0.15", "frame 0.2"],
    ["2024.01.05", "2024.01.10", "2024.02.01"],
    ["x.1", "x.2", "x.10"],
    ["clip.mp4.9", "clip.mp4.10", "clip.mp4.11"],
]


@pytest.mark.parametrize("names", NAMES)
def test_names_are_read_as_people_read_them(names):
    paths = [Path(f"{name}.png") for name in names]
    assert in_order(reversed(paths)) == paths


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "zeros", "socket", "loop"])
def test_what_is_no_file_is_no_picture(tmp_path, kind):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), picture(index)[..., ::-1])
    odd = folder / "2.5.png"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "zeros":
        odd.symlink_to("/dev/zero")
    elif kind == "loop":
        odd.symlink_to(odd)
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(odd))
    start = time.monotonic()
    clip = read_clip(folder, replace(SPECS[-1], frames=5))
    assert clip.warnings[0] == "1 of 5 pictures do not decode and are left out"
    assert set(map(number, clip.frames)) == set(range(4))
    for name in (odd, Path("/dev/zero")):
        with pytest.raises(VideoError):
            read_clip(name, SPECS[-1])
    assert time.monotonic() - start < 60  # and waits for nobody


def test_one_frame_for_most_of_a_clip_is_told():
    # Half a second of 20 frames, then one that stays for 0.9 s, which is no break yet.
    job = Job("clip", SPECS[-1], Limits(), Watch("clip", Limits()))
    moments = tuple(range(0, 400, 20))
    line = Line.of([*moments, 1300], 20, Fraction(1, 1000))
    assert line.gaps == 0
    indices = job.choose(line.times, line.duration)
    clip = job.clip([np.zeros((4, 4, 3), np.uint8)] * 8, indices, times=(), count=21, losses=())
    assert clip.warnings == (
        "frame 19 stands for 6 of the 8 frames taken: it is shown for most of the clip",
    )


def test_a_slow_video_has_no_breaks():
    line = Line.of(list(range(0, 60_000, 2000)), 2000, Fraction(1, 1000))
    assert (line.gaps, line.times) == (0, line.stamps)
    assert Line.of([0, 40, 80], 3_600_000, Fraction(1, 1000)).duration == 120


@pytest.mark.videos
def test_odd_real_files_decode_exactly(real_clips):
    paths = sorted((real_clips / "odd").glob("*"))
    assert paths
    for path in paths:
        # Of two videos the longer one is read, and that is said.
        stream = 1 if path.name == "tc_nasa_13013.mp4" else 0
        frames, resize = full_decode(path, stream), Resizer(SPECS[-1])
        clip = read_clip(path, SPECS[-1])
        assert len(clip.warnings) == stream
        assert clip.count == len(frames)
        for index, frame in zip(clip.indices, clip.frames, strict=True):
            assert (frame == resize(frames[index])).all()
