"""`classify --resume` and `--shard`: nothing twice, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from cli.lines.answer_lines import Run, answers, rows
from makers import draw_video

from a2m2_zoo.cli.lines import Lines


@pytest.mark.parametrize("end", ["cut", "no line end", "whole"])
def test_a_run_that_was_cut_off_goes_on_and_moved_clips_count(
    clips: Path, run: Run, read: list[str], tmp_path: Path, end: str
) -> None:
    file = tmp_path / "a.jsonl"
    run(clips, "--jsonl", file)
    once = rows(file)
    data = file.read_bytes().splitlines(keepends=True)
    last = {"cut": data[2][:-30], "no line end": data[2][:-1], "whole": data[2]}[end]
    file.write_bytes(b"".join(data[:2]) + last)
    (clips / "deeper").mkdir()
    (clips / "0.mp4").rename(clips / "deeper" / "new name.mp4")
    read.clear()
    code, _, err = run(clips, "--resume", file)
    assert code == 1
    again = ["2.mp4"] if end == "cut" else []
    assert read == [*again, "3.mp4", "broken.mp4", "empty.mp4"]
    moved = {**once[0], "query": str(clips / "deeper" / "new name.mp4")}
    assert answers(rows(file)) == answers([*once, moved])
    assert f"{3 - len(again)} answered before" in err
    read.clear()
    run(clips, "--resume", file)
    assert read == ["broken.mp4", "empty.mp4"], "failures are tried again"
    assert answers(rows(file)) == answers([*once, moved]), "and not written again, being the same"


def test_clips_that_swapped_their_names_have_each_its_own_answer(
    clips: Path, run: Run, read: list[str], tmp_path: Path
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    file, table = tmp_path / "a.jsonl", tmp_path / "a.parquet"
    run(clips, "--jsonl", file)
    (clips / "0.mp4").rename(clips / "between")
    (clips / "1.mp4").rename(clips / "0.mp4")
    (clips / "between").rename(clips / "1.mp4")
    read.clear()
    run(clips, "--resume", file, "--parquet", table)
    assert read == ["broken.mp4", "empty.mp4"]
    run(clips, "--jsonl", tmp_path / "anew.jsonl")
    anew = {row["query"]: row.get("probabilities") for row in rows(tmp_path / "anew.jsonl")}
    last = {row["query"]: row.get("probabilities") for row in rows(file)}
    assert last == anew
    found = {row["query"]: row["probability:right"] for row in pq.read_table(table).to_pylist()}
    assert found == {name: of and of["right"] for name, of in anew.items()}


def test_a_clip_that_is_what_it_was_again_has_its_answer_last(
    clips: Path, run: Run, read: list[str], tmp_path: Path
) -> None:
    file, clip = tmp_path / "a.jsonl", clips / "0.mp4"
    first, second = clip.read_bytes(), (clips / "1.mp4").read_bytes()
    run(clip, "--jsonl", file)
    clip.write_bytes(second)
    run(clip, "--resume", file)
    clip.write_bytes(first)
    read.clear()
    run(clip, "--resume", file)
    found = rows(file)
    assert (len(found), read) == (3, [])
    assert found[2] == found[0] != found[1]
    run(clip, "--resume", file)
    assert len(rows(file)) == 3


def test_a_table_is_of_the_clips_and_supports_of_its_run_alone(
    work: Path, clips: Path, run: Run, tmp_path: Path
) -> None:
    """Answers of other supports lie in the file, later ones too; some of this run's in another file."""
    pq = pytest.importorskip("pyarrow.parquet")
    first, second, table = tmp_path / "a.jsonl", tmp_path / "b.jsonl", tmp_path / "a.parquet"
    shutil.copytree(work / "supports" / "back", work / "fewer" / "right")
    shutil.copytree(work / "supports" / "right", work / "fewer" / "back")
    run(clips / "0.mp4", clips / "1.mp4", "--jsonl", first)
    run(clips / "0.mp4", clips / "3.mp4", "--resume", first, supports="fewer")
    expected = {row["query"]: row["label"] for row in rows(first)[:1]}
    _, _, err = run(
        clips / "0.mp4", clips / "2.mp4", "--resume", first, "--jsonl", second, "--parquet", table
    )
    assert "1 answered, 1 answered before" in err
    found = {row["query"]: row["label"] for row in pq.read_table(table).to_pylist()}
    assert found == {**expected, **{row["query"]: row["label"] for row in rows(second)}}
    assert sorted(map(Path, found)) == [clips / "0.mp4", clips / "2.mp4"]


