"""The example that runs an exported model: without torch, without this package, with its answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from a2m2_zoo.cli import main

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "onnx_alone.py"

PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
unexpected = {"torch", "a2m2_zoo", "onnx"} & set(sys.modules)
assert not unexpected, unexpected
"""


def alone(folder: Any, query: Path, supports: Path, tmp_path: Path) -> dict[str, float]:
    """Class → percent, by the example in a process of its own and another folder."""
    command = [sys.executable, "-c", PROBE, EXAMPLE, query, supports, folder.path]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^ *([\d.]+)%  (\w+)$", done.stdout, re.MULTILINE)
    return {name: float(percent) for percent, name in lines}


def test_the_example_gives_the_packages_answers(
    onnx_folder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = tmp_path / "demo"
    assert main(["demo", "--out", str(demo)]) == 0
    query = demo / "queries" / "squat" / "clip_0000.mp4"
    two = alone(onnx_folder, query, demo / "supports", tmp_path)
    assert next(iter(two)) == "squat"
    (demo / "one").mkdir()
    for clip in (demo / "supports").glob("*/clip_0000.mp4"):
        shutil.copytree(clip.parent, demo / "one" / clip.parent.name)
        (demo / "one" / clip.parent.name / "clip_0001.mp4").unlink()
    capsys.readouterr()
    assert main(["classify", str(query), "-s", str(demo / "one"), "--no-pose", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    said = said[0] if isinstance(said, list) else said
    expected = said["scores"]
    found = alone(onnx_folder, query, demo / "one", tmp_path)
    assert list(found) == sorted(expected, key=expected.get, reverse=True)
    for name, percent in found.items():
        assert percent == pytest.approx(100 * expected[name], abs=0.02)
