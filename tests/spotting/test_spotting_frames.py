"""Frames that come late, twice, after a break or not at all, and what cannot be spotted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from makers import BROKEN, audio_only, draw_video
from spotting_maker import DAMAGED, FPS, frames_of, parts

from a2m2_zoo import SupportBank, load_model
from a2m2_zoo.errors import ArgumentError, BankError, EpisodeError, VideoError, VideoLimitError
from a2m2_zoo.pose import Follower, Poses
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.spotting import (
    Stream,
    Window,
    iter_spot,
    make_grid,
    spot,
    window_lengths,
)
from a2m2_zoo.spotting.sources import VideoFrames
from a2m2_zoo.spotting.windows import PLAIN_LENGTHS
from a2m2_zoo.video import Limits

pytestmark = pytest.mark.usefixtures("seen_once")


def push_nine(slow: Stream, still: np.ndarray) -> None:
    """Nine frames, each of which fills four slots."""
    for i in range(9):
        slow.push(still + i, i / 2)
    slow.close()


@pytest.mark.usefixtures("computed_anew")
def test_each_frame_is_searched_and_encoded_once_however_many_windows_hold_it(
    video: Path, bank: SupportBank, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[bytes] = []
    encoded: list[int] = []
    follow, forward = Follower.__call__, model.backbone.forward

    def following(follower: Follower, picture: np.ndarray) -> Poses:
        searched.append(picture.tobytes())
        return follow(follower, picture)

    def encoding(frames: torch.Tensor, **options: object) -> object:
        encoded.append(frames.shape[0] * frames.shape[1])
        return forward(frames, **options)

    monkeypatch.setattr(Follower, "__call__", following)
    monkeypatch.setattr(model.backbone, "forward", encoding)
    windows: list[Window] = []
    spot(video, bank, model=model, window=(1.0, 2.0, 4.0), on_windows=windows.extend)
    step = make_grid((1.0, 2.0, 4.0), stride=0.5, frames=8).step
    assert len(searched) == pytest.approx(116 / FPS / step, abs=1)
    assert len(set(searched)) == len(searched)
    assert sum(encoded) == pytest.approx(116 / FPS / step, abs=1)
    assert 8 * len(windows) > 3 * sum(encoded)
    for size in ((96, 192, 3), (96, 96, 3)):
        searched.clear()
        encoded.clear()
        push_nine(Stream(model, bank, window=1.0), np.zeros(size, np.uint8))
        assert len(searched) == sum(encoded) == 9


def test_jitter_drops_doubles_and_late_frames_change_little(
    video: Path, bank: SupportBank, model: Model
) -> None:
    frames = frames_of(video)
    rng = np.random.default_rng(0)
    rough = Stream(model, bank)
    found = []
    for i, (frame, at) in enumerate(frames):
        if i % 9 == 5:
            continue
        found += rough.push(frame, at + rng.uniform(0, 0.02))
        if i % 7 == 3:
            found += rough.push(frame, at)
    found += rough.close()
    assert [s.label for s in found if s.known] == [name for name, _ in parts()]
    assert rough.late > 10


def test_no_window_reaches_over_a_break(video: Path, bank: SupportBank, model: Model) -> None:
    windows: list[Window] = []
    stream = Stream(model, bank, window=(1.0, 2.0), gap=1.0, on_windows=windows.extend)
    found = []
    for frame, at in frames_of(video):
        found += stream.push(frame, at if at < 3 else at + 50)
    found += stream.close()
    for window in windows:
        assert window.end < 3.2 or window.start >= 52.9
    assert {s.end < 3.2 for s in found} == {True, False}
    assert all(s.end < 3.2 or s.start >= 52.9 for s in found)


def test_times_in_milliseconds_are_said_once(video: Path, bank: SupportBank, model: Model) -> None:
    stream = Stream(model, bank)
    frames = [frame for frame, _ in frames_of(video)[:12]]
    for i, frame in enumerate(frames[:4]):
        assert stream.push(frame, 1000 * i / FPS) == []
    with pytest.warns(UserWarning, match="in seconds, not milliseconds"):
        stream.push(frames[4], 1000 * 4 / FPS)
    for i, frame in enumerate(frames[5:], 5):
        stream.push(frame, 1000 * i / FPS)


def test_the_clock_may_count_from_1970_and_a_jump_costs_nothing(
    video: Path, bank: SupportBank, model: Model
) -> None:
    frames = [frame for frame, _ in frames_of(video)[:60]]  # two actions
    answers = []
    for origin in (0.0, 1_795_912_039.25):
        stream = Stream(model, bank, gap=60.0)
        found = [s for i, f in enumerate(frames) for s in stream.push(f, origin + i / FPS)]
        found += stream.close()
        answers.append(found)
    assert len(answers[0]) > 1
    for here, there in zip(*answers, strict=True):
        assert (here.label, here.probability) == (there.label, there.probability)
        assert (there.start - origin, there.end - origin) == pytest.approx(
            (here.start, here.end), abs=1e-5
        )
    windows: list[Window] = []
    stream = Stream(model, bank, on_windows=windows.extend)
    for at in (0.0, 1_795_912_039.25, -1e9, 9e10):
        stream.push(frames[0], at)
    stream.close()
    assert len(windows) == 4  # what came before a jump is scored as a whole
    with pytest.raises(ArgumentError, match=r"timestamp is 1.7959.*e\+18; expected seconds"):
        Stream(model, bank).push(frames[0], 1_795_912_039_000_000_000)


def test_a_frame_stamped_beyond_all_time_is_left_out_and_named(
    video: Path, bank: SupportBank, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = spot(video, bank, model=model)
    frames = VideoFrames.__iter__

    def stamped(video: VideoFrames) -> Iterator[tuple[av.VideoFrame, float]]:
        for number, (frame, at) in enumerate(frames(video)):
            yield frame, at
            if number == 50:
                yield frame, 1e15

    monkeypatch.setattr(VideoFrames, "__iter__", stamped)
    errors: list[VideoError] = []
    assert spot(video, bank, model=model, on_damage=errors.append) == whole
    assert "1 frame(s) are stamped with times that are none" in str(errors[0])


def test_what_is_kept_does_not_grow(bank: SupportBank, model: Model) -> None:
    stream = Stream(model, bank, window=1.0, reject_below=1.0)
    picture = np.zeros((64, 64, 3), np.uint8)

    def held() -> tuple[int, ...]:
        segmenter = stream._segmenter
        ring = stream._ring._maps["s14"]
        assert stream._people is not None
        people = stream._people._people
        assert people is not None
        queues = (stream._first, stream._fresh, stream._unsearched, segmenter._sums)
        return ring.numel(), people.numel(), *map(len, queues)

    sizes = []
    for i in range(48):
        stream.push(picture + i % 7, i / 4)
        if i in (23, 47):
            sizes.append(held())
    assert sizes[0] == sizes[1]


def test_a_video_shorter_than_every_window_is_scored_whole(
    bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    windows: list[Window] = []
    found = spot(
        draw_video(tmp_path / "short.mp4", 8),
        bank,
        model=model,
        reject_below=0,
        on_windows=windows.extend,
    )
    assert len(windows) == 1
    assert len(found) == 1
    assert 0.4 < found[0].end < 0.7


def test_lengths_of_windows_come_from_the_supports(bank: SupportBank) -> None:
    assert sorted(bank.durations) == pytest.approx([1.5] * 3 + [2.0] * 3)
    lengths = window_lengths(bank)
    assert 1.1 < lengths[0] < lengths[-1] < 1.7
    unknown = dataclasses.replace(bank, durations=())
    assert window_lengths(unknown) == PLAIN_LENGTHS
    assert window_lengths(dataclasses.replace(bank, durations=(None,) * 6)) == PLAIN_LENGTHS


def test_banks_keep_durations(bank: SupportBank, tmp_path: Path) -> None:
    again = SupportBank.load(bank.save(tmp_path / "b.safetensors"))
    assert again.durations == bank.durations
    assert bank.remove(["wave"]).durations == bank.durations[:4]
    old = dataclasses.replace(bank.remove(["jump", "squat"]), durations=())
    joined = bank.remove(["wave"]).add(old)
    assert joined.durations == (*bank.durations[:4], None, None)


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_what_is_found_before_the_damage_is_kept(
    name: str, bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    path = DAMAGED[name](tmp_path / name)
    errors: list[VideoError] = []
    found = spot(path, bank, model=model, reject_below=0.0, on_damage=errors.append)
    assert found
    assert found[0].start == 0.0
    (error,) = errors
    assert str(error).startswith(str(path))
    assert "\n" not in str(error)
    kept = iter_spot(path, bank, model=model, reject_below=0.0)
    assert [next(kept) for _ in found] == found
    with pytest.raises(VideoError, match=r"damaged|truncated"):
        next(kept)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_files_that_are_no_video_give_one_line(
    name: str, bank: SupportBank, model: Model, tmp_path: Path
) -> None:
    path = BROKEN[name](tmp_path / name)
    with pytest.raises(VideoError) as caught:
        spot(path, bank, model=model)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_calls_are_refused(bank: SupportBank, model: Model, tmp_path: Path) -> None:
    stream = Stream(model, bank, limits=Limits(megapixels=0.01))
    with pytest.raises(ArgumentError, match=r"expected RGB \(H, W, 3\), uint8"):
        stream.push(np.zeros((4, 4)), 0.0)
    with pytest.raises(VideoError, match="the frame: a torch Tensor that is no array"):
        stream.push(torch.empty(8, 8, 3, dtype=torch.uint8, device="meta"), 0.0)
    with pytest.raises(ArgumentError, match="rule is the number 3; expected an"):
        Stream(model, bank, rule=3)  # type: ignore[arg-type]
    with pytest.raises(VideoLimitError, match="the frame: 200x200"):
        stream.push(np.zeros((200, 200, 3), np.uint8), 0.0)
    assert stream.close() == stream.close() == []
    with pytest.raises(ArgumentError, match="the stream is closed"):
        stream.push(np.zeros((8, 8, 3), np.uint8), 0.0)
    with pytest.raises(ArgumentError, match="window lengths are"):
        Stream(model, bank, window=0.01)
    with pytest.raises(ArgumentError, match="frames would be in no window"):
        Stream(model, bank, window=1.0, stride=2.0)
    with pytest.raises(ArgumentError, match="in memory, more than 1024"):
        Stream(model, bank, window=(0.5, 120.0))
    with pytest.raises(ArgumentError, match="gap is 0"):
        Stream(model, bank, gap=0.0)
    with pytest.raises(EpisodeError, match="one class, 'wave'"):
        Stream(model, bank.remove(["jump", "squat"]))
    with pytest.raises(BankError, match="made by model"):
        Stream(load_model("protonet-lite0"), bank)
    with pytest.raises(VideoError, match="only sound"):
        spot(audio_only(tmp_path / "sound.mp4"), bank, model=model)


def test_every_embedded_method_can_spot(video: Path, tmp_path: Path) -> None:
    model = load_model("protonet-lite0")
    plain = {name: [part] for name, part in parts()[:3]}
    found = spot(video, plain, model=model, window=2.0, reject_below=0.0)
    assert found
    assert {s.label for s in found} <= set(plain)
