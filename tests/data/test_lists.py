"""Official lists in both formats against small trees of real files, and the real lists where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from makers import draw_video

from a2m2_zoo.data.benchmarks import SPLITS, benchmark, list_benchmarks
from a2m2_zoo.data.lists import open_dataset, read_list, shared
from a2m2_zoo.errors import ArgumentError, EpisodeError, VideoNotFoundError
from a2m2_zoo.video import Preprocess, read_clip

CLASSES = benchmark("hmdb51").class_names("test")


def write(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows))
    return path


def touch(root: Path, *files: str) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def hmdb(style: str) -> list[str]:
    """Two clips of each test class of HMDB51 in the style of MoLo or of TRX."""
    if style == "trx":
        return [f"{name}/{name[:2]}_{i}" for name in CLASSES for i in (1, 0)]
    return [
        f"test{c}//videos/{name.replace(' ', '_')}/{name[:2]}_{i}.avi"
        for c, name in enumerate(CLASSES)
        for i in (0, 1)
    ]


@pytest.mark.parametrize("style", ["molo", "trx"])
@pytest.mark.parametrize("outer", ["videos/", ""])
def test_both_formats_give_the_same_listing(tmp_path: Path, style: str, outer: str) -> None:
    root = tmp_path / "data"
    touch(
        root,
        *(
            f"{outer}{name.replace(' ', '_')}/{name[:2]}_{i}.avi"
            for name in CLASSES
            for i in (0, 1)
        ),
    )
    # TRX's lists have no outer folder, so the root is the folder of the classes.
    root = root / outer if style == "trx" else root
    listing = read_list(write(tmp_path / "l.txt", *hmdb(style)), root=root)
    assert (listing.benchmark, listing.split) == ("hmdb51", "test")
    assert tuple(listing.classes) == CLASSES
    assert [p.name for p in listing.classes["kick ball"]] == ["ki_0.avi", "ki_1.avi"]
    assert listing.missing == ()
    assert listing.listed["kick ball"] == ("ki_0", "ki_1")
    assert listing.summary() == "hmdb51 test: 20 of 20 videos, 10 of 10 classes"


def test_other_containers_and_frame_folders_stand_for_the_listed_clip(tmp_path: Path) -> None:
    draw_video(tmp_path / "a.mp4", 9)
    shutil.copy(draw_video(tmp_path / "new.mkv", 9), tmp_path / "b.mkv")
    touch(tmp_path, "c/1.jpg", "d.mp4/1.png", "e/readme.txt", "f.x.avi", "g.avi", "g.webm", "h.MP4")
    names = ["a.webm", "b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.x.mp4", "f.mp4", "g.mp4", "h.avi"]
    rows = [f"test{i // 5}/{name}" for i, name in enumerate(names)]
    found = read_list(write(tmp_path / "l.txt", *rows), root=tmp_path)
    assert [p.name for p in found.classes["test0"]] == ["a.mp4", "b.mkv", "c", "d.mp4"]
    assert [p.name for p in found.classes["test1"]] == ["f.x.avi", "g.webm", "h.MP4"]
    assert found.missing == ("e.mp4", "f.mp4")
    for clip in found.classes["test0"][:2]:
        assert read_clip(clip, Preprocess(size=32, resize=32)).frames.shape == (8, 32, 32, 3)


def test_a_listed_file_that_is_there_is_taken_before_its_other_encodings(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.avi", "b.mp4", "b.webm")
    found = read_list(write(tmp_path / "l.txt", "test0/a.avi", "test0/b"), root=tmp_path)
    assert [p.name for p in found.classes["test0"]] == ["a.avi", "b.mp4"]


def test_names_of_files_are_compared_exactly(tmp_path: Path) -> None:
    touch(tmp_path, "train_256/air drumming/AbCdEfGhIjK.mp4")
    path = write(
        tmp_path / "l.txt",
        "train0//train_256/air_drumming/AbCdEfGhIjK.mp4",
        "train0//train_256/air_drumming/aBcDeFgHiJk.mp4",
    )
    found = read_list(path, root=tmp_path)
    assert len(found.classes["air_drumming"]) == 1
    assert found.missing == ("train_256/air_drumming/aBcDeFgHiJk.mp4",)


def test_missing_videos_and_classes_are_reported(tmp_path: Path) -> None:
    touch(tmp_path, "videos/fencing/fe_0.avi", "videos/kick/ki_1.mp4")
    found = read_list(write(tmp_path / "l.txt", *hmdb("molo")), root=tmp_path)
    assert list(found.classes) == ["fencing", "kick"]
    assert len(found.missing) == 18
    assert "videos/fencing/fe_1.avi" in found.missing
    assert found.summary() == "hmdb51 test: 2 of 20 videos, 2 of 10 classes"
    with pytest.raises(VideoNotFoundError, match=r"none of the 20 videos of 'l.txt' lies under"):
        read_list(tmp_path / "l.txt", root=touch(tmp_path / "empty", "x.mp4"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("test1///etc/passwd", r"line 2 has the path '/etc/passwd'; expected one below the root"),
        ("test1//../secret.mp4", r"line 2 has the path '../secret.mp4'; expected one below"),
        ("test1//a/../../b.mp4", "line 2 has the path .* below the root"),
        ("test1//a\\b.mp4", "line 2 has the path .* below the root"),
        ("test1//C:/b.mp4", "line 2 has the path .* without a drive"),
        ("test1//a\x00.mp4", "line 2 has the path .* below the root"),
        ("test1//", "line 2 has the path ''"),
        ("test0//a.mp4", r"line 2 repeats line 1: a\.mp4"),
        ("test1//a.mp4", r"line 2 repeats line 1: a\.mp4"),
        ("train1//b.mp4", "line 2 is of split train; those above of test"),
        ("wave/b.mp4", "line 2 is 'wave/b.mp4'; expected <split><id>//<path> as above it"),
        ("test1//a.avi", r"line 2 is the same clip as line 1: .*a\.mp4"),
    ],
)
def test_bad_lines_are_named_by_number(tmp_path: Path, row: str, problem: str) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    with pytest.raises(EpisodeError, match=problem):
        read_list(write(tmp_path / "l.txt", "test0//a.mp4", row), root=tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "problem"),
    [
        (b"", EpisodeError, "is empty"),
        (b"\n \n", EpisodeError, "is empty"),
        (b"wave/a\nlonely\n", EpisodeError, "line 2 is 'lonely'; expected <class name>/<video>"),
        (b"/etc/passwd\n", EpisodeError, "line 1 has the path"),
        (b"\xff\xfe\x00\n", EpisodeError, "is not UTF-8 text"),
        (b"wave/1\nWAVE/2\n", EpisodeError, "two classes have the same name"),
    ],
)
def test_broken_lists(tmp_path: Path, content: bytes, error: type, problem: str) -> None:
    (tmp_path / "l.txt").write_bytes(content)
    with pytest.raises(error, match=problem):
        read_list(tmp_path / "l.txt", root=tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "l.txt", "wave/a")
    with pytest.raises(VideoNotFoundError, match=r"cannot read the list .*none.txt"):
        read_list(tmp_path / "none.txt", root=tmp_path)
    with pytest.raises(VideoNotFoundError, match="is not a folder"):
        read_list(path, root=tmp_path / "none")
    with pytest.raises(ArgumentError, match="no benchmark is called 'ucf'"):
        read_list(path, root=tmp_path, benchmark="ucf")


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_a_path(tmp_path: Path) -> None:
    touch(tmp_path, "wave/a.mp4", "jump/b.mp4")
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbfwave/a\r\n\r\njump/b\r\n")
    found = read_list(tmp_path / "l.txt", root=tmp_path)
    assert list(found.classes) == ["jump", "wave"]
    assert (found.benchmark, found.split) == (None, None)


def test_a_partial_list_is_named_by_its_benchmark(tmp_path: Path) -> None:
    touch(tmp_path, "78687.webm", "5.webm")
    path = write(tmp_path / "l.txt", "test18/78687", "test2/5")
    assert list(read_list(path, root=tmp_path).classes) == ["test2", "test18"]
    found = read_list(path, root=tmp_path, benchmark="ssv2-full", split="test")
    names = benchmark("ssv2-full").class_names("test")
    assert list(found.classes) == [names[2], names[18]]
    with pytest.raises(
        EpisodeError, match=r"l.txt is a list of the test split and train was asked"
    ):
        read_list(path, root=tmp_path, split="train")
    with pytest.raises(EpisodeError, match="line 1 is no clip of hmdb51 test: 78687"):
        read_list(path, root=tmp_path, benchmark="hmdb51")


def test_a_list_of_names_finds_its_split(tmp_path: Path) -> None:
    touch(tmp_path, "kick/a.avi", "fencing/b.avi")
    path = write(tmp_path / "l.txt", "kick/a", "fencing/b")
    assert read_list(path, root=tmp_path).benchmark is None  # two classes are too few to know it by
    found = read_list(path, root=tmp_path, benchmark="hmdb51")
    assert (list(found.classes), found.split) == (["fencing", "kick"], "test")
    with pytest.raises(EpisodeError, match="such as 'kick', are of no one split of ucf101"):
        read_list(path, root=tmp_path, benchmark="ucf101")


def test_open_dataset(tmp_path: Path) -> None:
    root = tmp_path / "data"
    touch(root, "kick_ball/a.avi", "Fencing/b.avi", "wave/c.avi")
    assert list(open_dataset(root).classes) == ["Fencing", "kick_ball", "wave"]
    tests = open_dataset(root, benchmark="hmdb51")
    assert list(tests.classes) == ["fencing", "kick ball"]
    assert tests.missing[0] == "kick/"
    assert len(tests.missing) == 8
    assert list(open_dataset(root, benchmark="hmdb51", split="train").classes) == ["wave"]
    with pytest.raises(
        ArgumentError, match="val classes of ssv2-full have no names; give list_file"
    ):
        open_dataset(root, benchmark="ssv2-full", split="val")
    with pytest.raises(VideoNotFoundError, match="has no folder of a test class of ucf101"):
        open_dataset(root, benchmark="ucf101")
    with pytest.raises(ArgumentError, match="split is 'all'"):
        open_dataset(root, split="all")


def test_open_dataset_picks_the_list_of_the_split_and_never_another(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "b.avi", "lists/x")
    write(tmp_path / "lists" / "train_few_shot.txt", "train0/a")
    write(tmp_path / "lists" / "test_few_shot.txt", "test0/b")
    found = open_dataset(tmp_path, list_file=tmp_path / "lists")
    assert [p.name for p in found.classes["test0"]] == ["b.avi"]
    with pytest.raises(EpisodeError, match="is a list of the train split and test was asked for"):
        open_dataset(tmp_path, list_file=tmp_path / "lists" / "train_few_shot.txt")
    with pytest.raises(VideoNotFoundError, match="holds 0 lists of the val split"):
        open_dataset(tmp_path, list_file=tmp_path / "lists", split="val")


def test_shared_classes_and_videos(tmp_path: Path) -> None:
    one = touch(tmp_path / "one", "Wave/AbCdEfGhIjK_000001_000011.mp4", "jump/x.mp4", "jump/z.mp4")
    two = touch(tmp_path / "two", "wave/q.mp4", "run/AbCdEfGhIjK.avi", "run/x/1.jpg")
    found = shared(open_dataset(one), open_dataset(two))
    assert found.classes == ("Wave",)
    assert set(found.videos) == {"AbCdEfGhIjK_000001_000011", "x"}


def test_videos_numbered_within_their_class_are_compared_with_it(tmp_path: Path) -> None:
    one = touch(tmp_path / "one", "wave/1.mp4", "wave/2.mp4", "jump/1.mp4")
    two = touch(tmp_path / "two", "wave/1.mp4", "run/2.mp4", "run/1.mp4")
    assert shared(open_dataset(one), open_dataset(two)).videos == ("1",)


@pytest.mark.parametrize("name", list_benchmarks())
@pytest.mark.parametrize("split", SPLITS)
def test_every_official_list_is_recognised(
    lists: Path, tmp_path: Path, name: str, split: str
) -> None:
    path = lists / name.replace("-", "_") / f"{split}_few_shot.txt"
    first = path.read_text().split("\n", 1)[0]
    touch(tmp_path, first.split("/")[-1].split(".")[0] + ".webm")
    found = read_list(path, root=tmp_path)
    facts = benchmark(name).splits[split]
    assert (found.benchmark, found.split) == (name, split)
    assert tuple(found.listed) == benchmark(name).class_names(split)
    assert tuple(map(len, found.listed.values())) == facts.counts
    assert len(found.missing) == facts.videos - 1


def test_the_known_leak_is_found(lists: Path, tmp_path: Path) -> None:
    touch(tmp_path, "88644.webm", "78687.webm")
    small = read_list(lists / "ssv2_small" / "test_few_shot.txt", root=tmp_path)
    full = read_list(lists / "ssv2_full" / "train_few_shot.txt", root=tmp_path)
    both = shared(small, full)
    assert (len(both.videos), len(both.classes)) == (568, 7)


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ('"right/r{}.mp4"', "in quotes"),
        ("'test0//right/r{}.mp4'", "below the root, without quotes"),
        ("right/r{}.mp4 3", "end in a number behind a space or a comma"),
        ("right/r{}.mp4,3", "end in a number behind a space or a comma"),
        ("test0//right/r{}.mp4 0", "end in a number behind a space or a comma"),
        ("left/r{}.mp4", ""),
    ],
)
def test_lines_in_another_format_are_told_where_nothing_is_found(
    tmp_path: Path, row: str, hint: str
) -> None:
    root = touch(tmp_path / "data", "right/r0.mp4", "right/r1.mp4")
    file = write(tmp_path / "l.txt", *(row.format(i) for i in range(2)))
    with pytest.raises((EpisodeError, VideoNotFoundError)) as refused:
        read_list(file, root=root)
    said = str(refused.value)
    assert hint in said
    assert "\n" not in said
    assert hint or said.endswith("'left/r0.mp4'")
