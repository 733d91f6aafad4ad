"""`classify --jsonl`: a line per clip as soon as it is known, and never half a one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli.lines.answer_lines import Run, answers, rows

from a2m2_zoo._utils.files import locked
from a2m2_zoo.cli import main, output
from a2m2_zoo.recognition.recognizer import Recognizer


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
        until, err, said = time.monotonic() + 300, "", "a2m2: reading [1]: 3 of 8, "
        while said not in err and time.monotonic() < until:
            time.sleep(0.01)
            err += capsys.readouterr().err
    assert re.search(rf"^{re.escape(said)}\d+ s so far$", err, re.MULTILINE)
    assert threading.active_count() == threads
    monkeypatch.setattr(output, "_PERIOD", 3600.0)
    with output.progress("quick", 8):
        pass
    assert capsys.readouterr().err == ""
