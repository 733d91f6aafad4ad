"""`a2m2 data synth`: whole folders of real clips, or one line."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from a2m2_zoo.cli import main
from a2m2_zoo.cli.data import synth
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.synthetic import ClipFormat, program, write_dataset

SMALL = ["--size", "32", "--frames", "4"]


def test_clips_a_sheet_and_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "clips"
    call = ["data", "synth", "--out", str(out), "--classes", "6", "--clips", "2", "--seed", "4"]
    assert main([*call, *SMALL, "--style", "stick"]) == 0
    text, error = capsys.readouterr()
    found = class_folders(out)
    assert sorted(found) == sorted(program(4, index).name for index in range(6))
    assert {len(clips) for clips in found.values()} == {2}
    assert (out / "contact_sheet.png").is_file()
    lines = text.splitlines()
    assert lines[0].startswith("12 clips of 6 classes, ")
    assert lines[1:] == [
        f"all at a glance: {out / 'contact_sheet.png'}",
        f"now try: a2m2 evaluate {out} --shot 1",
    ]
    assert error == ""


def test_the_command_says_what_the_function_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [
        "data",
        "synth",
        "--out",
        str(tmp_path / "a"),
        "--classes",
        "2",
        "--clips",
        "1",
        "--studio",
        "3",
    ]
    assert main([*call, *SMALL, "--fps", "8"]) == 0
    assert "now try: a2m2 classify YOUR.mp4 --supports" in capsys.readouterr().out
    write_dataset(
        tmp_path / "b", classes=2, clips=1, studio=3, form=ClipFormat(frames=4, size=32, fps=8)
    )
    a, b = (
        {
            p.relative_to(tmp_path / x): p.read_bytes()
            for p in (tmp_path / x).rglob("*")
            if p.is_file()
        }
        for x in "ab"
    )
    assert a == b
    given, form, command = (
        {name: p.default for name, p in inspect.signature(one).parameters.items()}
        for one in (write_dataset, ClipFormat, synth)
    )
    same = ("clips", "seed", "frames", "fps", "size", "style", "studio", "named")
    assert {name: command[name] for name in same} == {n: (given | form)[n] for n in same}


def test_the_next_command_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "clips")
    assert main(["data", "synth", "--out", out, "--classes", "3", "--clips", "2", *SMALL]) == 0
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("now try: a2m2 ").split()
    assert command == ["evaluate", out, "--way", "3", "--shot", "1"]
    assert main([*command, "--episodes", "20"]) == 0


def test_named_actions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clips"
    assert main(["data", "synth", "--out", str(out), "--named", "--clips", "1", *SMALL]) == 0
    assert sorted(class_folders(out)) == ["jump", "kick", "squat", "walk", "wave"]
    assert "5 clips of 5 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--style", "oil"], "--style is 'oil'; expected one of stick, capsule, scene"),
        (["--size", "33"], "size must be even"),
        (["--seed", "-1"], "whole numbers"),
        (["--named", "--classes", "6"], "5 named actions"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["data", "synth", "--out", str(tmp_path / "x"), *options]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    assert main(["data", "synth", "--out", str(tmp_path), "--classes", "1", "--clips", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import a2m2_zoo.synthetic.write as module

    real, calls = module.write_video, []

    def stop(path: Path, frames: object, *, fps: int) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, frames, fps=fps)

    monkeypatch.setattr(module, "write_video", stop)
    assert main(["data", "synth", "--out", str(tmp_path / "x"), "--classes", "3", *SMALL]) == 130
    assert list(tmp_path.iterdir()) == []
