"""`a2m2 models convert`: from an official file to a model that `a2m2 classify` takes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import draw_video
from torch import Tensor

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.cli import main
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.zoo.load import load_model

# How the official code counts the children of a ResNet.
_NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of TRX on ResNet-50, random weights, pairs of 2 frames and 8 channels of keys."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}
    for key, value in build_backbone("resnet50").state_dict().items():
        first, _, rest = key.partition(".")
        state[f"resnet.module.{_NUMBERS[first]}.{rest}"] = value
    for name in ("k_linear", "v_linear"):
        state[f"transformers.0.{name}.weight"] = torch.randn(8, 4096) / 64
        state[f"transformers.0.{name}.bias"] = torch.zeros(8)
    for name in ("norm_k", "norm_v"):
        state[f"transformers.0.{name}.weight"] = torch.ones(8)
        state[f"transformers.0.{name}.bias"] = torch.zeros(8)
    state["transformers.0.pe.pe"] = 0.1 * pair_positions(3, 2048)[None]
    path = tmp_path_factory.mktemp("official") / "fully_trained.pt"
    torch.save({"iteration": 7, "model_state_dict": state}, path)
    return path


@pytest.fixture(scope="module")
def converted(official: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The converted folder, and what the command said."""
    import contextlib
    import io

    out, text = tmp_path_factory.mktemp("zoo") / "my model", io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main(["models", "convert", "trx", str(official), "--out", str(out)]) == 0
    return out, text.getvalue()


def test_the_table_says_what_was_done_and_what_comes_next(converted: tuple[Path, str]) -> None:
    out, text = converted
    assert "resnet50" in text
    assert "transformers.0.v_linear.bias" in text  # left behind
    model = load_model(out)
    assert model.backbone_hash in text
    assert f"--model '{out}'" in text.splitlines()[-1]


def test_the_converted_model_classifies(
    converted: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = converted
    right = draw_video(tmp_path / "s" / "right" / "a.mp4", 8)
    draw_video(tmp_path / "s" / "back" / "b.mp4", 8, speed=-7)
    call = [
        "classify",
        str(right),
        "--supports",
        str(tmp_path / "s"),
        "--model",
        str(out),
        "--json",
    ]
    assert main(call) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["label"] == "right"
    assert answer["model"] == "my model"
    assert len(answer["frames"]) == 2


def test_json(official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["models", "convert", "trx", str(official), "--out", str(tmp_path / "m")]
    assert main([*call, "--name", "x", "--set", "dropout=0.2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["id"] == "x"
    assert made["folder"] == str(tmp_path / "m")
    assert made["config"]["dropout"] == 0.2
    assert made["sha256"].keys() == {"model.safetensors", "backbone.safetensors"}
    assert "transformers.0.norm_v.weight" in made["dropped"]


class Hostile:
    """Unpickling it would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["trxx", "weights.pt"], "nothing converts 'trxx'; did you mean trx or strm?"),
        (["trx", "none.pt"], "cannot read"),
        (["trx", "weights.pt"], "has no backbone.* or resnet.* weights"),
        (["trx", "hostile.pt"], "such a file could run code"),
        (["trx", "weights.pt", "--set", "dropout"], "is no setting; expected FIELD=VALUE"),
    ],
)
def test_a_wrong_call_is_one_line(
    tmp_path: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pt")
    torch.save({"a": Hostile(tmp_path / "trace")}, tmp_path / "hostile.pt")
    method, file, *rest = arguments
    call = ["models", "convert", method, str(tmp_path / file), "--out", str(tmp_path / "m"), *rest]
    assert main(call) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.strip().splitlines()
    assert problem in line
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "trace").exists()


def test_a_folder_that_is_there_is_not_touched(
    converted: tuple[Path, str], official: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = converted
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    assert main(["models", "convert", "trx", str(official), "--out", str(out)]) == 1
    assert "exists; give a new folder" in capsys.readouterr().err
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == before
