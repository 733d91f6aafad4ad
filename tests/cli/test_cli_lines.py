"""`classify --jsonl`, `--resume`, `--shard`: a line per clip, nothing twice, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from makers import draw_video
from makers_models import tiny_model

from a2m2_zoo._utils.files import locked
from a2m2_zoo.cli import main, output
from a2m2_zoo.cli.lines import Lines
from a2m2_zoo.recognition.recognizer import Recognizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models that take no time, supports of two classes, six clips, two of them broken."""
    root = tmp_path_factory.mktemp("lines")
    for name in ("tiny", "other"):
        (root / name).mkdir()
        tiny_model(root / name, name)
    for i in range(2):
        draw_video(root / "supports" / "right" / f"{i}.mp4", 6 + i, size=(64, 64))
        draw_video(root / "supports" / "back" / f"{i}.mp4", 6 + i, size=(64, 64), speed=-7)
    for i in range(4):
        draw_video(root / "clips" / f"{i}.mp4", 6 + i, size=(64, 64), speed=3 - i)
    (root / "clips" / "broken.mp4").write_bytes(b"no video")
    (root / "clips" / "empty.mp4").write_bytes(b"")
    return root


@pytest.fixture
def clips(work: Path, tmp_path: Path) -> Path:
    """The clips, to do with as a test likes."""
    return Path(shutil.copytree(work / "clips", tmp_path / "clips"))