def test_a_clip_that_failed_and_now_does_not_gets_an_answer(
    clips: Path, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    for name in ("broken.mp4", "empty.mp4"):
        (clips / name).unlink()
    draw_video(clips / "wide.mp4", 6, size=(64, 320))
    assert run(clips, "--jsonl", file, "--max-megapixels", 0.01)[0] == 1
    assert ["error" in row for row in rows(file)] == [False] * 4 + [True]
    assert run(clips, "--resume", file)[0] == 0
    assert [row.get("error") for row in rows(file)[5:]] == [None]
    assert rows(file)[5]["sha256"] == rows(file)[4]["sha256"]


def test_copies_have_a_line_each(clips: Path, run: Run, read: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    shutil.copy(clips / "0.mp4", clips / "1 copy.mp4")
    run(clips, "--jsonl", file)
    once = rows(file)
    assert len(once) == 7
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:1]))
    read.clear()
    run(clips, "--resume", file)
    assert read == ["1.mp4", "2.mp4", "3.mp4", "broken.mp4", "empty.mp4"], "the copy is known"
    assert answers(rows(file)) == answers(once)


def test_answers_of_another_run_are_not_taken_over(
    work: Path, clips: Path, run: Run, read: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    shutil.copytree(work / "supports" / "back", work / "more" / "up", dirs_exist_ok=True)
    shutil.copytree(work / "supports", work / "more", dirs_exist_ok=True)
    run(clips, "--jsonl", file)
    first, size = file.read_bytes(), len(rows(file))
    for options, change in (
        ({"model": "other"}, "model 'tiny' (here 'other')"),
        ({"supports": "more"}, "supports "),
        ({"arguments": ("--top-k", 1)}, "options none (here top_k 1)"),
        ({"arguments": ("--no-pose", "--reject-below", 0.5)}, "pose False, reject_below 0.5)"),
    ):
        read.clear()
        file.write_bytes(first)
        arguments = options.pop("arguments", ())
        _, _, err = run(clips, "--resume", file, *arguments, **options)
        (line,) = [line for line in err.splitlines() if "taken over" in line]
        assert line.startswith("a2m2: 4 answer(s)")
        assert change in line
        assert len(read) == 6
        assert file.read_bytes().startswith(first)
        assert len(rows(file)) == size + 4
        _, _, err = run(clips, "--resume", file)
        assert "taken over" not in err
        assert "0 answered, 4 answered before" in err
    read.clear()
    run(clips, "--resume", file, "--batch-size", 3, "--workers", 2, "--max-seconds", 9)
    assert read == ["broken.mp4", "empty.mp4"], "what changes no answer changes nothing"


def test_new_lines_go_to_another_file_if_one_is_named(
    clips: Path, run: Run, read: list[str], tmp_path: Path
) -> None:
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    run(clips / "0.mp4", clips / "1.mp4", "--jsonl", old)
    before = old.read_bytes()
    old.write_bytes(half := before[:-9])
    for expected in (
        ["1.mp4", "2.mp4", "3.mp4", "broken.mp4", "empty.mp4"],
        ["broken.mp4", "empty.mp4"],
    ):
        read.clear()
        run(clips, "--resume", old, "--jsonl", new)
        assert read == expected
        assert old.read_bytes() == half
        assert len(rows(new)) == 5
    read.clear()
    _, out, _ = run(clips, "--resume", new, "--jsonl", "-")
    assert read == ["0.mp4", "broken.mp4", "empty.mp4"]
    assert [Path(json.loads(line)["query"]).name for line in out.splitlines()] == ["0.mp4"]


def test_a_first_run_may_be_a_resumed_one(clips: Path, run: Run, tmp_path: Path) -> None:
    _, _, err = run(clips, "--resume", tmp_path / "a.jsonl")
    assert "a.jsonl' is not there yet: all clips are answered" in err
    assert len(rows(tmp_path / "a.jsonl")) == 6


def test_folders_of_frames_go_by_names_and_contents(
    run: Run, read: list[str], tmp_path: Path
) -> None:
    clips, file = tmp_path / "clips", tmp_path / "a.jsonl"
    for name, shade in (("one", 0), ("two", 90)):
        (clips / name).mkdir(parents=True)
        for i in range(4):
            picture = np.full((64, 64, 3), shade + 20 * i, np.uint8)
            picture[:, 8 * i : 8 * i + 16] = 255
            with av.open(str(clips / name / f"{i}.png"), "w", format="image2") as container:
                stream = container.add_stream("png")
                stream.width = stream.height = 64
                stream.pix_fmt = "rgb24"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
                container.mux(stream.encode())
    assert run(clips, "--jsonl", file)[0] == 0
    (clips / "one").rename(clips / "moved")
    (clips / "two" / "3.png").rename(clips / "two" / "9.png")
    read.clear()
    run(clips, "--resume", file)
    assert read == ["two"]


def test_shards_are_the_whole_and_stay_when_clips_come(
    clips: Path, run: Run, tmp_path: Path
) -> None:
    def parts(root: Path, count: int) -> list[list[str]]:
        found = [(root, sorted(root.rglob("*.mp4")), [])]
        return [
            [str(clip.relative_to(root)) for clip in Lines(shard=f"{i}/{count}").part(found)[0][1]]
            for i in range(1, count + 1)
        ]

    for i in range(200):
        path = clips / f"{i % 7}" / f"clip {i} é.mp4"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    whole = sorted(str(p.relative_to(clips)) for p in clips.rglob("*.mp4"))
    for count in (1, 2, 3, 7):
        split = parts(clips, count)
        assert sorted(name for part in split for name in part) == whole
        assert min(map(len, split)) > 206 / count / 3, "each has its share"
    before = parts(clips, 3)
    elsewhere = Path(shutil.copytree(clips, tmp_path / "elsewhere"))
    assert parts(elsewhere, 3) == before
    (elsewhere / "0" / "a new one.mp4").touch()
    for part, more in zip(before, parts(elsewhere, 3), strict=True):
        assert set(more) - set(part) <= {"0/a new one.mp4"}
        assert set(part) <= set(more)
    for path in clips.glob("*/*.mp4"):
        path.unlink()
    found = []
    for i in (1, 2):
        run(clips, clips / "none", "--shard", f"{i}/2", "--jsonl", tmp_path / f"{i}.jsonl")
        found += [Path(row["query"]).name for row in rows(tmp_path / f"{i}.jsonl")]
    assert sorted(found) == sorted([*(p.name for p in clips.glob("*.mp4")), "none"])


def test_a_part_without_clips_says_so(clips: Path, run: Run, tmp_path: Path) -> None:
    one = clips / "0.mp4"
    said = [run(one, "--shard", f"{i}/2", "--jsonl", tmp_path / f"{i}.jsonl") for i in (1, 2)]
    assert [code for code, _, _ in said] == [0, 0]
    assert sum("none of these clips is in part" in err for _, _, err in said) == 1


def test_a_table_replaces_no_file_of_another_kind(clips: Path, run: Run, tmp_path: Path) -> None:
    lines, link = tmp_path / "a.jsonl", tmp_path / "link.parquet"
    run(clips, "--jsonl", lines)
    link.symlink_to(lines)
    video = clips / "0.mp4"
    before = {path: path.read_bytes() for path in (lines, video)}
    for table, said in (
        (lines, "should end in .parquet"),
        (video, "end in"),
        (link, "the file of lines"),
    ):
        code, out, err = run(clips, "--resume", lines, "--parquet", table)
        assert (code, out, err.count("\n"), said in err) == (2, "", 1, True)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "", "1/²"])
def test_shards_that_are_none(clips: Path, run: Run, shard: str) -> None:
    code, _, err = run(clips, f"--shard={shard}")
    assert code == 2
    assert err.startswith(f"a2m2: the shard is {shard!r}; expected i/n")
    assert len(err.splitlines()) == 1


def test_lines_that_are_damaged_cost_themselves_only(
    clips: Path, run: Run, read: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.jsonl"
    run(clips, "--jsonl", file)
    data = file.read_bytes().splitlines(keepends=True)
    data[1] = b"\0" * len(data[1][:-1]) + b"\n"
    file.write_bytes(b"".join(data))
    read.clear()
    _, _, err = run(clips, "--resume", file)
    assert "1 line(s) of the answers of before are no records" in err
    assert read == ["1.mp4", "broken.mp4", "empty.mp4"]
