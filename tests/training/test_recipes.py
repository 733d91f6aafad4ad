"""Recipes: complete, of known origin, and each takes two steps on generated videos."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.tiny import Tiny
from a2m2_zoo.data import benchmarks
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import ArgumentError, CheckpointError, ModelNotFoundError
from a2m2_zoo.methods.base import Method
from a2m2_zoo.synthetic import ClipFormat, write_dataset
from a2m2_zoo.training import recipes, train
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.recipe_tables import CLIP_FSAR, HYRSM, MOLO, Schedule
from a2m2_zoo.training.recipes import Recipe, list_recipes, recipe
from a2m2_zoo.training.schedule import LossScale, Optimiser, rate_factor, trainable
from a2m2_zoo.training.shared_clips import draws
from a2m2_zoo.training.step import Stepper
from a2m2_zoo.training.video import VideoSource

pytestmark = pytest.mark.usefixtures("seen_once")

#: Recipes that differ by more than their benchmark.
KINDS = (
    "a2m2-resnet50", "a2m2-clip-vit-b-16", "molo-resnet50", "clip-fsar-rn50", "clip-fsar-vit-b-16",
    "hyrsm-resnet50", "trx-resnet50", "otam-resnet50",
)  # fmt: skip


class TinyWithText(Tiny):
    """Stands in for a CLIP: the tiny tower and texts of its length."""

    prompts: tuple[str, ...] = ()

    def encode_text(self, prompts: list[str]) -> Tensor:
        self.prompts = tuple(prompts)
        return torch.randn(len(prompts), self.pooled_channels)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    out = tmp_path_factory.mktemp("videos") / "clips"
    write_dataset(out, classes=2, clips=3, style="stick", form=ClipFormat(frames=10, size=64))
    return class_folders(out)


def small(given: Recipe, *, frames: int, side: int = 64) -> Recipe:
    """The same recipe, 2-way 1-shot, two steps, on small clips."""
    training = {
        **given.training, "way": 2, "shot": 1, "query": 1, "steps": 2, "accumulate": 1, "batch": 1,
        "deals": 1, "pool": 0,
        "warmup": min(given.training["warmup"], 1), "milestones": given.training.get("milestones", ())[:0],
        "factors": (), "validate_every": 0,
    }  # fmt: skip
    preprocess = replace(given.preprocess, resize=side + 8, size=side, frames=frames)
    return replace(given, training=training, preprocess=preprocess)


def source(given: Recipe, videos: dict[str, tuple[Path, ...]]) -> VideoSource:
    return VideoSource(
        videos,
        draws(given.training_config),
        preprocess=given.preprocess,
        augment=given.augment,
        workers=1,
    )


@pytest.mark.parametrize("name", list_recipes())
def test_two_steps_of_every_recipe_on_the_tiny_backbone(name, videos, tmp_path):
    given = small(recipe(name), frames=4)
    torch.manual_seed(0)
    backbone = TinyWithText()
    method = given.build_method(backbone)
    given.prepare(method, backbone, names=tuple(videos))
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    with source(given, videos) as clips:
        trained = train(
            method, clips, config=given.training_config, out=tmp_path / "run", backbone=backbone
        )
    assert (trained.step, trained.skipped, trained.stopped) == (2, 0, "steps")
    tuned = any(not torch.equal(before[k], v) for k, v in backbone.state_dict().items())
    assert tuned == (given.training_config.backbone_lr > 0)
    if given.prompt:
        assert backbone.prompts == tuple(f"a photo of {label}" for label in videos)


def test_one_step_through_the_real_resnet(videos):
    given = small(recipe("a2m2-resnet50-ssv2-full"), frames=2)
    losses = one_step(given, build_backbone(given.backbone), videos)
    assert losses["episode"] > 0
    assert all(math.isfinite(loss) for loss in losses.values())


@pytest.mark.slow
@torch.no_grad()
def test_the_real_clip_and_its_texts(videos, monkeypatch):
    given = small(recipe("clip-fsar-rn50-hmdb51"), frames=1, side=224)
    monkeypatch.setattr(
        recipes, "build_backbone", lambda *a, weights, text: build_backbone(*a, text=text)
    )
    backbone = given.build_backbone("given.safetensors")
    parts = {(k.split(".")[0], p.requires_grad) for k, p in backbone.named_parameters()}
    assert parts == {("visual", True), ("text", False)}
    method = given.build_method(backbone)
    given.prepare(method, backbone, names=tuple(videos))
    with source(given, videos) as clips:
        batch = clips.batch(0)
    sides = {"support": backbone(batch.support_frames), "query": backbone(batch.query_frames)}
    losses = method.losses(replace(batch, **sides))
    assert sorted(losses) == ["episode", "text"]
    assert 0 < losses["text"] < 10


def one_step(given: Recipe, backbone, videos) -> dict[str, float]:
    """Losses of one step in which every parameter of the backbone gets a gradient."""
    torch.manual_seed(0)
    method: Method = given.build_method(backbone)
    given.prepare(method, backbone, names=tuple(videos))
    backbone.train()
    parameters = trainable(method.train(), backbone)
    config = replace(given.training_config, precision="float32")
    stepper = Stepper(
        method, backbone, list(parameters.values()), Optimiser(parameters, config),
        LossScale(), config, Ranks(), torch.device("cpu"),
    )  # fmt: skip
    before = next(backbone.parameters()).detach().clone()
    with source(given, videos) as clips:
        taken = stepper.take(1, [(0, clips.batch(0))], stop=False)
    assert taken.fault is None
    assert not torch.equal(before, next(backbone.parameters()))
    return taken.losses


def test_names_are_method_backbone_benchmark():
    expected = [f"{kind}-{name}" for kind in KINDS for name in benchmarks.list_benchmarks()]
    own = ["a2m2-lite0", "small"]
    assert list_recipes() == [*expected, *own]
    for name in list_recipes():
        given = recipe(name)
        assert given.name == name
        assert name in own or name.startswith(given.method)
        assert name in own or name.endswith(f"-{given.benchmark}")


def test_the_nearest_name_is_told():
    assert recipe("MoLo_resnet50_hmdb51").name == "molo-resnet50-hmdb51"
    with pytest.raises(
        ModelNotFoundError, match=r"'molo-resnet50-hmdb'; did you mean molo-resnet50-hmdb51"
    ):
        recipe("molo-resnet50-hmdb")


@pytest.mark.parametrize("name", list_recipes())
def test_every_value_says_where_it_is_from(name):
    given = recipe(name)
    fields = {f"training.{field}" for field in given.training}
    fields |= {f"method.{field}" for field in given.method_config}
    fields |= {f"preprocess.{field}" for field in given.preprocess.to_dict()}
    assert set(given.provenance) >= fields
    assert {part.split(".")[0] for part in set(given.provenance) - fields} <= {
        "augment", "generated", "distortion", "after",
    }  # fmt: skip
    assert set(given.provenance.values()) <= {"official", "ours"}
    assert given.source


def test_what_is_ours_and_what_is_not():
    assert set(recipe("a2m2-resnet50-ucf101").provenance.values()) == {"ours"}
    vit = recipe("clip-fsar-vit-b-16-ssv2-full").provenance
    assert {field.split(".")[0] for field, origin in vit.items() if origin == "official"} == {
        "preprocess"
    }
    molo = recipe("molo-resnet50-ssv2-full").provenance
    ours = {field for field, origin in molo.items() if origin == "ours"}
    assert {"training.lr", "training.milestones", "augment.hue"} <= set(molo) - ours
    assert {"training.validate_every", "preprocess.sampling"} <= ours
    assert recipe("trx-resnet50-ssv2-full").provenance["training.steps"] == "official"
    assert recipe("trx-resnet50-hmdb51").provenance["training.steps"] == "ours"


def test_numbers_of_the_published_configurations():
    full = recipe("molo-resnet50-ssv2-full")
    assert full.method_config["class_weight"] == 0.8
    assert full.method_config["reconstruction_weight"] == 4 * 0.1
    assert (full.training_config.query, full.training_config.optimiser) == (6, "adam")
    assert (full.preprocess.crop, full.preprocess.mean) == ("stretch-center", (0.45, 0.45, 0.45))
    far = recipe("molo-resnet50-kinetics100").method_config
    assert (far["position_scale"], far["position_weight"]) == (2048, 0.02)
    assert recipe("clip-fsar-rn50-ucf101").training_config.lr == 2e-6
    assert recipe("clip-fsar-rn50-kinetics100").augment.brightness == 0.5
    assert recipe("clip-fsar-rn50-hmdb51").augment.brightness == 0
    trx = recipe("trx-resnet50-ssv2-full")
    assert (trx.training_config.shot, trx.training_config.accumulate) == (5, 16)
    assert trx.training_config.steps == 75_000 // 16
    assert (trx.preprocess.mean, trx.augment.sides) == ((0, 0, 0), "both")
    assert recipe("a2m2-resnet50-ssv2-small").augment.flip == 0
    assert recipe("a2m2-resnet50-hmdb51").augment.flip == 0.5


def official_rate(schedule: Schedule, episode: int) -> float:
    """The rate as the published code finds it, whole epochs counted twice."""
    part = episode / schedule.epoch
    epoch = math.floor(part) + part
    if epoch < 1:
        return schedule.start + (schedule.lr - schedule.start) * epoch
    return (
        schedule.lr
        * [f for s, f in zip(schedule.steps, schedule.factors, strict=True) if s <= epoch][-1]
    )


@pytest.mark.parametrize("name", benchmarks.list_benchmarks())
@pytest.mark.parametrize(
    ("kind", "tables"),
    [("molo-resnet50", MOLO), ("clip-fsar-rn50", CLIP_FSAR), ("hyrsm-resnet50", HYRSM)],
)
def test_rates_are_those_of_the_published_code(kind, tables, name):
    config, schedule = recipe(f"{kind}-{name}").training_config, tables[name]
    per_step = config.accumulate
    assert config.steps == schedule.episodes // per_step
    wrong = 0
    for step in range(config.steps):
        found = config.lr * rate_factor(step, config)
        expected = [official_rate(schedule, per_step * step + k) for k in range(per_step + 1)]
        slack = (
            schedule.lr / config.warmup
        )  # a step of the warm-up, which ours rounds to whole steps
        wrong += not min(expected) - slack <= found <= max(expected) + slack
    assert wrong <= 2  # milestones too are rounded to whole steps


def test_both_schedules_are_told():
    assert (
        "As written: lr × 1, 0.1, 0.01 from epochs 0, 4, 8 of 1500 episodes"
        in recipe("molo-resnet50-ssv2-small").source
    )


def test_weights_that_the_package_does_not_hold_are_asked_for(tmp_path):
    with pytest.raises(ArgumentError, match=r"IMAGENET1K_V1.*--backbone-weights FILE"):
        recipe("a2m2-resnet50-ssv2-full").build_backbone()
    with pytest.raises(CheckpointError, match="no weights file"):
        recipe("a2m2-resnet50-ssv2-full").build_backbone(tmp_path / "none.safetensors")
    assert recipe("a2m2-lite0").build_backbone().name == "lite"
    assert [name for name in list_recipes() if recipe(name).cautious] == ["small"]


def test_texts_need_a_tower_and_overrides_a_field():
    given = recipe("clip-fsar-rn50-hmdb51")
    backbone = build_backbone("tiny")
    with pytest.raises(ArgumentError, match="tiny has no text tower"):
        given.prepare(given.build_method(backbone), backbone, names=("a", "b"))
    with pytest.raises(ArgumentError, match="no field 'depht'"):
        replace(given, method_config={"depht": 2}).build_method(backbone)


def test_overrides_reach_every_stage():
    config = recipe("a2m2-resnet50-hmdb51").build_method(build_backbone("tiny")).config
    assert [(m2.dim, m2.reduce) for m2 in config.m2.values()] == [(64, "mlp")] * 2
    assert config.a2.learn_weights
