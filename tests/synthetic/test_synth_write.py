"""Written data sets: real video files, whole or not at all."""

from __future__ import annotations

import hashlib

import av
import numpy as np
import pytest

from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.synthetic import (
    NAMED_ACTIONS,
    ClipFormat,
    draw_named,
    program,
    write_dataset,
    write_video,
)
from a2m2_zoo.synthetic.write import contact_sheet


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "sub" / "named"
    seen = []
    paths = write_dataset(
        out,
        named=True,
        clips=2,
        form=ClipFormat(frames=9, size=64),
        progress=lambda *counts: seen.append(counts),
    )
    return out, paths, seen


def test_the_tree_is_class_folders_of_clips(named):
    out, paths, seen = named
    assert [p.relative_to(out).as_posix() for p in paths] == [
        f"{action}/clip_{k:04d}.mp4" for action in NAMED_ACTIONS for k in range(2)
    ]
    assert sorted(p.name for p in out.iterdir()) == sorted([*NAMED_ACTIONS, "contact_sheet.png"])
    assert sorted(p.name for p in out.parent.iterdir()) == ["named"]
    assert seen == [(k + 1, 10) for k in range(10)]


def test_files_decode_to_the_frames_that_were_drawn(named):
    _, paths, _ = named
    for path, action in zip(paths[::2], NAMED_ACTIONS, strict=True):
        decoded = frames_of(path)
        drawn = draw_named(action, 0, frames=9, size=64)
        assert decoded.shape == drawn.shape
        error = np.abs(decoded.astype(float) - drawn).mean((1, 2, 3))
        shuffled = np.abs(decoded[::-1].astype(float) - drawn).mean()
        assert error.max() < 20
        assert error.mean() < shuffled


def test_rate_and_codec(named):
    _, paths, _ = named
    with av.open(str(paths[0])) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 16
        assert stream.codec_context.name in ("h264", "mpeg4")
        assert stream.codec_context.pix_fmt == "yuv420p"


def test_the_contact_sheet_shows_every_class_under_its_name(named):
    out, _, _ = named
    (sheet,) = frames_of(out / "contact_sheet.png")
    drawn = draw_named("wave", 0, frames=9, size=64)
    assert (sheet[56 : 56 + 64, 10 : 10 + 64] == drawn[1]).all()
    dark = sheet.max(2) < 128
    for row in range(5):
        y = 32 + row * (64 + 34)
        assert dark[y : y + 20, 10:60].any()  # the class
        assert (sheet[y : y + 20, 100:] == 255).all()
    assert [dark[8:28, x : x + 90].any() for x in (10, 276)] == [True] * 2  # the clips


def test_labels_of_the_sheet_are_whole_and_are_those_given():
    clip = np.full((2, 16, 16, 3), 100, np.uint8)
    long = "a_class_whose_name_is_wider_than_its_frames"
    sheets = [contact_sheet({name: [clip]}, [file]) for name, file in ((long, "a"), (long, "b"))]
    assert sheets[0].shape == sheets[1].shape
    differ = np.flatnonzero((sheets[0] != sheets[1]).any((1, 2)))
    assert len(differ) > 0
    assert differ.max() < 30  # only where the clips are named
    assert (sheets[0][:, -5:] == 255).all()  # nothing touches the edge
    shorter = contact_sheet({long[:-1]: [clip]}, ["a"])
    assert shorter.shape[1] < sheets[0].shape[1]


def test_generated_classes_and_the_same_bytes_again(tmp_path):
    made = [
        write_dataset(
            tmp_path / name, classes=8, clips=1, seed=6, form=ClipFormat(frames=4, size=48)
        )
        for name in ("a", "b", "c")
    ]
    assert [p.parent.name for p in made[0]] == [program(6, k).name for k in range(8)]
    sums = [[hashlib.sha256(p.read_bytes()).hexdigest() for p in paths] for paths in made]
    assert sums[0] == sums[1] == sums[2]


def test_an_empty_folder_may_exist_and_a_full_one_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    write_dataset(tmp_path / "empty", classes=1, clips=1, form=ClipFormat(frames=2, size=32))
    before = sorted(p.as_posix() for p in tmp_path.rglob("*"))
    with pytest.raises(ArgumentError, match="exists; give a new folder"):
        write_dataset(tmp_path / "empty", classes=1, clips=1)
    assert sorted(p.as_posix() for p in tmp_path.rglob("*")) == before


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    import a2m2_zoo.synthetic.write as module

    calls = []

    def full(path, frames, *, fps):
        calls.append(path)
        if len(calls) == 2:
            raise SaveError("disk is full")
        write_video(path, frames, fps=fps)

    monkeypatch.setattr(module, "write_video", full)
    with pytest.raises(SaveError, match="full"):
        write_dataset(tmp_path / "out", classes=2, clips=2, form=ClipFormat(frames=2, size=32))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_made_is_a_save_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SaveError, match="choose another place"):
        write_dataset(
            tmp_path / "file" / "out", classes=1, clips=1, form=ClipFormat(frames=2, size=32)
        )


def test_a_missing_encoder_falls_back(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    clip = draw_named("kick", 0, frames=6, size=64)
    write_video(tmp_path / "x.mp4", clip)
    assert frames_of(tmp_path / "x.mp4").shape == clip.shape
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": 0}, "classes must be"),
        ({"classes": 6, "named": True}, "5 named actions"),
        ({"clips": 0}, "clips must be"),
        ({"seed": -1}, "whole numbers"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_written(tmp_path, fields, said):
    with pytest.raises(ArgumentError, match=said):
        write_dataset(tmp_path / "out", **fields)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frames": 0}, "frames must be"),
        ({"size": 65}, "even"),
        ({"size": 4096}, "from 16 to 2048"),
        ({"fps": 0}, "fps must be"),
    ],
)
def test_formats_that_no_file_has_are_refused(fields, said):
    with pytest.raises(ArgumentError, match=said):
        ClipFormat(**fields)


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (2, 8, 8), (2, 9, 8, 3)])
def test_frames_that_cannot_be_encoded_are_refused(tmp_path, shape):
    with pytest.raises(ArgumentError):
        write_video(tmp_path / "x.mp4", np.zeros(shape, np.uint8))


def test_a_file_that_cannot_be_opened_is_a_save_error(tmp_path):
    with pytest.raises(SaveError, match=r"x\.mp4"):
        write_video(tmp_path / "missing" / "x.mp4", np.zeros((2, 16, 16, 3), np.uint8))
