"""`a2m2 spot` and `a2m2 watch` on real files, a real pipe and a camera that FFmpeg draws."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from makers import draw_video
from PIL import Image
from spotting_maker import DAMAGED, FPS, long_video, parts, supports

from a2m2_zoo import Segment, SupportBank, build_bank, load_model
from a2m2_zoo.cli import main
from a2m2_zoo.cli.options import Form
from a2m2_zoo.cli.spot import clock, show, subtitles
from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.report.timeline import draw_timeline, score_curves
from a2m2_zoo.spotting import Stream, Window, spot
from a2m2_zoo.spotting import sources as sources_module
from a2m2_zoo.spotting.cutting import clip_name, cut_segments
from a2m2_zoo.spotting.segments import REJECT_CLOSED_SET, REJECT_OPEN_SET
from a2m2_zoo.spotting.sources import VideoFrames, open_camera, open_video_file

pytestmark = pytest.mark.usefixtures("seen_once")

NAMES = [name for name, _ in parts()]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spotting")
    supports(root / "supports")
    build_bank(root / "supports", model=load_model()).save(root / "bank.safetensors")
    long_video(root / "long.mp4")
    return root


def ask(work: Path, *arguments: str, video: Path | None = None) -> int:
    path = str(video or work / "long.mp4")
    return main(["spot", path, "--supports", str(work / "bank.safetensors"), *arguments])


def known(rows: list[dict[str, Any]]) -> list[str]:
    return [row["label"] for row in rows if row["label"] != "unknown"]


def test_every_form_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Segment(0.0, 1.5, "[pick] up", 0.91),
        Segment(1.5, 4.0, "unknown", 0.7, known=False),
        Segment(61.25, 3725.0, "throw, catch", 1.0),
    ]
    model, video = load_model(), Path("v.mp4")
    show(video, found, model, Form.JSON)
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["video", "model", "segments"]
    assert answer["segments"] == [segment.to_dict() for segment in found]
    show(video, found, model, Form.CSV)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["label"] for row in rows] == [s.label for s in found]
    assert [float(row["end"]) for row in rows] == [s.end for s in found]
    show(video, [], model, Form.CSV)
    assert capsys.readouterr().out == "start,end,label,probability,known\n"
    show(video, found, model, Form.TABLE)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[2:] == [
        ["0:00.0", "0:01.5", "[pick]", "up", "0.91"],
        ["0:01.5", "0:04.0", "unknown"],
        ["1:01.3", "1:02:05.0", "throw,", "catch", "1.00"],
    ]
    assert subtitles(found) == (
        "1\n00:00:00,000 --> 00:00:01,500\n[pick] up (0.91)\n\n"
        "2\n00:01:01,250 --> 01:02:05,000\nthrow, catch (1.00)\n\n"
    )


def test_pictures_and_clips(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, folder = tmp_path / "t.png", tmp_path / "cut"
    assert ask(work, "--json", "--plot", str(picture), "--cut", str(folder)) == 0
    rows = [row for row in json.loads(capsys.readouterr().out)["segments"] if row["known"]]
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 1200
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 500  # frames are in it
    clips = sorted(folder.iterdir())
    assert [clip.name.split("_")[1] for clip in clips] == NAMES
    for clip, row in zip(clips, rows, strict=True):
        with av.open(str(clip)) as container:
            count = sum(1 for _ in container.decode(video=0))
        assert count == pytest.approx((row["end"] - row["start"]) * FPS, abs=1)
    older = folder / "009_of_another_run.mp4"
    older.write_bytes(b"")
    assert ask(work, "--json", "--cut", str(folder)) == 0
    older.unlink()
    said = capsys.readouterr().err
    assert f"{len(rows)} clips: {folder}" in said
    assert "held 1 more clip before" in said
    bank = str(work / "bank.safetensors")
    assert main(["classify", str(folder), "--supports", bank, "--json"]) == 0
    assert [row["label"] for row in json.loads(capsys.readouterr().out)] == NAMES


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_damaged_videos_give_what_was_found_and_one_line(
    name: str, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = DAMAGED[name](tmp_path / name)
    assert ask(work, "--json", "--reject-below", "0", video=path) == 1
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["segments"][0]["start"] == 0
    assert answer["error"] in said.err
    assert said.err.startswith(f"a2m2: {path}: ")
    assert said.err.count("\n") == 1


def test_no_pose_is_the_answer_of_a_model_that_looks_for_nobody(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for switch in ("--no-pose", "--pose"):
        assert ask(work, "--json", switch) == 0
        answers.append(json.loads(capsys.readouterr().out)["segments"])
    blind = load_model(pose=False)
    found = spot(work / "long.mp4", SupportBank.load(work / "bank.safetensors"), model=blind)
    assert answers[0] == [segment.to_dict() for segment in found]
    assert answers[0] != answers[1]


def test_watch_says_once_when_it_falls_behind(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    bank = str(work / "bank.safetensors")
    said = []
    for seconds in (0.01, 0.1):  # for each frame, of which there are 16 a second
        ticks = count()
        monkeypatch.setattr(
            "a2m2_zoo.cli.watch.monotonic", lambda of=ticks, s=seconds: next(of) * s
        )
        assert main(["watch", str(work / "long.mp4"), "--supports", bank, "--no-pose"]) == 0
        said.append(capsys.readouterr())
    assert said[0].out == said[1].out
    assert said[0].err == ""
    assert "this machine is slower than the stream, answers come late" in said[1].err
    assert said[1].err.count("\n") == 1
    assert "--no-pose" not in said[1].err


def test_what_cannot_be_opened_has_no_answer(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junk.mp4").write_bytes(b"junk")
    for path, said in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path / "junk.mp4", "not a video"),
        (tmp_path, "not a video file"),
    ):
        assert ask(work, "--json", video=path) == 1
        captured = capsys.readouterr()
        answer = json.loads(captured.out)
        assert (answer["video"], answer["segments"]) == (str(path), [])
        assert said in answer["error"]
        assert said in captured.err
        assert captured.err.count("\n") == 1
        assert ask(work, "--csv", video=path) == 1
        (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert (row["label"], row["error"]) == ("", answer["error"])
    for wrong in (
        ["--json", "--srt"],
        ["--stride", "9"],
        ["--plot", "x.foo"],
        ["--cut", "/dev/null/x"],
    ):
        assert ask(work, *wrong) != 0
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Traceback" not in captured.err


def test_ctrl_c_keeps_what_was_found(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = VideoFrames.__iter__

    def interrupted(video: VideoFrames) -> Iterator[tuple[av.VideoFrame, float]]:
        for frame, at in whole(video):
            if at > 4.5:
                raise KeyboardInterrupt
            yield frame, at

    monkeypatch.setattr(VideoFrames, "__iter__", interrupted)
    assert ask(work, "--json") == 130
    captured = capsys.readouterr()
    assert known(json.loads(captured.out)["segments"])[:2] == NAMES[:2]
    assert captured.err.startswith("a2m2: interrupted; ")
    bank = str(work / "bank.safetensors")
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["watch", str(work / "long.mp4"), "--supports", bank]) == 0
    assert NAMES[0] in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_watching_a_file_a_pipe_and_a_camera(
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    command = ["--supports", str(work / "bank.safetensors"), "--json"]
    assert main(["watch", str(work / "long.mp4"), *command]) == 0
    from_file = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert known(from_file) == NAMES
    assert ask(work, "--srt") == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split()[-2] for block in blocks] == NAMES
    assert len(slept) == 116  # a file is played at its pace

    os.mkfifo(tmp_path / "pipe")
    stream = tmp_path / "long.ts"
    with av.open(str(work / "long.mp4")) as source, av.open(str(stream), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(stream.read_bytes()))
    writer.start()
    assert main(["watch", str(tmp_path / "pipe"), *command]) == 0
    writer.join()
    piped = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert known(piped) == NAMES

    camera = open_camera("testsrc=size=160x120:rate=16:duration=3", driver="lavfi")
    monkeypatch.setattr(sources_module, "open_camera", lambda *_: camera)
    assert main(["watch", "video=drawn", *command]) == 0
    seen = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert seen[0]["start"] == 0
    assert seen[-1]["end"] == pytest.approx(3, abs=0.2)


def test_a_camera_that_is_not_there_is_one_line(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", "9876", "--supports", str(work / "bank.safetensors")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "camera '9876' cannot be opened" in captured.err


def test_cut_clips_are_even_and_safely_named(tmp_path: Path) -> None:
    path = draw_video(tmp_path / "f.mkv", 45, size=(98, 130))
    segments = [
        Segment(0.5, 1.0, "../pick up", 0.9),
        Segment(1.0, 1.5, "unknown", 0.5, known=False),
        Segment(1.5, 2.5, "ドア", 0.8),
        Segment(90.0, 91.0, "behind the end", 0.8),
    ]
    made = list(cut_segments(path, segments, tmp_path / "out"))
    assert [p.name for p in made] == ["001_pick_up_0000.5s.mp4", "002_ドア_0001.5s.mp4"]
    assert [p.parent for p in made] == [tmp_path / "out"] * 2
    with av.open(str(made[1])) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(pictures) == 15
    with av.open(str(path)) as container:
        whole = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert pictures[0].shape[0] % 2 == pictures[0].shape[1] % 2 == 0
    distance = [np.abs(pictures[0].astype(int) - frame).mean() for frame in whole]
    assert int(np.argmin(distance)) == 23  # the first frame at 1.5 s or later
    assert clip_name(1, Segment(0, 1, "///", 1)) == "001_action_0000.0s.mp4"


def test_score_curves_are_what_the_windows_that_hold_a_moment_say_together() -> None:
    rng = np.random.default_rng(0)
    windows = [
        Window(s, s + length, rng.dirichlet(np.ones(3)), np.zeros(3))
        for s in np.arange(0, 6, 0.5)
        for length in (1.0, 2.0)
    ]
    times, scores = score_curves(windows, points=97)
    for at, row in zip(times, scores, strict=True):
        held = [w.probabilities for w in windows if w.start <= at <= w.end]
        assert row == pytest.approx(np.sqrt(np.mean(np.square(held), 0)), abs=1e-7)
    with pytest.raises(ArgumentError, match="no window to draw"):
        draw_timeline([], [], ("a", "b"), Path("x.png"))


def test_times_for_people_and_for_players() -> None:
    assert [clock(t) for t in (0.04, 59.96, 3599.99)] == ["0:00.0", "1:00.0", "1:00:00.0"]
    text = subtitles([Segment(3661.0015, 3662.5, "a\n--> b", 0.5)])
    assert text == "1\n01:01:01,002 --> 01:01:02,500\na -> b (0.50)\n\n"


def test_the_help_names_the_default_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spot", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"({REJECT_OPEN_SET:g}; {REJECT_CLOSED_SET:g} with" in text.replace("│ │ ", "")


def test_video_times_begin_at_zero_and_the_end_is_announced(work: Path, tmp_path: Path) -> None:
    with av.open(str(work / "long.mp4")) as source, av.open(str(tmp_path / "o.ts"), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)  # MPEG-TS begins at 1.4 s or so
    times = [at for _, at in open_video_file(tmp_path / "o.ts")]
    assert times[0] == 0.0
    assert times == pytest.approx([i / FPS for i in range(116)], abs=1e-3)
    assert open_video_file(work / "long.mp4").seconds == pytest.approx(116 / FPS)
    with pytest.raises(VideoError, match="no such file"):
        open_video_file(tmp_path / "none.mp4")


def test_frames_may_be_arrays_tensors_or_pyav_frames(work: Path) -> None:
    import torch

    model = load_model()
    bank = SupportBank.load(work / "bank.safetensors")
    pictures = parts()[0][1]
    answers = []
    for kind in (lambda a: a, torch.from_numpy, lambda a: av.VideoFrame.from_ndarray(a, "rgb24")):
        stream = Stream(model, bank)
        found = [s for i, p in enumerate(pictures) for s in stream.push(kind(p), i / FPS)]
        answers.append(found + stream.close())
    assert answers[0] == answers[1] == answers[2]
    assert [s.label for s in answers[0] if s.known] == [NAMES[0]]
