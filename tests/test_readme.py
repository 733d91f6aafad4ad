"""The README's examples run as they stand, on the clips of `a2m2 demo`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, blocks, run_page, run_script

pytestmark = pytest.mark.usefixtures("seen_once")

PAGE = ROOT / "README.md"
README = PAGE.read_text()


@pytest.fixture(scope="module")
def folder(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(demonstration, root / "demo")
    return root


def test_the_examples_of_the_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    languages = [block.language for block in blocks(PAGE)]
    assert (languages.count("python"), languages.count("console")) == (2, 1)
    run_page(PAGE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(("kick 0.", "kick 1.00"))
    assert [line.split()[1] for line in lines[1:]] == ["wave", "jump"]
    assert (folder / "demo" / "timeline.png").is_file()


def test_the_first_command_does_the_main_job_and_the_second_passes_the_tests() -> None:
    first = blocks(PAGE)[0]
    assert [line.split("#")[0].strip() for line in first.code.splitlines()] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:.*\n(?:\t.*\n)*\t\S*a2m2 demo --out demo\n", makefile, re.MULTILINE)
    assert re.search(r"^test:.* unit", makefile, re.MULTILINE)
    # Read aloud in under a minute: about 130 words.
    before = README.partition("make demo")[0]
    assert len(re.sub(r"\]\(.*?\)|<!--.*?-->", "]", before).split()) < 130
    assert README.count("\n") < 110


def test_the_examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    query, bank = "demo/queries/walk/clip_0000.mp4", "walk.safetensors"
    (folder / "broken.mp4").write_bytes(b"junk")
    for name in ("walk", "wave"):
        shutil.copytree(folder / "demo" / "supports" / name, folder / "two" / name)
    command = [sys.executable, str(ROOT / "examples" / "classify.py"), query, "two"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "%  walk\n" in done.stdout
    assert done.stderr == ""
    for arguments, expected in (
        (["demo/supports", bank, query, "broken.mp4"], "broken.mp4: no answer: "),
        (["demo/supports", bank, query], f"{query}: walk ("),
    ):
        code, out, err = run_script(ROOT / "examples" / "bank.py", *arguments)
        assert (code, err) == (0, "")
        assert expected in out
