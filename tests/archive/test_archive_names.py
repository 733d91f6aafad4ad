"""Clips that get each other's names: an archive keeps all of them, each under the name it has now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from archive_maker import changes
from makers import draw_video
from makers_models import tiny_model

from a2m2_zoo import load_model
from a2m2_zoo.archive import Archive, Cutting
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video.content import content_hash

CUTTING = Cutting(whole=2.0, window=1.0, stride=0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    made = tmp_path_factory.mktemp("model")
    tiny_model(made)
    return load_model(made)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for i in range(1, 4):
        draw_video(tmp_path / "clips" / f"{i}.mp4", 10 + i, size=(64, 64))
    return tmp_path / "clips"


def told(archive: Archive) -> dict[str, str]:
    """The name of each clip → the content that the archive has of it."""
    return {facts["uri"]: key for key, facts in archive._store.clips().items()}


def true(*folders: Path) -> dict[str, str]:
    return {str(clip): content_hash(clip) for folder in folders for clip in folder.iterdir()}


def swap(one: Path, other: Path) -> None:
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)


@pytest.mark.parametrize("how", ["add", "sync"])
def test_two_that_swap_their_names(clips: Path, model: Model, tmp_path: Path, how: str) -> None:
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    swap(clips / "1.mp4", clips / "2.mp4")
    assert changes(getattr(archive, how)(clips)) == {"known": 3, "moved": 2}
    assert told(archive) == true(clips)
    assert changes(getattr(archive, how)(clips)) == {"known": 3}


def test_the_oldest_of_a_row_goes_and_the_others_move_up(
    clips: Path, model: Model, tmp_path: Path
) -> None:
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    (clips / "1.mp4").unlink()
    (clips / "2.mp4").rename(clips / "1.mp4")
    (clips / "3.mp4").rename(clips / "2.mp4")
    assert changes(archive.sync(clips)) == {"known": 2, "moved": 2, "removed": 1}
    assert told(archive) == true(clips)


def test_one_of_two_that_swapped_is_added(clips: Path, model: Model, tmp_path: Path) -> None:
    """The other is not where it was, for something else is; it is taken out until somebody names it."""
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    swap(clips / "1.mp4", clips / "2.mp4")
    assert changes(archive.add(clips / "1.mp4")) == {"known": 1, "moved": 1, "removed": 1}
    assert changes(archive.add(clips)) == {"added": 1, "windows": 1, "known": 2}
    assert told(archive) == true(clips)


def test_a_copy_does_not_take_the_name_of_what_is_there_still(
    clips: Path, model: Model, tmp_path: Path
) -> None:
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    before, others = told(archive), tmp_path / "others"
    others.mkdir()
    shutil.copy(clips / "1.mp4", others / "copy.mp4")
    assert changes(archive.add(others)) == {"known": 1}
    assert told(archive) == before
    (clips / "1.mp4").unlink()
    assert changes(archive.sync([clips, others])) == {"known": 3, "moved": 1}
    assert told(archive) == true(clips, others)


def test_files_of_one_size_and_age_that_swap_their_names(model: Model, tmp_path: Path) -> None:
    clips = tmp_path / "raw"
    clips.mkdir()
    for name, step in (("a.avi", 3), ("b.avi", -3)):
        with av.open(str(clips / name), "w") as container:
            stream = container.add_stream("rawvideo", 8)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for i in range(12):
                picture = np.zeros((64, 64, 3), np.uint8)
                picture[20:40, (30 + step * i) % 44 : (30 + step * i) % 44 + 20] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())
        os.utime(clips / name, (1e9, 1e9))
    assert len({(c.stat().st_size, c.stat().st_mtime_ns) for c in clips.iterdir()}) == 1
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    swap(clips / "a.avi", clips / "b.avi")
    assert changes(archive.sync(clips)) == {"known": 2, "moved": 2}
    assert told(archive) == true(clips)


def test_pictures_of_a_folder_that_change_places(model: Model, tmp_path: Path) -> None:
    frames = tmp_path / "clips" / "frames"
    frames.mkdir(parents=True)
    for i in range(8):
        picture = np.zeros((64, 64, 3), np.uint8)
        picture[20:40, 5 * i : 5 * i + 20] = 255
        with av.open(str(frames / f"{i}.png"), "w", format="image2") as container:
            stream = container.add_stream("png")
            stream.width = stream.height = 64
            stream.pix_fmt = "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode())
    clips = frames.parent
    archive, _ = Archive.build(tmp_path / "a", clips, model=model, cutting=CUTTING)
    swap(frames / "1.png", frames / "6.png")
    assert changes(archive.sync(clips)) == {"added": 1, "windows": 1, "removed": 1}
    assert told(archive) == true(clips)
