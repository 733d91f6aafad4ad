"""The README's examples run as they stand, on the clips of `a2m2 demo`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from a2m2_zoo.cli import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    assert main(["demo", "--out", str(root / "demo")]) == 0
    return root


def test_the_python_examples(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    found = blocks("python")
    assert len(found) == 2
    for code in found:
        exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(("kick 0.", "kick 1.00"))
    assert lines[-1].count("'") == 6  # three labels


def test_the_command_line_examples(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    commands = [line[2:] for block in blocks("console") for line in block.splitlines()]
    assert len(commands) >= 5
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "a2m2"
        assert main(arguments) == 0, (command, capsys.readouterr().err)


def test_the_examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    query, bank = "demo/queries/walk/clip_0000.mp4", "walk.safetensors"
    (folder / "broken.mp4").write_bytes(b"junk")
    for name, arguments, expected in (
        ("classify.py", [query, "demo/supports"], "%  walk\n"),
        ("bank.py", ["demo/supports", bank, query, "broken.mp4"], "broken.mp4: no answer: "),
        ("bank.py", ["demo/supports", bank, query], f"{query}: walk ("),
    ):
        command = [sys.executable, str(ROOT / "examples" / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert expected in done.stdout
        assert done.stderr == ""
