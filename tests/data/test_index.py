from __future__ import annotations

import logging
import os
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from makers import three_classes

from a2m2_zoo.data.index import (
    VIDEO_SUFFIXES,
    check_class_names,
    class_folders,
    find_classes,
    find_clips,
    is_frame_folder,
)
from a2m2_zoo.errors import EpisodeError, VideoError, VideoNotFoundError
from a2m2_zoo.video import Preprocess, read_clip
from a2m2_zoo.video.folders import LeftOut


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
        (["contact_sheet.png", "data/train/wave/a.mp4"], False),  # at any depth
        (["1.png", "2.png", "@eaDir/1.png/SYNOPHOTO_THUMB.jpg"], True),
        (["1.png", "2.png", "thumbs/1.jpg", "thumbs/2.jpg"], True),
        (["1.png", "2.png", "masks/1.png", "masks/2.png"], True),
        (["sheet.png", "index.png", "a/1.png", "a/2.png", "b/1.png", "b/2.png"], False),
        (["thumbnail.jpg", "a.mp4"], False),
        (["notes.txt"], False),
    ],
)
def test_pictures_beside_clips_do_not_make_a_clip(
    tmp_path: Path, files: list[str], frames: bool
) -> None:
    assert is_frame_folder(tree(tmp_path, *files)) is frames


def names(root: Path, clips: tuple[Path, ...]) -> list[str]:
    return [str(clip.relative_to(root)) for clip in clips]


def said(root: Path, left_out: tuple[LeftOut, ...]) -> dict[str, str]:
    return {str(one.path.relative_to(root)): one.reason for one in left_out}


IGNORED = [
    "@eaDir/a.mp4/SYNOVIDEO_VIDEO_SCREENSHOT.jpg",
    "__MACOSX/kick/._a.mp4",
    "__MACOSX/kick/a.mp4",
    "._a.mp4",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN/b.mp4",
    "System Volume Information/x.mp4",
    "lost+found/c.avi",
    ".AppleDouble/a.mp4",
    ".git/a.mp4",
    ".ipynb_checkpoints/a.mp4",
    "@Recycle/a.mp4",
    "#recycle/a.mp4",
    ".thumbnails/a.jpg",
    ".@__thumb/a.jpg",
    ".Trash-1000/files/a.mp4",
    "FOUND.000/a.mp4",
]
PICTURES = [
    "thumbnails/x.jpg",
    "Thumbs/1.jpg",
    "posters/p.png",
    "a.trickplay/320 - 10x10/0.jpg",
    "kick_thumbs/00.jpg",
    "stills/a.jpg",
]
STAND_INS = [  # one picture for the one video, of its name; beside classes such a folder is a class
    "any/a.jpg",
    "any/a.mp4.jpg",
    "any/a_thumb.png",
]


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("kick", name) for name in (*IGNORED, *PICTURES, *STAND_INS)),
        *(("", name) for name in (*IGNORED, *PICTURES)),
    ],
)
def test_what_other_programs_leave_is_no_clip_and_no_class(
    name: str, where: str, tmp_path: Path
) -> None:
    """Beside the classes as well as beside the clips, for sets of classes and for folders of queries."""
    root = tree(tmp_path, "kick/a.mp4", "wave/w1/1.png", "wave/w1/2.png")
    tree(root / where, name)
    expected = {"kick": ["kick/a.mp4"], "wave": ["wave/w1"]}
    found = find_classes(root)
    assert {label: names(root, clips) for label, clips in found.classes.items()} == expected
    answered = find_clips(root)
    assert names(root, answered.clips) == ["kick/a.mp4", "wave/w1"]
    first = str(Path(where) / name.split("/")[0])
    assert first in said(root, found.left_out)
    assert first in said(root, answered.left_out)


