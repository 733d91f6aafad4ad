"""What can be recorded, and what is refused: heads of many configurations, on a small backbone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from a2m2_zoo import load_model
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.cli import main
from a2m2_zoo.errors import A2M2Error, ArgumentError, DependencyError, ExportError, SaveError
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Method, take
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.video import Preprocess, read_clip
from a2m2_zoo.zoo import export
from a2m2_zoo.zoo.export import export_model, folder
from a2m2_zoo.zoo.export.graphs import record_matcher

SPEC = Preprocess(frames=4, resize=64, size=64)


def standing(name: str, method: Method) -> Model:
    """A model of the small backbone and a head."""
    return Model(
        id=f"small-{name}",
        weights_hash="0" * 64,
        backbone_hash="1" * 64,
        method_name=name,
        backbone_name="tiny",
        backbone=build_backbone("tiny").eval(),
        method=method.eval(),
        preprocess=SPEC,
        scales={1: 2.0},
    )


def a2m2(*, shots: str = "scores", centring: float = 5.0, **a2: Any) -> Model:
    torch.manual_seed(0)
    m2 = {"s14": M2Config(channels=8, dim=4, grid=4, scales=(1, 1), cells=(1, 2), motion="none")}
    align = A2Config(**{"groups": "window", "iterations": 3, **a2})
    return standing(
        "a2m2", A2M2(A2M2Config(m2, align, shots=shots, pool=0.2, frames=4, centring=centring))
    )


def built(name: str) -> Model:
    kind, config = METHODS[name]
    torch.manual_seed(0)
    return standing(name, kind(config.for_backbone(build_backbone("tiny"), frames=4)))


def descriptors(model: Model, count: int) -> dict[str, torch.Tensor]:
    clips = [read_clip(draw_clip(3, c, 0, frames=8, size=64), SPEC) for c in range(count)]
    return model.encode(clips)


HEADS: dict[str, dict[str, Any]] = {
    "as the default": {},
    "one set, costs too wide for plain scalings": {"groups": "joint", "epsilon": 0.005},
    "epsilon by the spread, exact marginals": {
        "epsilon_rule": "spread",
        "epsilon": 0.2,
        "rounding": True,
    },
    "gate": {"marginals": "gate"},
    "cross reference, no centring": {"marginals": "cross", "centring": 0.0},
    "otam": {"alignment": "otam"},
    "bimhm": {"alignment": "bimhm"},
    "global": {"alignment": "global"},
}


@pytest.mark.parametrize("name", HEADS)
def test_recorded_heads_score_like_the_method(name: str) -> None:
    model = a2m2(**HEADS[name])
    clips = descriptors(model, 6)
    module = record_matcher(model, clips).program.module()
    for queries, classes in ((1, [0]), (3, [0, 1, 1])):
        labels, way = torch.tensor(classes), max(classes) + 1
        sides = take(clips, slice(queries)), take(clips, slice(queries, queries + len(classes)))
        among = model.pairs(sides[1], sides[1])
        rule = SupportSet.of(model, among, labels, way=way).fitted.linear()
        with torch.inference_mode():
            logits, pairs = module(*sides, *(value.float() for value in rule))
        expected = model.logits(*sides, labels=labels, way=way)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(pairs, model.pairs(*sides), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["a2m2", "otam"])
def test_programs_of_torch_export_run_without_the_package(name: str, tmp_path: Path) -> None:
    model = a2m2() if name == "a2m2" else built(name)
    steps: list[str] = []
    made = export_model(model, tmp_path / "out", to="torch-export", tell=steps.append)
    assert steps[0] == "recording the encoder"
    assert sorted(made.sha256) == ["encoder.pt2", "matcher.pt2"]
    encoder = torch.export.load(tmp_path / "out" / "encoder.pt2").module()
    pixels = torch.from_numpy(np.random.default_rng(5).integers(0, 256, (5, 4, 64, 64, 3), "uint8"))
    clips = [read_clip(clip.numpy(), SPEC) for clip in pixels]
    with torch.inference_mode():
        found = encoder(pixels)
    for key, value in model.encode(clips).items():
        torch.testing.assert_close(found[key], value, atol=1e-4, rtol=1e-4)


def test_the_given_model_is_left_as_it_is(tmp_path: Path) -> None:
    model = built("protonet").to("cpu", torch.bfloat16)
    export_model(model, tmp_path / "out", to="torch-export")
    assert {p.dtype for p in model.backbone.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: a2m2(solver="exact"), "solver='sinkhorn'"),
        (lambda: a2m2(shots="pooled"), "comes from pair scores"),
        (lambda: built("trx"), "what can be exported: a2m2"),
    ],
)
def test_heads_that_are_no_graph_are_refused(model: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=said):
        export_model(model(), tmp_path / "out", to="torch-export")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(model: Model, clips: Any) -> Any:
        shifted = ProtoNet(ProtoNetConfig(eps=0.02)).eval()  # the model's is 0.01
        return record_matcher(replace(model, method=shifted), clips)

    monkeypatch.setattr(folder, "record_matcher", other)
    with pytest.raises(ExportError, match=r"exported matcher differs .* in logits"):
        export_model(built("protonet"), tmp_path / "out", to="torch-export")
    assert not list(tmp_path.iterdir())


def test_an_exporter_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decides(self: Any, features: Any) -> Any:
        pooled = features.pooled.mean(1)
        return {"mean": pooled if bool(pooled.sum() > 0) else -pooled}

    model = built("protonet")
    monkeypatch.setattr(type(model.method), "encode", decides)
    with pytest.raises(ExportError, match=r"^recording the encoder failed: [^\n]+$"):
        export_model(model, tmp_path / "out", to="torch-export")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name)
    )
    model = built("protonet")
    with pytest.raises(DependencyError, match=r"needs onnx: pip install 'a2m2_zoo\[export\]'"):
        export_model(model, tmp_path / "out")
    with monkeypatch.context() as older:
        older.delattr(torch.compiler, "is_exporting")
        with pytest.raises(DependencyError, match=r"torch 2\.7 or newer"):
            export_model(model, tmp_path / "out", to="torch-export")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a2m2-lite0", "--to", "tflite", "--out", "new"], 2, "expected one of onnx, torch-export"),
        (["molo-resnet50-ssv2-small", "--to", "torch-export", "--out", "new"], 2, "nobody has"),
        (["protonet-lite0", "--to", "torch-export", "--out", "."], 1, "exists"),
        (["protonet-lite0", "--to", "torch-export", "--out", "a/b"], 1, "make it first"),
        (["protonet-lite0", "--to", "torch-export", "--out", "new", "--clip", "x.mp4"], 2, "x.mp4"),
    ],
)
def test_refusals_on_the_command_line(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["models", "export", *arguments]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="root, and whoever runs Windows, writes anywhere",
)
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SaveError, match="cannot write"):
        export_model(built("protonet"), tmp_path / "out", to="torch-export")


def test_the_command_on_an_embedded_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "graphs"
    assert main(["models", "export", "protonet-lite0", "--to", "torch-export", "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "encoder.pt2" in shown
    assert "logits" in shown
    assert issubclass(ExportError, A2M2Error)
    assert set(export.METHODS) <= set(METHODS)
    model = load_model("protonet-lite0", device="cpu")
    clip = read_clip(draw_clip(1, 0, 0, frames=20, size=128), model.preprocess)
    encoder = torch.export.load(out / "encoder.pt2").module()
    with torch.inference_mode():
        found = encoder(torch.from_numpy(clip.frames)[None])
    torch.testing.assert_close(found["mean"], model.encode([clip])["mean"], atol=1e-4, rtol=1e-4)
