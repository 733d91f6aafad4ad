from __future__ import annotations

from pathlib import Path

import pytest

from a2m2_zoo.data.index import check_class_names, class_folders, is_frame_folder
from a2m2_zoo.errors import EpisodeError, VideoNotFoundError


def tree(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_clips_are_videos_and_frame_folders_in_name_order(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "wave/b.mp4",
        "wave/a.WEBM",
        "wave/notes.txt",
        "wave/.hidden.mp4",
        "wave/c/001.png",
        "jump/z.avi",
        "README.md",
        ".cache/x.mp4",
    )
    found = class_folders(root)
    assert list(found) == ["jump", "wave"]
    assert [p.name for p in found["wave"]] == ["a.WEBM", "b.mp4", "c"]


@pytest.mark.parametrize(
    ("files", "frames"),
    [
        (["1.png", "2.png"], True),
        (["1.png", "notes.txt", "masks/readme.txt"], True),
        (["contact_sheet.png", "wave/a.mp4"], False),  # what `a2m2 data synth` writes
        (["contact_sheet.png", "wave/a/1.png"], False),
        (["thumbnail.jpg", "a.mp4"], False),
        (["notes.txt"], False),
    ],
)
def test_pictures_beside_clips_do_not_make_a_clip(
    tmp_path: Path, files: list[str], frames: bool
) -> None:
    assert is_frame_folder(tree(tmp_path, *files)) is frames


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["wave/notes.txt", "jump/a.mp4"], "class 'wave' in .* has no clip; add a video"),
        (["a.mp4"], "holds no class folder"),
        (["Wave/a.mp4", "wave /a.mp4"], "two classes have the same name: 'Wave' and 'wave '"),
    ],
)
def test_refusals_name_what_is_wrong(tmp_path: Path, files: list[str], message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        class_folders(tree(tmp_path, *files))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(VideoNotFoundError, match="is not a folder"):
        class_folders(tmp_path / "nowhere")


def test_names_that_look_alike_are_refused() -> None:
    with pytest.raises(EpisodeError, match="same name"):
        check_class_names(["caf\u00e9", "cafe\u0301"])
    with pytest.raises(EpisodeError, match="give every class a name"):
        check_class_names([" "])
    check_class_names(["wave", "waves"])
