"""The default model as ONNX: onnxruntime gives what the model gives, in any batch and episode."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from a2m2_zoo import load_model
from a2m2_zoo.cli import main
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.video import Clip, read_clip

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "onnx_alone.py"

#: Runs the example in a process that has neither torch nor this package.
PROBE = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
unexpected = {"torch", "a2m2_zoo", "onnx"} & set(sys.modules)
assert not unexpected, unexpected
"""

TOLERANCE = 1e-4

Graph = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def model() -> Model:
    """The shipped model as it is exported: it looks for no people."""
    found = load_model("a2m2-lite0", device="cpu")
    method = A2M2(replace(found.method.config, pose=0.0)).eval()
    method.load_state_dict(found.method.weights())
    return replace(found, method=method)


@pytest.fixture(scope="module")
def graphs(onnx_folder: Any) -> dict[str, Graph]:
    import onnxruntime

    def opened(facts: dict[str, Any]) -> Graph:
        file = str(onnx_folder.path / facts["file"])
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        assert {i.name: i.shape for i in session.get_inputs()} == facts["inputs"]
        assert [o.name for o in session.get_outputs()] == list(facts["outputs"])
        return lambda **feed: dict(zip(facts["outputs"], session.run(None, feed), strict=True))

    return {name: opened(facts) for name, facts in onnx_folder.config["graphs"].items()}


def drawn(model: Model, count: int) -> list[Clip]:
    return [
        read_clip(draw_clip(7, c % 5, c // 5, frames=17 + c, size=192), model.preprocess)
        for c in range(count)
    ]


def check(model: Model, graphs: dict[str, Graph], clips: Sequence[Clip]) -> None:
    """Pixels to logits by the graphs alone, against the model, in episodes of several shapes."""
    found = graphs["encoder"](pixels=np.stack([clip.frames for clip in clips]))
    expected = model.encode(clips)
    for name, value in expected.items():
        assert np.abs(found[name] - value.numpy()).max() < TOLERANCE
    for queries, classes in ((1, [0, 1]), (3, [0, 1, 2, 0, 2]), (2, [0] * 4)):
        labels, way = torch.tensor(classes), max(classes) + 1
        queries, supports = slice(queries), slice(queries, queries + len(classes))
        sides = take(expected, queries), take(expected, supports)
        known = SupportSet.of(model, model.pairs(sides[1], sides[1]), labels, way=way)
        weights, constants = (value.float().numpy() for value in known.fitted.linear())
        feed = {
            **{f"query_{name}": value[queries] for name, value in found.items()},
            **{f"support_{name}": value[supports] for name, value in found.items()},
            "weights": weights,
            "constants": constants,
        }
        scores = graphs["matcher"](**feed)
        logits = model.logits(*sides, labels=labels, way=way).numpy()
        assert scores["logits"].shape == logits.shape
        assert np.abs(scores["logits"] - logits).max() < TOLERANCE
        pairs = model.pairs(*sides)
        assert pairs is not None
        assert np.abs(scores["pairs"] - pairs.numpy()).max() < TOLERANCE


def test_drawn_clips(model: Model, graphs: dict[str, Graph]) -> None:
    check(model, graphs, drawn(model, 8))


def test_real_clips(model: Model, graphs: dict[str, Graph], real_clips: Path) -> None:
    for folder in ("jhmdb", "cctv_fight"):
        paths = [found[0] for found in class_folders(real_clips / folder).values()]
        paths += [found[1] for found in class_folders(real_clips / folder).values()]
        paths += [found[2] for found in class_folders(real_clips / folder).values()]
        paths += [found[3] for found in class_folders(real_clips / folder).values()]
        check(model, graphs, [read_clip(path, model.preprocess) for path in paths[:8]])


def test_a_clip_does_not_depend_on_its_batch(model: Model, graphs: dict[str, Graph]) -> None:
    pixels = np.stack([clip.frames for clip in drawn(model, 3)])
    together = graphs["encoder"](pixels=pixels)
    for i in range(3):
        alone = graphs["encoder"](pixels=pixels[i : i + 1])
        for name, value in alone.items():
            assert np.abs(value[0] - together[name][i]).max() < TOLERANCE


def test_a_still_clip_has_no_motion_and_finite_scores(
    model: Model, graphs: dict[str, Graph]
) -> None:
    still = np.repeat(drawn(model, 1)[0].frames[:1], 8, 0)
    clips = [Clip(still, tuple(range(8)), (), 8, "still"), *drawn(model, 7)]
    check(model, graphs, clips)


def test_the_folder_says_what_it_is(model: Model, onnx_folder: Any) -> None:
    config = onnx_folder.config
    assert config["weights_hash"] == model.weights_hash
    assert config["preprocess"] == model.preprocess.to_dict()
    assert config["scales"] == {str(shot): scale for shot, scale in model.scales.items()}
    assert sorted(path.name for path in onnx_folder.path.iterdir()) == [
        "config.json",
        "encoder.onnx",
        "matcher.onnx",
    ]
    for file, digest in config["sha256"].items():
        assert hashlib.sha256((onnx_folder.path / file).read_bytes()).hexdigest() == digest
    checked = config["checked"]["largest_difference"]
    assert {f"{g}.{o}" for g, found in checked.items() for o in found} == {
        "encoder.moments",
        "encoder.pooled",
        "matcher.logits",
        "matcher.pairs",
    }
    assert all(value < TOLERANCE for found in checked.values() for value in found.values())
    assert onnx_folder.said["differences"] == checked


def test_no_path_of_the_machine_is_in_the_graphs(onnx_folder: Any) -> None:
    package = str(Path(torch.__file__).parent).encode()
    for file in onnx_folder.config["sha256"]:
        content = (onnx_folder.path / file).read_bytes()
        assert package not in content
        assert b"a2m2_zoo/" not in content


def alone(folder: Any, query: Path, supports: Path, tmp_path: Path) -> dict[str, float]:
    """Class → percent, by the example in a process of its own and another folder."""
    command = [sys.executable, "-c", PROBE, EXAMPLE, query, supports, folder.path]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^ *([\d.]+)%  (\w+)$", done.stdout, re.MULTILINE)
    return {name: float(percent) for percent, name in lines}


@pytest.mark.usefixtures("seen_once")
def test_the_example_gives_the_packages_answers(
    onnx_folder: Any, demonstration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = Path(shutil.copytree(demonstration, tmp_path / "demo"))
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
    expected = said["probabilities"]
    found = alone(onnx_folder, query, demo / "one", tmp_path)
    assert list(found) == sorted(expected, key=expected.get, reverse=True)
    for name, percent in found.items():
        assert percent == pytest.approx(100 * expected[name], abs=0.02)
