"""Every file of examples/ does what its first lines say; test_readme.py and export/ run the others."""

from __future__ import annotations

import csv
import io
import re
import shutil
from pathlib import Path

import pytest
from pages import run_script

from a2m2_zoo.cli import main

pytestmark = pytest.mark.usefixtures("seen_once")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *arguments: object, code: int = 0) -> tuple[str, str]:
    """What an example writes to stdout and stderr."""
    ended, out, err = run_script(EXAMPLES / name, *arguments)
    assert ended == code, err
    return out, err


@pytest.fixture(scope="module")
def demo(demonstration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(demonstration, tmp_path_factory.mktemp("examples") / "demo"))


@pytest.fixture(scope="module")
def cache(demo: Path) -> Path:
    return demo.parent / "cache"


def test_a_factory_line(demo: Path, tmp_path: Path) -> None:
    steps, bank = tmp_path / "steps", tmp_path / "line.safetensors"
    for place, name in enumerate(("jump", "kick"), start=1):
        shutil.copytree(demo / "supports" / name, steps / f"0{place}_{name}")
    clips = {name: demo / "queries" / name / "clip_0000.mp4" for name in ("jump", "kick", "walk")}
    (broken := tmp_path / "broken.mp4").write_bytes(b"junk")
    clip_paths = (clips["jump"], clips["jump"], clips["kick"], clips["walk"], broken)
    said, complaints = run("factory_line.py", steps, bank, *clip_paths, code=1)
    verdicts = [row["verdict"] for row in csv.DictReader(io.StringIO(said))]
    assert verdicts[:4] == ["ok", "02_kick was due", "ok", "look at it"]
    assert verdicts[4].startswith("no answer: ")
    assert complaints == ""

    shutil.copytree(demo / "supports" / "walk", steps / "03_walk")
    shutil.copy(steps / "01_jump" / "clip_0000.mp4", steps / "02_kick" / "copied.mp4")
    said, complaints = run("factory_line.py", steps, bank, *clips.values())
    assert [row["step"] for row in csv.DictReader(io.StringIO(said))] == [
        "01_jump",
        "02_kick",
        "03_walk",
    ]
    assert "02_kick/copied.mp4: same file" in complaints


def test_subtitles(demo: Path) -> None:
    said, _ = run("subtitles.py", demo / "long.mp4", demo / "supports")
    written = (demo / "long.srt").read_text()
    labels = re.findall(r"^(\w+) \(\d+%\)$", written, re.MULTILINE)
    assert labels == [line.split()[-1] for line in said.splitlines()]
    assert len(labels) >= 3
    times = re.findall(r"(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})", written)
    assert [time for pair in times for time in pair] == sorted(t for pair in times for t in pair)


def test_comparing_methods(demo: Path, cache: Path) -> None:
    few = ("--shots", 1, "--episodes", 40, "--cache", cache)
    said, _ = run("compare_methods.py", demo / "supports", *few)
    lines = said.splitlines()
    assert lines[0] == "5-way, 40 episodes, chance 20 %"
    percent = {line.split()[1]: float(line.split()[2]) for line in lines[1:]}
    assert set(percent) == {"a2m2", "a2m2-diagonal", "a2m2-otam", "bimhm", "protonet"}
    assert list(percent.values()) == sorted(percent.values(), reverse=True)
    assert (lines[1].split()[1], lines[-1].split()[1]) == ("a2m2", "protonet")
    assert "to a2m2: worse" in lines[-1]


@pytest.mark.usefixtures("forgotten")
def test_an_own_method(demo: Path, cache: Path) -> None:
    said, _ = run("own_method.py", demo / "supports", "--episodes", 40, "--cache", cache)
    percent = {line.split()[0]: float(line.split()[1]) for line in said.splitlines()}
    assert set(percent) == {"a2m2", "drift", "protonet"}
    assert percent["drift"] > percent["protonet"]  # the mean alone cannot tell these actions apart


def test_training_on_folders(demo: Path, cache: Path, tmp_path: Path) -> None:
    few = ("way=2", "shot=1", "query=1", "batch=2", "warmup=1", "validate_shots=[1]")
    options = ("--steps", 2, "--hold-out", 0.4, "--cache", cache)
    settings = ("--set", *few, "validate_episodes=20")
    said, _ = run("train_on_folders.py", demo / "supports", tmp_path / "run", *options, *settings)
    measured = re.findall(r"^held-out classes after step (\d): 1-shot [\d.]+ %", said, re.MULTILINE)
    assert measured == ["0", "2"]
    assert said.count("<- kept") == 1
    query = demo / "queries" / "jump" / "clip_0000.mp4"
    call = ["classify", str(query), "-s", str(demo / "supports")]
    assert main([*call, "--model", str(tmp_path / "run")]) == 0


def test_every_example_is_tested_and_says_how_it_is_run() -> None:
    here = Path(__file__).parent
    tests = [
        Path(__file__),
        here / "test_pictures.py",
        here / "test_readme.py",
        here / "zoo" / "export" / "test_export_onnx.py",
    ]
    tested = "".join(path.read_text() for path in tests)
    for path in EXAMPLES.iterdir():
        if path.suffix not in (".py", ".ipynb"):
            continue
        assert f'"{path.name}"' in tested, path.name
        assert path.suffix == ".ipynb" or f"python examples/{path.name} " in path.read_text()
