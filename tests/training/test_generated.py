"""Classes that are drawn to train on, and the recipe of the shipped model, which is trained on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.cli import main
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import package_file
from a2m2_zoo.methods.a2m2 import A2M2Config
from a2m2_zoo.synthetic import ClipFormat, write_dataset
from a2m2_zoo.training import TrainingConfig
from a2m2_zoo.training.distort import Distortion
from a2m2_zoo.training.drawing import Block, Drawer, all_blocks, blocks_of
from a2m2_zoo.training.generated import Generated, episodes, of_clips
from a2m2_zoo.training.recipes import recipe
from a2m2_zoo.training.start import from_recipe
from a2m2_zoo.zoo.load import load_model

pytestmark = pytest.mark.usefixtures("seen_once")

#: The recipe's run in little: four classes, 26 clips in all.
TINY = {
    "generated.classes": 4, "generated.studio": 2, "generated.inside": 2, "generated.block": 2,
    "generated.held": 2, "generated.held_clips": 3, "generated.held_episodes": 20,
    "way": 2, "query": 1, "batch": 2, "steps": 2, "validate_every": 0,
    "validate_shots": [1], "validate_episodes": 20,
}  # fmt: skip


def train(out: Path, *words: str | Path, **more: Any) -> int:
    settings = [f"{name}={json.dumps(value)}" for name, value in {**TINY, **more}.items()]
    pairs = [word for one in settings for word in ("--set", one)]
    rest = ["--recipe", "a2m2-lite0", "--out", out, "--device", "cpu", "--workers", "1"]
    return main(["train", *map(str, words), *map(str, rest), *pairs])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated") / "run"
    assert train(out) == 0
    return out


def test_the_recipe_is_what_the_shipped_model_was_trained_with() -> None:
    shipped = checkpoint.load(package_file("weights/a2m2_lite0.safetensors"), kind="model").record
    given = recipe("a2m2-lite0")
    start = from_recipe("a2m2-lite0", weights=None, settings={})
    assert start.method.config.centring == 5
    assert start.finished().config.to_dict() == shipped["config"]
    assert start.preprocess.to_dict() == shipped["preprocess"]
    assert start.backbone_file.name == shipped["backbone"]
    assert given.method == shipped["method"]
    assert given.start == "a2m2-lite0-free"
    assert (given.generated, given.distortion) == (Generated(), Distortion(moved=0.3, domain=0.3))
    assert given.training_config == TrainingConfig(
        query=2, batch=4, steps=800, lr=2e-3, warmup=30, weight_decay=0.0, validate_every=200,
        validate_episodes=400, patience=0,
    )  # fmt: skip


def test_it_starts_from_the_training_free_head() -> None:
    free = load_model("a2m2-lite0-free", device="cpu")
    weights = from_recipe("a2m2-lite0", weights=None, settings={}).method.weights()
    known = free.method.weights()
    scale = weights.pop("align.log_temperature").exp()
    assert float(scale) == pytest.approx(3.83)  # under which its probabilities are calibrated
    assert all(torch.equal(weights[name], known[name]) for name in known if name in weights)
    corrections = [value for name, value in weights.items() if ".down." in name]
    assert len(corrections) == 4
    assert not any(value.any() for value in corrections)


def test_the_command_draws_trains_and_calibrates(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(run, device="cpu")
    shipped = load_model("a2m2-lite0", device="cpu")
    assert model.method.config == shipped.method.config
    assert model.preprocess == shipped.preprocess
    assert (model.origin, model.backbone_hash) == ("trained", shipped.backbone_hash)
    assert set(model.scales) == {1, 2}  # of three clips
    receipt = json.loads((run / "receipt.json").read_text())
    assert receipt["data"]["recipe"] == "a2m2-lite0"
    assert receipt["data"]["train"] == {"classes": 4, "clips": 14}
    assert receipt["data"]["generated"]["classes"] == 4
    assert receipt["held_out"] == ["generated 5100", "generated 5104"]


def test_it_goes_on_with_the_clips_that_are_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(path.name for path in (run / "generated").iterdir())
    assert files == [
        "calibration.safetensors", "classes_00000.safetensors", "classes_00002.safetensors",
        "validation.safetensors",
    ]  # fmt: skip
    before = {name: (run / "generated" / name).stat().st_mtime_ns for name in files}
    cache = ("--cache", run / "generated")
    assert train(tmp_path / "again", *cache) == 0
    assert before == {name: (run / "generated" / name).stat().st_mtime_ns for name in files}
    first, again = (load_model(at, device="cpu") for at in (run, tmp_path / "again"))
    assert first.scales == again.scales
    weights = again.method.weights()
    assert all(torch.equal(v, weights[k]) for k, v in first.method.weights().items())
    assert train(tmp_path / "other", *cache, **{"generated.seed": 22}) == 2
    assert "drawn with other settings" in capsys.readouterr().err


def test_the_recipe_trains_on_ones_own_clips(tmp_path: Path) -> None:
    data = tmp_path / "clips"
    write_dataset(data, classes=4, clips=3, style="stick", form=ClipFormat(size=64, frames=8))
    words = (data, "--cache", tmp_path / "cache", "--hold-out", "0.5")
    assert train(tmp_path / "run", *words) == 0
    assert not (tmp_path / "run" / "generated").exists()
    model = load_model(tmp_path / "run", device="cpu")
    assert isinstance(model.method.config, A2M2Config)
    assert model.method.config.centring == 0
    assert model.method.config.pose == 1
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert receipt["data"]["distortion"] == {"moved": 0.3, "domain": 0.3}
    assert receipt["method_config"]["centring"] == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "molo-resnet50-hmdb51"], "DATA is missing"),
        ([], "DATA is missing"),
        (["--recipe", "a2m2-lite0", "--benchmark", "hmdb51"], "go with DATA"),
        (["--recipe", "a2m2-lite0", "--tune-backbone"], "tuned on videos"),
        (["--recipe", "a2m2-lite0", "--backbone-weights", "x"], "leave --backbone-weights out"),
        (["--recipe", "a2m2-lite0", "--set", "generated.classes=1"], "classes is 1"),
        (["--recipe", "a2m2-lite0", "--set", "generated.colour=1"], "has no colour"),
        (["--recipe", "a2m2-lite0", "--set", "query=3"], "need 4 clips per class"),
        (["--recipe", "a2m2-lite0", "--set", "method.m2.s7.dim=16"], "do not fit"),
    ],
)
def test_a_wrong_call_is_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--out", str(tmp_path / "run"), "--device", "cpu", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_classes_share_studios_and_styles() -> None:
    given = Generated()
    assert len(given.clips) == 7200
    assert len({clip.label for clip in given.validated + given.fitted}) == 40
    assert {clip.style for clip in given.fitted} == {"scene"}
    for label in (0, 799, 800, 1599):
        clips = given.clips_of(label)
        assert [clip.studio for clip in clips[:3]] == [label // 8] * 3
        assert [clip.studio for clip in clips[3:]] == [None] * (2 if label < 800 else 1)
    styles = [
        {clip.style for clip in half if clip.style}
        for half in (given.clips[:4000], given.clips[4000:])
    ]
    assert styles == [{"scene", "capsule"}, {"stick", "capsule"}]


def test_seven_batches_of_ten_are_of_one_studio() -> None:
    given = replace(Generated(), classes=32)
    clips = given.clips
    pooled = torch.arange(float(len(clips)))[:, None, None].expand(-1, 8, 2)
    config = TrainingConfig(way=5, shot=1, query=2, batch=1)
    source = episodes(of_clips(Features({}, pooled), clips), given, config, None)
    studios = []
    for index in range(20):
        batch = source.batch(index)
        chosen = [clips[int(place)] for place in batch.support.pooled[:, 0, 0]]
        studios.append(len({clip.studio for clip in chosen}) == 1 and chosen[0].studio is not None)
    assert studios[:7] == studios[10:17] == [True] * 7
    assert not all(studios)
    with pytest.raises(ArgumentError, match="features of 1 clips, expected 144"):
        of_clips(Features({}, pooled[:1]), clips)


@pytest.mark.usefixtures("computed_anew")
def test_blocks_are_drawn_by_processes_as_by_one(run: Path, tmp_path: Path) -> None:
    start = from_recipe("a2m2-lite0", weights=None, settings={**TINY, "warmup": 0})
    assert start.generated is not None
    held, fitted, *_ = all_blocks(start.generated)
    drawer = Drawer(tmp_path, start.backbone, start.backbone_file.sha256, start.preprocess)
    told: list[tuple[str, int, int]] = []
    drawer.fill([held, fitted], workers=2, tell=lambda *said: told.append(said))
    assert [done for _, done, _ in told] == [6, 12]
    for block in (held, fitted):
        made, first = drawer.read(block), replace(drawer, folder=run / "generated").read(block)
        assert torch.equal(made.pooled, first.pooled)
        assert all(torch.equal(value, first.maps[stage]) for stage, value in made.maps.items())
    assert sum(len(block.clips) for block in blocks_of(start.generated)[0]) == 14
    with pytest.raises(CheckpointError):
        drawer.read(Block("none.safetensors", 0, held.clips, half=False, people=True))