@pytest.mark.parametrize(
    "files",
    [
        ["a.mp4", "c/001.png", "c/002.png", "c/003.png"],  # a set may mix both
        ["1.mp4", "2.mp4", "3.mp4", "c/1.png", "c/2.png"],  # frames are numbered, and so are videos
        ["c/001.png", "c/002.png", "d/001.png", "d/002.png"],
        ["a.mp4", "thumbs up/1.png", "thumbs up/2.png"],
        ["a.mp4", "cover/b.mp4"],  # it holds no pictures
        ["a.mp4/1.jpg", "a.mp4/2.jpg"],
    ],
)
def test_frame_folders_beside_other_clips_are_clips(files: list[str], tmp_path: Path) -> None:
    root = tree(tmp_path, *files)
    wanted = {file if "cover" in file or "/" not in file else file.split("/")[0] for file in files}
    assert set(names(root, find_clips(root).clips)) == wanted


@pytest.mark.parametrize("label", ["cover", "screens", "thumbs_up", "poster"])
def test_a_class_may_have_any_name(label: str, tmp_path: Path) -> None:
    videos = tree(tmp_path / "videos", f"{label}/a.mp4", "wave/b.mp4")
    assert set(class_folders(videos)) == {label, "wave"}
    assert len(find_clips(videos).clips) == 2
    if label != "poster":  # of pictures only, it could be one
        frames = tree(
            tmp_path / "frames", *(f"{c}/x/{i}.png" for c in (label, "w") for i in (1, 2))
        )
        assert set(class_folders(frames)) == {label, "w"}
        assert len(find_clips(frames).clips) == 2


