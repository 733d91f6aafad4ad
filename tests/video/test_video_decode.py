"""Reading files: the very frames that a plain full decode gives, for every kind of stream."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref

import av
import cv2
import numpy as np
import pytest
import torch
from video_maker import PYAV, SPEC, full_decode, make, number, picture

from a2m2_zoo.errors import (
    A2M2Error,
    ArgumentError,
    VideoError,
    VideoLimitError,
    VideoNotFoundError,
)
from a2m2_zoo.video import (
    Clip,
    Limits,
    Preprocess,
    decode,
    read_clip,
    read_clips,
    segment_centres,
    video_file,
)
from a2m2_zoo.video.container import Table
from a2m2_zoo.video.decoder import Decoder, plan
from a2m2_zoo.video.preprocess import Resizer

OPEN_GOP = {"x264-params": "open-gop=1:bframes=5:b-pyramid=normal"}
VP = {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}
QUIET = {"x265-params": "log-level=none"}
STREAMS = {
    "plain.mp4": {},
    "plain.mkv": {},
    "plain.mov": {},
    "plain.flv": {},
    "plain.avi": {},
    "plain.ts": {"gop": 12},
    "plain.h264": {},
    "keys.mp4": {"gop": 12},
    "open.mkv": {"gop": 12, "options": OPEN_GOP},
    "open.ts": {"gop": 12, "options": OPEN_GOP},
    "refresh.mp4": {"gop": 30, "options": {"x264-params": "intra-refresh=1:bframes=0"}},
    "interlaced.mp4": {"options": {"x264-params": "tff=1:bframes=3"}},
    "ntsc.mkv": {"rate": 24},
    "hevc.mp4": {"codec": "libx265", "gop": 12, "options": QUIET},
    "mpeg4.avi": {"codec": "mpeg4", "gop": 12},
    "mpeg4b.avi": {"codec": "mpeg4", "gop": 12, "options": {"bf": "2"}},
    "mpeg4b.mp4": {"codec": "mpeg4", "gop": 12, "options": {"bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "gop": 12, "options": {"bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 25, "options": VP},
    "vp8.webm": {"codec": "libvpx", "gop": 25, "options": VP},
    "av1.mp4": {"codec": "libsvtav1", "gop": 25, "options": {"preset": "12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "a.gif": {"codec": "gif", "pixels": "rgb8", "rate": 25},
    "a.wmv": {"codec": "wmv2"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Makes each video once."""
    folder, made = tmp_path_factory.mktemp("videos"), {}

    def get(name: str):
        if name not in made:
            try:
                made[name] = make(folder / name, **STREAMS[name])
            except av.codec.codec.UnknownCodecError as error:
                pytest.skip(f"this PyAV cannot encode {error}")
        return made[name]

    return get


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("threads", [1, 2])
def test_frames_are_those_of_a_full_decode(videos, name, threads):
    path = videos(name)
    resize = Resizer(SPEC)
    expected = [resize(frame) for frame in full_decode(path)]
    assert len(expected) == 60
    for frames in (1, 3, 7, 8, 29, 60, 90):
        spec = Preprocess(frames=frames, size=64, crop="stretch")
        clip = read_clip(path, spec, threads=threads)
        assert clip.count == 60
        assert clip.indices == segment_centres(60, frames)
        assert clip.frames.shape == (frames, 64, 64, 3)
        assert [number(frame) for frame in clip.frames] == list(clip.indices)
        assert all(
            (expected[index] == frame).all()
            for index, frame in zip(clip.indices, clip.frames, strict=True)
        )
        assert len(clip.warnings) == (1 if frames > 60 else 0)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no such call on this system")
def test_making_videos_leaves_the_priority_of_the_tests_alone(videos):
    videos("av1.mp4")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "plain.mkv",
        "plain.ts",
        "keys.mp4",
        "open.mkv",
        "mpeg4.avi",
        "av1.mp4",
        "vp8.webm",
    ],
)
def test_the_short_way_is_taken(videos, name, monkeypatch):
    def forbidden(*_args, **_kwargs):
        raise AssertionError("decoded everything")

    path = videos(name)
    monkeypatch.setattr(video_file, "_read_all", forbidden)
    assert [number(frame) for frame in read_clip(path, SPEC).frames] == list(segment_centres(60, 7))


