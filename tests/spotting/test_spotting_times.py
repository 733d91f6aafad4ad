"""Times as a player shows them: of pictures that come after the sound, and of files that were joined."""

from __future__ import annotations

import logging
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from makers import draw_video

from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.report.timeline import covered
from a2m2_zoo.spotting import Segment
from a2m2_zoo.spotting.cutting import cut_segment, cut_segments
from a2m2_zoo.spotting.sources import open_video_file
from a2m2_zoo.spotting.windows import Window

LATE = 3.0  # seconds


def late_video(path: Path) -> Path:
    """Two seconds of pictures, each brighter than the one before, behind three of sound alone."""
    tick = Fraction(1, 90000)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.codec_context.time_base = tick
        audio = container.add_stream("aac", rate=48000)
        packets = []
        for i in range(20):
            picture = np.full((64, 64, 3), 40 + 8 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = round((LATE + i / 10) / tick), tick
            packets += video.encode(frame)
        packets += video.encode()
        for at in range(0, 5 * 48000, 1024):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
            )
            silence.rate, silence.pts, silence.time_base = 48000, at, Fraction(1, 48000)
            packets += audio.encode(silence)
        packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_pictures_that_come_after_the_sound_have_the_times_of_a_player(
    suffix: str, tmp_path: Path
) -> None:
    path = late_video(tmp_path / f"late.{suffix}")
    opened = open_video_file(path)
    assert opened.seconds == pytest.approx(LATE + 2.0, abs=0.1)
    times = [at for _, at in opened]
    assert times == pytest.approx([LATE + i / 10 for i in range(20)], abs=0.06)
    # What is cut out is what is shown then.
    segment = Segment(LATE + 1.0, LATE + 1.5, "wave", 0.9)
    [every] = cut_segments(path, [segment], tmp_path / "clips")
    one = cut_segment(path, segment, tmp_path / "one.mp4")
    for clip in (every, one):
        with av.open(str(clip)) as container:
            first = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert abs(float(first.mean()) - (40 + 8 * 10)) < 8


def test_the_clock_of_joined_files_goes_on_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once = draw_video(tmp_path / "once.ts", 45)  # 3 s
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * once.read_bytes())
    opened, times = open_video_file(joined), []
    try:
        with caplog.at_level(logging.WARNING):
            for _, at in opened:
                times.append(at)
    except A2M2Error:  # a packet at the seam
        pass
    assert len(times) >= 80
    assert all(0 < later - earlier < 0.5 for earlier, later in pairwise(times))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        f"its clock goes back at {times[44]:.1f} s; times go on from there"
    ]
    segments = [Segment(0.5, 1.0, "a", 0.9), Segment(4.0, 4.5, "b", 0.9), Segment(90, 91, "c", 0.9)]
    clips = list(cut_segments(joined, segments, tmp_path / "clips"))
    assert [clip.name[:5] for clip in clips] == ["001_a", "002_b"]
    for clip in clips:
        with av.open(str(clip)) as container:
            assert len(list(container.decode(video=0))) == pytest.approx(8, abs=1)


def test_a_timeline_knows_where_there_were_frames() -> None:
    ends = [(5.0, 7.0), (6.0, 8.0), (20.0, 22.0), (4.0, 6.0), (22.5, 24.0)]
    windows = [Window(start, end, np.ones(1), np.ones(1)) for start, end in ends]
    assert covered([*windows, Segment(3.0, 7.0, "a", 0.9)]) == [(3.0, 8.0), (20.0, 24.0)]