def test_everything_left_out_is_named_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(
        tmp_path / "set",
        "contact_sheet.png",  # our own: not worth a word
        "stray.mp4",
        "README.md",
        "kick/a.mp4",
        "kick/notes.txt",
        "kick/.b.mp4",
        "kick/.hidden",
        "kick/poster.jpg",
        "kick/session 1/c.mp4",
        "kick/empty/notes.txt",
        "wave/w\n\x1b[2J.xyz",
        "wave/w.mkv",
    )
    (root / "wave" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = find_classes(root)
    assert said(root, found.left_out) == {
        "stray.mp4": "a video in no class folder",
        "README.md": "no video by its name",
        "kick/notes.txt": "no video by its name",
        "kick/.b.mp4": "hidden",
        "kick/poster.jpg": "a picture beside clips",
        "kick/session 1": "a folder inside a class that is no clip",
        "wave/w\n\x1b[2J.xyz": "no video by its name",
        "wave/gone.mp4": "a link to nothing",
    }
    with caplog.at_level(logging.WARNING, "a2m2_zoo"):
        class_folders(root)
    (line,) = caplog.messages
    assert line.startswith(f"left out of {root}: ")
    assert line.isprintable()
    assert "README.md, kick/notes.txt, wave/w\\n\\x1b[2J.xyz (no video by its name)" in line
    assert "kick/session 1 (a folder inside a class that is no clip)" in line
    tree(root, *(f"kick/{i}.txt" for i in range(20)))
    caplog.clear()
    class_folders(root)
    assert "and 20 more (no video by its name)" in caplog.messages[0]
    tidy = tree(tmp_path / "tidy", "kick/a.mp4", "wave/b.mp4", "contact_sheet.png", "wave/.cache")
    caplog.clear()
    class_folders(tidy)
    assert caplog.messages == []


def test_links_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    root = tree(tmp_path / "set", "kick/a.mp4", "kick/b/1.png", "kick/b/2.png", "wave/c.mp4")
    outside = tree(tmp_path / "else", "d.mp4", "e/1.png", "e/2.png", "deep/f.mp4")
    links = {
        "kick/here": root,
        "kick/up": tmp_path,
        "kick/self": root / "kick" / "self",
        "wave/same.mp4": root / "kick" / "a.mp4",  # of another class
        "kick/again.mp4": root / "kick" / "a.mp4",
        "kick/b2": root / "kick" / "b",
        "jump": outside,  # a class that lies elsewhere
        "wave/e": outside / "e",
        "wave/g.mp4": outside / "d.mp4",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (outside / "back").symlink_to(root)
    found = find_classes(root)
    assert {label: names(root, clips) for label, clips in found.classes.items()} == {
        "jump": ["jump/d.mp4", "jump/e"],
        "kick": ["kick/a.mp4", "kick/b"],
        "wave": ["wave/c.mp4", "wave/e", "wave/g.mp4", "wave/same.mp4"],
    }
    answered = find_clips(root)
    assert names(root, answered.clips) == [
        *("jump/d.mp4", "jump/e", "jump/deep/f.mp4", "kick/a.mp4", "kick/b", "wave/c.mp4"),
    ]
    reasons = said(root, answered.left_out)
    assert reasons["kick/here"] == reasons["kick/up"] == "a link to a folder around it"
    assert reasons["kick/self"] == "a link to nothing"
    for name in ("wave/same.mp4", "kick/again.mp4", "kick/b2", "wave/e", "wave/g.mp4"):
        assert reasons[name] == "a link to what is read already"
    linked = tmp_path / "linked"
    linked.symlink_to(root)
    assert len(find_clips(linked).clips) == len(answered.clips)


def test_many_links_and_deep_folders_end(tmp_path: Path) -> None:
    for level in range(40):  # 2^40 ways to the last
        folder = tree(tmp_path, f"{level}/x.mp4") / str(level)
        for side in "ab":
            (folder / side).symlink_to(tmp_path / str((level + 1) % 40))
    assert len(find_clips(tmp_path / "0").clips) == 40
    deep = tmp_path / "deep"
    for _ in range(90):
        deep /= "d"
    tree(deep, "x.mp4")
    found = find_clips(tmp_path / "deep")
    assert found.clips == ()
    assert any("folders deep" in one.reason for one in found.left_out)


def test_hard_links_are_names_of_their_own(tmp_path: Path) -> None:
    root = tree(tmp_path, "kick/a.mp4")
    os.link(root / "kick" / "a.mp4", root / "kick" / "b.mp4")
    assert len(find_clips(root).clips) == len(class_folders(root)["kick"]) == 2


def test_folders_that_cannot_be_listed_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path, "kick/a.mp4", "locked/b.mp4")
    scan = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_clips(root)
    assert names(root, found.clips) == ["kick/a.mp4"]
    assert said(root, found.left_out) == {"locked": "a folder that cannot be listed"}
    for look in (find_clips, class_folders, find_classes):
        with pytest.raises(VideoNotFoundError, match=r"cannot list the folder .*Permission denied"):
            look(root if look is not find_clips else root / "locked")


def test_one_clip_is_found_as_itself(tmp_path: Path) -> None:
    root = tree(tmp_path, "a.mp4", "f/1.png", "f/2.png")
    for path in (root / "a.mp4", root / "f", root / "none.mp4", Path("x" * 300)):
        assert find_clips(path).clips == (path,)


def test_a_folder_of_clips_is_read_as_no_clip(tmp_path: Path) -> None:
    root = tree(tmp_path, "sheet.png", "wave/a.mp4")
    with pytest.raises(VideoError, match="a folder of clips, and no clip itself"):
        read_clip(root, Preprocess())


def test_the_documented_suffixes_are_those_that_are_taken() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "video.md").read_text()
    (listed,) = re.findall(r"^Suffixes: (.*?)\n\n", text, flags=re.M | re.S)
    assert {f".{suffix}" for suffix in re.findall(r"[\w-]+", listed)} == VIDEO_SUFFIXES


