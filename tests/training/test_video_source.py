"""Episodes from real video files: the planned clips, whatever is broken and whatever was asked before."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.data.plans import EpisodeForm, EpisodePlan
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.synthetic import write_video
from a2m2_zoo.training import video
from a2m2_zoo.training.augment import Augment
from a2m2_zoo.training.video import VideoSource
from a2m2_zoo.video import Preprocess

FRAMES, LENGTH, CLIPS = 4, 12, 5
SPEC = Preprocess(frames=FRAMES, resize=32, size=32, mean=(0, 0, 0), std=(1, 1, 1))
NAMES = ("a", "b", "c")


def clip_file(path: Path, number: int) -> Path:
    """Red says which clip it is, green which frame."""
    path.parent.mkdir(exist_ok=True)
    frames = np.zeros((LENGTH, 32, 32, 3), np.uint8)
    frames[..., 0] = 15 * number + 10
    frames[..., 1] = (20 * np.arange(LENGTH) + 10)[:, None, None]
    write_video(path, frames)
    return path


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    root = tmp_path_factory.mktemp("clips")
    return {
        name: tuple(clip_file(root / name / f"{i}.mp4", i + CLIPS * c) for i in range(CLIPS))
        for c, name in enumerate(NAMES)
    }


def broken(classes: dict, *places: tuple[str, int]) -> dict[str, tuple[Path, ...]]:
    """The same classes with missing files in some places."""
    return {
        name: tuple(
            p.with_name(f"no{i}.mp4") if (name, i) in places else p for i, p in enumerate(paths)
        )
        for name, paths in classes.items()
    }


def source(classes: dict, **settings) -> VideoSource:
    form = {"way": 2, "shot": 1, "query": 2, "episodes": 2, "seed": 3}
    form |= {name: settings.pop(name) for name in set(form) & set(settings)}
    return VideoSource(classes, EpisodeForm(**form), preprocess=SPEC, **{"workers": 2, **settings})


def clips_of(frames: torch.Tensor) -> list[int]:
    """Numbers of the clips, read off their pixels."""
    return [round((float(red) * 255 - 10) / 15) for red in frames[:, :, 0].mean((1, 2, 3))]


def frames_of(frames: torch.Tensor) -> list[list[int]]:
    return [[round((float(g) * 255 - 10) / 20) for g in c[:, 1].mean((1, 2))] for c in frames]


def same(one, two) -> bool:
    return all(
        torch.equal(getattr(one, name), getattr(two, name))
        for name in ("support_frames", "query_frames", "support_classes", "query_classes")
    )


def threads() -> int:
    return sum(t.name.startswith("a2m2-train") for t in threading.enumerate())


def test_a_batch_is_what_the_plan_says(classes):
    plan = EpisodePlan((CLIPS,) * 3, way=2, shot=1, query=2, seed=3).episodes(6, 8)
    with source(classes) as clips:
        batch = clips.batch(3)
    assert (clips.classes, clips.names) == (3, NAMES)
    supports = plan.classes[..., None] * CLIPS + plan.support
    queries = plan.classes[..., None] * CLIPS + plan.query
    assert clips_of(batch.support_frames) == supports.flatten().tolist()
    assert clips_of(batch.query_frames) == queries.flatten().tolist()
    assert batch.support_classes.tolist() == plan.classes.flatten().tolist()
    assert batch.query_classes.tolist() == plan.classes.repeat(2, axis=1).flatten().tolist()
    assert (batch.labels.tolist(), batch.query_labels.tolist()) == ([0, 1], [0, 0, 1, 1])
    assert (batch.way, batch.support_frames.shape) == (2, (4, FRAMES, 3, 32, 32))


def test_a_batch_depends_on_seed_and_index_alone(classes):
    settings = {"augment": Augment(resize=40)}
    with source(classes, **settings) as one, source(classes, workers=1, **settings) as two:
        forward = [one.batch(i) for i in range(4)]
        assert all(same(forward[i], two.batch(i)) for i in (2, 0, 3, 1, 1))
    with source(classes, seed=4, **settings) as other:
        assert not same(other.batch(0), forward[0])


def test_frames_are_drawn_one_a_segment(classes):
    with source(classes, query=4) as clips:
        drawn = [frames_of(clips.batch(i).query_frames) for i in range(4)]
    flat = [tuple(frames) for batch in drawn for frames in batch]
    assert all([f * FRAMES // LENGTH for f in frames] == list(range(FRAMES)) for frames in flat)
    assert len(set(flat)) > 10


def test_without_a_backbone_features_are_left_to_the_loop(classes):
    with source(classes) as clips:
        batch = clips.batch(0)
    assert (batch.query.maps, batch.query.pooled.shape, batch.episodes) == ({}, (8, FRAMES, 0), 2)


def test_a_frozen_backbone_gives_plain_features_of_the_frames(classes):
    backbone = build_backbone("tiny").train()
    with source(classes, backbone=backbone, stages=("s7",)) as clips:
        batch = clips.batch(0)
    assert not backbone.training
    expected = backbone(batch.query_frames, stages=["s7"])
    assert list(batch.query.maps) == ["s7"]
    assert torch.equal(batch.query.maps["s7"], expected.maps["s7"])
    assert torch.equal(batch.query.pooled, expected.pooled)
    assert not batch.query.pooled.requires_grad
    assert not batch.support.pooled.is_inference()  # a loss may keep them for its backward pass


def test_supports_are_cropped_and_queries_coloured(classes):
    grey = Augment(flip=0, brightness=0, contrast=0, saturation=0, hue=0, grayscale=1)
    both = Augment(**{**grey.to_dict(), "sides": "both"})
    with source(classes, augment=grey) as clips, source(classes, augment=both) as alike:
        one, two = clips.batch(0), alike.batch(0)
    spread = [
        float(f.std(2).mean()) for f in (one.support_frames, one.query_frames, two.support_frames)
    ]
    assert spread[0] > 0.05
    assert spread[1] < 1e-6
    assert spread[2] < 1e-6


def test_a_broken_clip_is_replaced_by_another_of_its_class(classes):
    reported: list[str] = []
    damaged = broken(classes, ("a", 1), ("b", 0), ("b", 4))
    with source(damaged, way=3, query=1, report=reported.append) as clips:
        batches = [clips.batch(i) for i in range(6)]
    with source(damaged, way=3, query=1, report=lambda line: None) as again:
        assert all(same(again.batch(i), batches[i]) for i in (5, 1, 3))
    missing = {1, CLIPS, CLIPS + 4}
    for batch in batches:
        supports, queries = clips_of(batch.support_frames), clips_of(batch.query_frames)
        assert not missing & {*supports, *queries}
        assert [n // CLIPS for n in supports] == batch.support_classes.tolist()
        assert [n // CLIPS for n in queries] == batch.query_classes.tolist()
        for e in range(2):
            assert len({*supports[3 * e : 3 * e + 3], *queries[3 * e : 3 * e + 3]}) == 6
    assert len(reported) == len(clips.failures) == 3
    assert sorted(p.name for p in clips.failures) == ["no0.mp4", "no1.mp4", "no4.mp4"]
    assert all("another clip of" in line for line in reported)


def test_good_clips_stay_where_others_are_broken(classes):
    with source(classes, way=3, query=1) as whole:
        before = whole.batch(0)
    with source(broken(classes, ("a", 1)), way=3, query=1, report=lambda line: None) as clips:
        after = clips.batch(0)
    changed = (before.support_frames != after.support_frames).flatten(1).any(1)
    assert all(n == 1 for n, c in zip(clips_of(before.support_frames), changed, strict=True) if c)


def test_the_default_report_is_a_warning(classes):
    damaged = broken(classes, *((name, 0) for name in NAMES))
    with (
        source(damaged, way=3, query=3) as clips,
        pytest.warns(UserWarning, match=r"no0\.mp4.*check"),
    ):
        clips.batch(0)


def test_a_class_without_enough_clips_is_an_error_and_nothing_runs_on(classes):
    damaged = broken(classes, *(("b", i) for i in range(3)))
    with source(damaged, way=3, report=lambda line: None) as clips:
        with pytest.raises(EpisodeError, match="class 'b' has 5 clips of which 3 cannot be read"):
            clips.batch(0)
        assert not clips._ahead
    assert threads() == 0


def counted(monkeypatch) -> list[str]:
    """Names of the clips that are read from now on."""
    seen: list[str] = []
    read = video.read_clip

    def note(path, *rest, **settings):
        seen.append(path.name)
        return read(path, *rest, **settings)

    monkeypatch.setattr(video, "read_clip", note)
    return seen


def test_no_more_than_two_batches_are_read_ahead(classes, monkeypatch):
    seen = counted(monkeypatch)
    clips = source(classes, episodes=1)
    clips.batch(0)
    for futures in clips._ahead.values():
        for future in futures:
            future.result()
    assert len(seen) == 3 * 6
    assert sorted(clips._ahead) == [1, 2]
    clips.batch(1)
    assert sorted(clips._ahead) == [2, 3]
    clips.close()


def test_what_is_read_ahead_follows_the_steps_of_the_caller(classes):
    with source(classes) as clips:
        clips.batch(1)
        clips.batch(5)
        assert sorted(clips._ahead) == [9, 13]
        clips.batch(9)
        assert sorted(clips._ahead) == [13, 17]


def test_closing_ends_the_threads_and_the_source(classes):
    clips = source(classes)
    clips.batch(0)
    assert threads() == 2
    clips.close()
    clips.close()
    assert threads() == 0
    with pytest.raises(ArgumentError, match="closed"):
        clips.batch(1)


def test_ctrl_c_leaves_nothing_waiting(classes, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with source(classes) as clips:
        monkeypatch.setattr(video, "normalise", interrupt)
        with pytest.raises(KeyboardInterrupt):
            clips.batch(0)
        assert not clips._ahead


@pytest.mark.parametrize("settings", [{"episodes": 0}, {"workers": 0}, {"query": 0}])
def test_bad_sizes_are_refused(classes, settings):
    with pytest.raises(ArgumentError, match=next(iter(settings))):
        source(classes, **settings)


def test_too_few_clips_are_refused(classes):
    with pytest.raises(EpisodeError, match="need 6 clips"):
        source(classes, shot=3, query=3)
