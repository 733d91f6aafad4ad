"""Streams find what is in a video: as the whole file gives it, with the people in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from spotting_maker import FPS, five_actions, frames_of, parts

from a2m2_zoo import Recognizer, SupportBank, build_bank, load_model
from a2m2_zoo.pose import Follower
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.spotting import (
    Rule,
    Segment,
    Stream,
    Window,
    iter_spot,
    spot,
)
from a2m2_zoo.spotting.average_precision import temporal_iou
from a2m2_zoo.synthetic import NAMED_ACTIONS, write_video

pytestmark = pytest.mark.usefixtures("seen_once")


def same(ours: list[Window], theirs: list[Window]) -> bool:
    return len(ours) == len(theirs) and all(
        (a.start, a.end) == (b.start, b.end) and (a.probabilities == b.probabilities).all()
        for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.usefixtures("computed_anew")
def test_pushing_the_frames_is_spotting_the_file_to_the_last_bit(
    bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    video = tmp_path / "two.mp4"
    write_video(video, np.concatenate([part for _, part in parts()[:2]]))
    ours: list[Window] = []
    theirs: list[Window] = []
    whole = spot(video, bank, model=model, on_windows=theirs.extend)
    stream = Stream(model, bank, on_windows=ours.extend)
    pushed = [s for frame, at in frames_of(video) for s in stream.push(frame, at)]
    pushed += stream.close()
    assert pushed == whole
    assert same(ours, theirs)
    assert len(theirs) > 10
    assert list(iter_spot(video, bank, model=model)) == whole


def test_the_actions_of_a_long_video_are_found(
    video: Path, bank: SupportBank, model: Model
) -> None:
    found = spot(video, bank, model=model)
    assert [s.label for s in found if s.known] == [name for name, _ in parts()]
    assert found[0].start == 0.0
    assert found[-1].end == pytest.approx(116 / FPS, abs=0.3)


@pytest.fixture(scope="module")
def five(model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[SupportBank, Path]:
    drawn, path = five_actions(tmp_path_factory.mktemp("five"))
    return build_bank(drawn, model=model), path


def actions() -> list[Segment]:
    return [Segment(2 * i, 2 * (i + 1), name, 1.0) for i, name in enumerate(NAMED_ACTIONS)]


def shared(one: Segment, other: Segment) -> float:
    return max(0.0, min(one.end, other.end) - max(one.start, other.start))


def test_actions_that_the_bank_knows_are_all_found(
    five: tuple[SupportBank, Path], model: Model
) -> None:
    bank, path = five
    found = [s for s in spot(path, bank, model=model) if s.known]
    assert [s.label for s in found] == list(NAMED_ACTIONS)
    for segment, action in zip(found, actions(), strict=True):
        assert temporal_iou(segment, action) > 0.6


@pytest.mark.parametrize("pair", [("wave", "kick"), ("jump", "squat"), ("walk", "wave")])
def test_actions_that_the_bank_does_not_know_are_not_taken_for_sure(
    pair: tuple[str, str], five: tuple[SupportBank, Path], model: Model
) -> None:
    whole, path = five
    bank = whole.remove([name for name in NAMED_ACTIONS if name not in pair])
    found = [s for s in spot(path, bank, model=model) if s.known]
    for action in actions():
        right = [s for s in found if s.label == action.label]
        if action.label in pair:
            assert max(shared(s, action) for s in right) > 1.0
    for segment in found:
        others = sum(shared(segment, a) for a in actions() if a.label != segment.label)
        if others > (segment.end - segment.start) / 2:
            assert segment.probability < 0.5, segment


@pytest.mark.usefixtures("computed_anew")
@pytest.mark.parametrize("pose", [True, False])
def test_a_window_is_classified_as_a_clip_of_its_frames_is(bank: SupportBank, pose: bool) -> None:
    model = load_model(pose=pose)
    frames = np.concatenate([part for _, part in parts()])[:32]
    windows: list[Window] = []
    stream = Stream(model, bank, window=(1.0, 2.0), stride=0.5, on_windows=windows.extend)
    assert stream.grid.step == 0.125
    for i, frame in enumerate(frames):
        stream.push(frame, i / FPS)
    stream.close()
    slots = frames[::2]  # 16 frames a second on a grid of 8 slots
    recognizer = Recognizer(model, bank)
    # In a stream people are followed from before, and never backwards.
    near = {"abs": 0.05 if pose else 1e-4}
    for window in windows:
        first, last = round(window.start * 8 + 0.49), round(window.end * 8 - 0.5)
        answer = recognizer(slots[first : last + 1])
        expected = [answer.probabilities[name] for name in bank.class_names]
        assert window.probabilities == pytest.approx(expected, **near)
        assert window.known == pytest.approx(answer.known, **near)
        alike = dataclasses.replace(
            window, share=0.5
        )  # of the clips that `classify` is asked about
        assert alike.chances.max() == pytest.approx(answer.confidence, **near)
        assert window.share == Rule().known_share
        assert window.chances.max() < answer.confidence
    assert len(windows) == 4


def played(frames: np.ndarray, model: Model, bank: SupportBank, **options: Any) -> list[Window]:
    """The windows of a stream of such frames."""
    windows: list[Window] = []
    stream = Stream(model, bank, on_windows=windows.extend, **options)
    for i, frame in enumerate(frames):
        stream.push(frame, i / FPS)
    stream.close()
    return windows


def test_people_are_followed_as_in_a_clip_of_the_whole_pictures(
    real_clips: Path, model: Model
) -> None:
    found = {path.parent.name: path for path in (real_clips / "ut_interaction").glob("*/set1_*")}
    bank = build_bank({name: [found[name]] for name in ("handshake", "kick")}, model=model)
    with av.open(str(found["push"])) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)][::6][:8]
    frames = np.stack(pictures)
    assert len(frames) == 8
    (window,) = played(frames, model, bank, window=0.5)
    answer = Recognizer(model, bank)(frames)
    assert answer.pose_frames == 8
    expected = [answer.probabilities[name] for name in bank.class_names]
    assert window.probabilities == pytest.approx(expected, abs=1e-6)
    (blind,) = played(frames, load_model(pose=False), bank, window=0.5)
    assert blind.probabilities != pytest.approx(expected, abs=1e-3)


def test_without_people_in_the_supports_nobody_is_looked_for(
    bank: SupportBank, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, blind = parts()[0][1], load_model(pose=False)
    people = torch.zeros_like(bank.descriptors["people"])
    nobody = dataclasses.replace(bank, descriptors={**bank.descriptors, "people": people})
    monkeypatch.setattr(Follower, "__call__", None)
    without = played(frames, blind, bank)
    assert same(played(frames, model, nobody), without)
    assert len(without) == 3


def test_after_a_break_people_are_followed_anew(bank: SupportBank, model: Model) -> None:
    frames = parts()[0][1]
    windows: list[Window] = []
    stream = Stream(model, bank, on_windows=windows.extend)
    for begin in (0, 100):
        for i, frame in enumerate(frames):
            stream.push(frame, begin + i / FPS)
    stream.close()
    first, second = windows[: len(windows) // 2], windows[len(windows) // 2 :]
    for one, other in zip(first, second, strict=True):
        assert (one.probabilities == other.probabilities).all()