def test_only_what_is_needed_is_decoded(videos, monkeypatch):
    fed = []
    real = video_file.Decoder._feed

    def spy(self, packet):
        fed.append(packet)
        return real(self, packet)

    monkeypatch.setattr(video_file.Decoder, "_feed", spy)
    read_clip(videos("keys.mp4"), Preprocess(frames=1, size=64, crop="stretch"))
    assert len(fed) <= 12 + 2


def test_files_too_large_to_hold_are_read_twice(videos, monkeypatch):
    monkeypatch.setattr("a2m2_zoo.video.container._HELD_BYTES", 100)
    for name in ("open.mkv", "keys.mp4", "plain.avi", "plain.ts"):
        clip = read_clip(videos(name), SPEC)
        assert [number(frame) for frame in clip.frames] == list(segment_centres(60, 7))


def test_open_cv_sees_the_same_frames(videos):
    path = videos("plain.mp4")
    capture, seen = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        seen.append(cv2.resize(answer[1], (64, 64))[..., ::-1])
    clip = read_clip(path, SPEC)
    for index, frame in zip(clip.indices, clip.frames, strict=True):
        away = [float(np.abs(frame[:30].astype(int) - other[:30]).mean()) for other in seen]
        assert int(np.argmin(away)) == index


def table(times, keys) -> Table:
    shown = (True,) * len(times)
    return Table(tuple(times), shown, tuple(keys), 1, 1, None, True, False, False, None)


def test_plan_goes_by_key_frames():
    # Stored 0 3 1 2 | 6 4 5 9 7 8 with key frames at 0 and 6; 4 and 5 are shown before the second.
    times = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    closed = plan(table(times, [0, 4]), [1, 7])
    assert [(run.first, run.last) for run in closed] == [(0, 1), (4, 7)]
    leading = plan(table(times, [0, 4]), [5])
    assert [(run.first, run.last) for run in leading] == [(0, 5)]
    absorbed = plan(table(times, [0, 4]), [4, 5])
    assert [(run.first, run.last, sorted(run.wanted)) for run in absorbed] == [(0, 5, [4, 5])]
    assert plan(table(times, []), [3])[0].first == 0


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_variable_rate_is_sampled_in_time(tmp_path, suffix):
    moments = [0, 40, 80, 400, 420, 440, 460, 1000, 1010, 1100]
    clip = read_clip(
        make(tmp_path / f"v.{suffix}", times=moments), Preprocess(frames=4, size=64, crop="stretch")
    )
    # The last frame stays as long as the file says, about a tenth of a second: spans of 0.3 s.
    assert clip.indices == (2, 5, 6, 8)
    assert clip.times == pytest.approx([moments[i] / 1000 for i in clip.indices], abs=1e-3)
    assert [number(frame) for frame in clip.frames] == list(clip.indices)


def test_times_are_seconds_from_the_first_frame(videos):
    for name in ("plain.mp4", "plain.ts", "mpeg2.mpg", "plain.avi"):
        clip = read_clip(videos(name), SPEC)
        assert clip.times == pytest.approx([index / 30 for index in clip.indices], abs=1e-3)


def test_what_an_edit_list_cuts_away_is_not_shown(tmp_path):
    path = tmp_path / "edit.mp4"
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(picture(index), "rgb24")
            frame.pts, frame.time_base = index - 10, 1 / stream.average_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = read_clip(path, SPEC)
    assert (clip.count, clip.indices, clip.warnings) == (50, segment_centres(50, 7), ())
    assert [number(frame) for frame in clip.frames] == [10 + index for index in clip.indices]