# Suffix → container and codec to write it with. The others are names for one of these.
WRITTEN = {
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".3g2", ".f4v", ".mj2"), ("mov", "mpeg4")),
    **dict.fromkeys((".mkv", ".mk3d"), ("matroska", "mpeg4")),
    **dict.fromkeys((".avi", ".divx", ".xvid"), ("avi", "mpeg4")),
    **dict.fromkeys((".asf", ".wmv", ".wm", ".dvr-ms"), ("asf", "msmpeg4")),
    **dict.fromkeys((".ogg", ".ogv"), ("ogg", "libvpx")),
    **dict.fromkeys((".ts", ".m2t", ".trp", ".tp"), ("mpegts", "mpeg2video")),
    **dict.fromkeys((".vob", ".mod", ".tod", ".vro", ".evo", ".mpe"), ("vob", "mpeg2video")),
    **dict.fromkeys((".m2v", ".mpv"), ("mpeg2video", "mpeg2video")),
    **dict.fromkeys((".h264", ".264", ".avc", ".h26l"), ("h264", "libx264")),
    **dict.fromkeys((".h265", ".265", ".hevc"), ("hevc", "libx265")),
    ".webm": ("webm", "libvpx"),
    ".m1v": ("mpeg1video", "mpeg1video"),
    ".flv": ("flv", "flv"),
    ".h263": ("h263", "h263"),
    ".ivf": ("ivf", "libvpx"),
    ".y4m": ("yuv4mpegpipe", "wrapped_avframe"),
    ".dv": ("dv", "dvvideo"),
    ".mxf": ("mxf", "mpeg2video"),
    ".nut": ("nut", "mpeg4"),
    ".gif": ("gif", "gif"),
    ".apng": ("apng", "apng"),
}
_PIXELS = {"gif": "rgb8", "apng": "rgb24", "dvvideo": "yuv411p"}
_SIZES = {"h263": (176, 144), "dvvideo": (720, 480)}


@pytest.mark.parametrize("suffix", sorted(WRITTEN))
def test_a_suffix_that_is_taken_is_one_that_decodes(suffix: str, tmp_path: Path) -> None:
    form, codec = WRITTEN[suffix]
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no encoder {codec}")
    path = tmp_path / f"clip{suffix.upper()}"
    width, height = _SIZES.get(codec, (96, 64))
    with av.open(str(path), "w", format=form) as container:
        rate = 30000 / 1001 if codec == "dvvideo" else 25
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        stream.width, stream.height = width, height
        stream.pix_fmt = _PIXELS.get(codec, "yuv420p")
        for level in range(0, 240, 24):
            frame = av.VideoFrame.from_ndarray(
                np.full((height, width, 3), level, np.uint8), "rgb24"
            ).reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert find_clips(tmp_path).clips == (path,)
    clip = read_clip(path, Preprocess(frames=4, resize=64, size=64))
    assert clip.frames[-1].mean() - clip.frames[0].mean() > 100


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


def test_a_pattern_stands_for_what_it_matches(tmp_path: Path) -> None:
    root = three_classes(tmp_path)
    names = lambda found: [clip.relative_to(root).as_posix() for clip in found.clips]  # noqa: E731
    assert names(find_clips(root / "right" / "*.mp4")) == [f"right/r{i}.mp4" for i in range(3)]
    assert names(find_clips(root / "*" / "?0.mp4")) == [
        "back/b0.mp4", "right/r0.mp4", "still/s0.mp4",
    ]  # fmt: skip
    assert names(find_clips(root / "**" / "s[12].mp4")) == ["still/s1.mp4", "still/s2.mp4"]
    # Folders that it matches stand for their clips, and none comes twice.
    assert len(find_clips(root / "*").clips) == 9
    with pytest.raises(VideoNotFoundError, match=r"\*\.mkv: no such file .* nothing matches it"):
        find_clips(root / "*.mkv")
    with pytest.raises(VideoNotFoundError, match="no clip is read from stdin"):
        find_clips("-")
    named = root / "right" / "r[0].mp4"  # a file's own name may look like a pattern
    (root / "right" / "r1.mp4").rename(named)
    assert find_clips(named).clips == (named,)


def test_a_class_may_be_a_folder_or_a_pattern(tmp_path: Path) -> None:
    from a2m2_zoo import build_episode

    root = three_classes(tmp_path)
    given = {"a": root / "right", "b": str(root / "back" / "*.mp4"), "c": root / "still" / "s0.mp4"}
    episode = build_episode(supports=given)
    counts = {name: len(clips) for name, clips in episode.by_class().items()}
    assert counts == {"a": 3, "b": 3, "c": 1}