@pytest.fixture
def run(work: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def called(*arguments: Any, model: str = "tiny", supports: str = "supports") -> Any:
        fixed = ("--model", work / model, "--supports", work / supports, "--batch-size", 1)
        code = main(["classify", *map(str, (*arguments, *fixed))])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are read."""
    seen: list[str] = []
    real = Recognizer.iter_classify

    def counted(self: Recognizer, clips: Iterable[Path], **options: Any) -> Any:
        def noted() -> Iterator[Path]:
            for clip in clips:
                seen.append(clip.name)
                yield clip

        return real(self, noted(), **options)

    monkeypatch.setattr(Recognizer, "iter_classify", counted)
    return seen


def rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def answers(found: Iterable[dict[str, Any]]) -> list[str]:
    """What a run says, the time it took and the order aside."""
    return sorted(json.dumps({**row, "seconds": 0}, sort_keys=True) for row in found)


def test_a_line_holds_what_a_row_of_json_does(clips: Path, run: Run, tmp_path: Path) -> None:
    code, out, _ = run(clips, "--json")
    table = json.loads(out)
    code_of_lines, nothing, err = run(clips, "--jsonl", tmp_path / "a.jsonl")
    lines = rows(tmp_path / "a.jsonl")
    assert (code, code_of_lines, nothing) == (1, 1, "")
    assert "a.jsonl: 4 answered, 0 answered before, 2 failed" in err
    assert [Path(line["query"]).name for line in lines] == [
        *(f"{i}.mp4" for i in range(4)),
        *("broken.mp4", "empty.mp4"),
    ]
    for line in lines:
        content = Path(line["query"]).read_bytes()
        assert line.pop("sha256") == hashlib.sha256(content).hexdigest()
        assert ("made_by" in line) != ("error" in line)
        line.pop("made_by", None)
    assert answers(lines) == answers(table)
    code, out, err = run(clips, "--jsonl", "-")
    assert answers(map(json.loads, out.splitlines())) == answers(rows(tmp_path / "a.jsonl"))
    assert code == 1
    assert len(err.splitlines()) == 2, "the two failures"


def test_lines_are_there_before_the_next_clip_is_answered(
    clips: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, there = Recognizer.iter_classify, []

    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        for answer in real(*arguments, **options):
            path = tmp_path / "a.jsonl"
            there.append(len(rows(path)))
            yield answer

    monkeypatch.setattr(Recognizer, "iter_classify", watched)
    run(clips, "--jsonl", tmp_path / "a.jsonl")
    assert there == list(range(6))


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
    assert answers(rows(file)) == answers(once)
    assert f"{3 - len(again)} answered before" in err
    read.clear()
    run(clips, "--resume", file)
    assert read == ["broken.mp4", "empty.mp4"], "failures are tried again"
    assert answers(rows(file)) == answers(once), "and not written again, being the same"


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
    assert "1 copy.mp4" in read
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


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "-1/2", "a/b", "1/2/3", "", "1/²"])
def test_shards_that_are_none(clips: Path, run: Run, shard: str) -> None:
    code, _, err = run(clips, f"--shard={shard}")
    assert code == 2
    assert err.startswith(f"a2m2: the shard is {shard!r}; expected i/n")
    assert len(err.splitlines()) == 1


def test_what_does_not_go_together(clips: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    for arguments, said in (
        (("--jsonl", file, "--json"), "exclude --json and --csv"),
        (("--resume", file, "--csv"), "exclude --json and --csv"),
        (("--resume", file, "--explain", tmp_path / "a.png"), "--explain does not go with"),
        (("--resume", file, "--transductive"), "--resume does not go with --transductive"),
        (("--shard", "1/2", "--transductive"), "--shard does not go with --transductive"),
    ):
        code, _, err = run(clips, *arguments)
        assert (code, len(err.splitlines())) == (2, 1)
        assert said in err
        assert not file.exists()
    code, _, err = run(clips, "--jsonl", file, "--transductive")
    assert code == 2
    assert "transductive answers come from ridge regression" in err
    assert not file.exists()


def test_files_that_are_something_else_stay_as_they_are(
    work: Path, clips: Path, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "table.json").write_text('[\n  {"query": "a.mp4", "error": "it"}\n]\n')
    (tmp_path / "lines.jsonl").write_text('{"start": 0, "end": 1}\n')
    os.mkfifo(tmp_path / "pipe")
    lines = tmp_path / "good.jsonl"
    run(clips / "0.mp4", "--jsonl", lines)
    cases = [
        ("--resume", clips / "0.mp4", "is no file of answers; expected what"),
        ("--resume", clips / "broken.mp4", "is no file of answers"),
        ("--resume", tmp_path / "table.json", "is no file of answers"),
        ("--resume", tmp_path / "lines.jsonl", "is no file of answers"),
        ("--jsonl", clips / "0.mp4", "holds something already; go on with it with --resume"),
        ("--jsonl", lines, "holds something already"),
        ("--jsonl", tmp_path / "none" / "a.jsonl", "cannot write"),
        ("--jsonl", tmp_path / "pipe", "it is no regular file"),
        ("--resume", tmp_path / "pipe", "it is no regular file"),
        ("--jsonl", clips, "it is a folder"),
    ]
    for option, path, said in cases:
        before = path.read_bytes() if path.is_file() else None
        code, out, err = run(clips, option, path)
        assert code in (1, 2)
        assert len(err.splitlines()) == 1, err
        assert said in err
        assert out == ""
        assert before is None or path.read_bytes() == before
    with locked(lines):
        code, _, err = run(clips, "--resume", lines)
    assert code == 1
    assert "another process has been changing" in err.splitlines()[-1]


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


def test_a_full_disk_leaves_no_half_line(clips: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    run(clips, "--jsonl", tmp_path / "whole.jsonl")
    whole = rows(tmp_path / "whole.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = len((tmp_path / "whole.jsonl").read_bytes().splitlines()[0])
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + size // 2, hard))
    try:
        code, _, err = run(clips, "--jsonl", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1
    assert (
        f"{file}: 2 answered, 0 answered before, 0 failed, 4 left: go on with --resume {file}"
        in err
    )
    assert err.splitlines()[-1].startswith(f"a2m2: cannot write '{file}': File too large; ")
    assert len(rows(file)) == 2
    run(clips, "--resume", file)
    assert answers(rows(file)) == answers(whole)


def test_nobody_reads_any_more(
    clips: Path, run: Run, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "lost", lambda: True)
    run(*[clips / "0.mp4"] * 40, "--jsonl", "-", "--workers", 1)
    assert len(read) < 5


def test_no_answer_is_kept(
    clips: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, most = Recognizer.iter_classify, 0

    def many(self: Recognizer, clips: Iterable[Path], **options: Any) -> Iterator[Any]:
        nonlocal most
        clips = iter(clips)
        (answer,) = real(self, [next(clips)], **options)
        alive: weakref.WeakSet[Any] = weakref.WeakSet()
        yield answer
        for clip in clips:
            copy = replace(answer, query=str(clip), margin=len(alive) / 7)
            alive.add(copy)
            yield copy
            del copy
            most = max(most, len(alive))

    monkeypatch.setattr(Recognizer, "iter_classify", many)
    run(*[clips / "0.mp4"] * 300, "--jsonl", tmp_path / "a.jsonl")
    assert len(rows(tmp_path / "a.jsonl")) == 300
    assert most <= 2


def test_all_clips_together_are_written_at_the_end(
    work: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each has its picture."""
    file, there, real = tmp_path / "a.jsonl", [], Recognizer.iter_classify

    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        for answer in real(*arguments, **options):
            there.append(len(rows(file)))
            yield answer

    monkeypatch.setattr(Recognizer, "iter_classify", watched)
    arguments = ["--supports", work / "supports", "--no-pose", "--explain", tmp_path / "why.png"]
    query = [clips / "0.mp4", clips / "1.mp4", "--transductive", "--jsonl", file]
    assert main(["classify", *map(str, (*query, *arguments))]) == 0
    options = [row["made_by"]["options"] for row in rows(file)]
    assert options == [{"transductive": True, "pose": False}] * 2
    assert there == [0, 1]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["why-001.png", "why-002.png"]


def test_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_PERIOD", 0.02)
    threads = threading.active_count()
    with output.progress("reading [1]", 8) as bar:
        bar.advance(bar.task_ids[0], 3)
        until, err = time.monotonic() + 20, ""
        while "\n" not in err and time.monotonic() < until:
            time.sleep(0.01)
            err += capsys.readouterr().err
    assert err.startswith("a2m2: reading [1]: 3 of 8, 0 s so far\n")
    assert threading.active_count() == threads
    monkeypatch.setattr(output, "_PERIOD", 60)
    with output.progress("quick", 8):
        pass
    assert capsys.readouterr().err == ""