@pytest.mark.skipif(PYAV < 18, reason="this PyAV cannot write a rotation")
@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_rotation_is_applied(tmp_path, degrees):
    path = make(tmp_path / "turned.mp4", rotation=degrees, count=4)
    stored = full_decode(path)[2].to_ndarray(format="rgb24")
    assert full_decode(path)[2].rotation % 360 == degrees % 360
    upright = np.rot90(stored, degrees // 90)  # Both count quarter turns counter-clockwise.
    spec = Preprocess(frames=4, size=64, crop="pad")
    expected = read_clip(
        np.ascontiguousarray(upright)[None], Preprocess(frames=1, size=64, crop="pad")
    )
    assert np.abs(read_clip(path, spec).frames[2].astype(int) - expected.frames[0]).mean() < 6


def test_video_folder_and_array_agree(tmp_path):
    video = make(tmp_path / "video.mkv", codec="ffv1", pixels="bgr0", count=20)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(20):
        cv2.imwrite(str(folder / f"frame{index}.png"), picture(index)[..., ::-1])
    array = np.stack([picture(index) for index in range(20)])
    spec = Preprocess(frames=5, resize=48, size=40)
    clips = [
        read_clip(source, spec) for source in (video, str(folder), array, torch.from_numpy(array))
    ]
    for clip in clips:
        assert clip.indices == segment_centres(20, 5)
        assert (clip.count, clip.warnings) == (20, ())
        assert np.abs(clip.frames.astype(int) - clips[0].frames).max() <= 1
    assert clips[1].times == clips[2].times == ()


def test_random_sampling_needs_and_follows_a_seed(videos):
    spec = Preprocess(frames=7, size=64, crop="stretch", sampling="random")
    with pytest.raises(ArgumentError, match="seed"):
        read_clip(videos("plain.mp4"), spec)
    first, again, other = (read_clip(videos("plain.mp4"), spec, seed=seed) for seed in (1, 1, 2))
    assert first.indices == again.indices != other.indices
    assert [number(frame) for frame in other.frames] == list(other.indices)


def test_short_clips_repeat_and_say_so(tmp_path):
    clip = read_clip(make(tmp_path / "short.mp4", count=5), SPEC)
    assert clip.indices == segment_centres(5, 7)
    assert clip.warnings == ("only 5 frames; nearest frames repeated",)
    assert read_clip(make(tmp_path / "one.mp4", count=1), SPEC, strict=True).count == 1


def test_sound_is_no_reason_for_a_warning(tmp_path):
    assert read_clip(make(tmp_path / "sound.mp4", sound=True, count=20), SPEC).warnings == ()


def test_many_clips_come_in_order_with_their_errors(videos, tmp_path):
    good, bad = videos("plain.mp4"), tmp_path / "absent.mp4"
    drawn = []

    def sources():
        for index in range(40):
            drawn.append(index)
            yield bad if index % 5 == 0 else good

    results = read_clips(sources(), SPEC, workers=2)
    assert drawn == []
    got = []
    for index, result in enumerate(results):
        got.append(result)
        assert len(drawn) <= index + 4  # Two a worker: bounded, whatever the number of sources.
    assert [isinstance(result, A2M2Error) for result in got] == [i % 5 == 0 for i in range(40)]
    assert isinstance(got[0], VideoNotFoundError)
    assert isinstance(got[1], Clip)


def test_leaving_early_ends_the_threads(videos):
    before = threading.active_count()
    results = read_clips([videos("plain.mp4")] * 100, SPEC, workers=2)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_leaving_stops_a_read_that_is_under_way(tmp_path, monkeypatch):
    slow = make(tmp_path / "slow.mp4", count=300)
    begun, leaving, fed, ended = threading.Event(), threading.Event(), Decoder._feed, []

    def feed(self, packet):
        begun.set()
        leaving.wait(300)
        time.sleep(0.02)
        return fed(self, packet)

    plain = decode._read

    def read(source, *how):
        try:
            return plain(source, *how)
        except VideoError as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(Decoder, "_feed", feed)
    monkeypatch.setattr(decode, "_read", read)
    spec = Preprocess(frames=1000, size=64, crop="stretch")
    results = read_clips([np.zeros((1, 8, 8, 3), np.uint8), *[slow] * 20], spec, workers=1)
    next(results)
    assert begun.wait(300)
    leaving.set()
    results.close()
    assert "reading was stopped before its end" in ended[-1]


def test_a_reading_that_nobody_closed_may_be_collected_by_a_thread_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then that thread must not wait for itself, which Python refuses as an error nobody can catch."""
    given_up, collected, clip = (
        threading.Event(),
        threading.Event(),
        np.zeros((1, 8, 8, 3), np.uint8),
    )
    plain = decode._read

    def read(source, *how):
        if source is not clip:
            given_up.wait(300)
            gc.collect()
            collected.set()
        return plain(clip, *how)

    monkeypatch.setattr(decode, "_read", read)
    failures = []
    monkeypatch.setattr(sys, "unraisablehook", failures.append)
    gc.disable()
    try:
        results = read_clips([clip, clip.copy(), clip], SPEC, workers=1)
        next(results)
        circle = [results]
        circle.append(circle)
        left = weakref.ref(results)
        del results, circle
        given_up.set()
        assert collected.wait(300)
    finally:
        gc.enable()
    assert left() is None
    assert not failures


def test_each_source_of_many_has_a_seed_of_its_own(videos):
    spec = Preprocess(frames=7, size=64, crop="stretch", sampling="random")
    first, second = read_clips([videos("plain.mp4")] * 2, spec, seed=5)
    assert first.indices != second.indices
    assert second.indices == read_clip(videos("plain.mp4"), spec, seed=6).indices


@pytest.mark.parametrize(
    "call",
    [
        lambda: read_clip("x.mp4", SPEC, reader="gstreamer"),
        lambda: read_clip("x.mp4", SPEC, threads=0),
        lambda: read_clip("x.mp4", {"frames": 8}),
        lambda: read_clips([], SPEC, workers=0),
        lambda: read_clips([], SPEC, reader="gstreamer"),
        lambda: Limits(megapixels=0),
        lambda: Limits(seconds=float("nan")),
        lambda: Limits(frames="many"),
    ],
)
def test_arguments_out_of_range_are_refused_at_the_call(call):
    with pytest.raises(ArgumentError):
        call()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(megapixels=0.005), "megapixels"),
        (Limits(frames=20), "frames"),
        (Limits(seconds=1e-6), "Limits.seconds"),
    ],
)
def test_limits_hold(videos, limits, words):
    for name in ("plain.mp4", "plain.avi", "plain.h264"):
        with pytest.raises(VideoLimitError, match=words):
            read_clip(videos(name), SPEC, limits=limits)


def test_a_long_video_with_key_frames_costs_little(videos):
    spec = Preprocess(frames=1, size=64, crop="stretch")
    assert read_clip(videos("keys.mp4"), spec, limits=Limits(frames=20)).count == 60


@pytest.mark.parametrize(
    "source", [np.zeros((4, 8, 8, 3)), np.zeros((8, 8, 3), np.uint8), [], None, 7]
)
def test_arrays_of_another_kind_are_refused(source):
    with pytest.raises(VideoError, match="uint8"):
        read_clip(source, SPEC)


@pytest.mark.videos
def test_real_clips_decode_exactly(real_clips):
    paths = sorted(real_clips.glob("cctv_fight/*/*.mp4"))[::20]
    paths += sorted(real_clips.glob("jhmdb/*/*.mp4"))[::150]
    spec = Preprocess()
    for path, clip in zip(paths, read_clips(paths, spec, workers=1), strict=True):
        frames, resize = full_decode(path), Resizer(spec)
        assert clip.count == len(frames)
        assert clip.indices == segment_centres(len(frames), 8)
        expected = np.stack([resize(frames[index]) for index in clip.indices])
        assert (clip.frames == expected).all()
        assert clip.warnings == ()
