"""From class folders to a run and from a run to a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, EpisodeError, ModelNotFoundError, SaveError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.training import TrainingConfig
from a2m2_zoo.training import dataset as material
from a2m2_zoo.training.dataset import Split, gathered, hold_out
from a2m2_zoo.training.start import from_model, from_recipe, read_settings
from a2m2_zoo.zoo.load import load_model


def folders(classes: int, clips: int = 3) -> dict[str, list[Path]]:
    return {f"c{c}": [Path(f"c{c}/{i}.mp4") for i in range(clips)] for c in range(classes)}


def test_classes_are_held_out_by_the_seed_and_by_nothing_else() -> None:
    first, again, other = (hold_out(folders(20), 0.2, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first.held != other.held
    assert len(first.held) == 4
    assert not set(first.held) & set(first.train)
    assert set(first.held) | set(first.train) == set(folders(20))


def test_at_least_two_are_held_out_or_none() -> None:
    assert len(hold_out(folders(6), 0.1, seed=0).held) == 2
    assert not hold_out(folders(6), 0.0, seed=0).held
    with pytest.raises(EpisodeError, match="2 of 3 classes"):
        hold_out(folders(3), 0.2, seed=0)
    with pytest.raises(ArgumentError, match=r"1\.5"):
        hold_out(folders(9), 1.5, seed=0)


def test_failed_clips_and_the_classes_they_leave_too_small_are_left_out() -> None:
    split = Split(folders(3, 4), {"held": [Path("h/1"), Path("h/2")]})
    config = TrainingConfig(way=2, shot=1, query=2, validate_shots=(1,))
    sound, lines = split.sound([Path("c1/0.mp4"), Path("c2/0.mp4"), Path("c2/1.mp4")], config)
    assert list(sound.train) == ["c0", "c1"]
    assert len(sound.train["c1"]) == 3
    assert list(sound.held) == ["held"]
    assert lines == ["'c2' has 2 clips, 3 are needed to train on it"]
    facts = split.facts(lambda clip: clip.stem)
    assert sound.facts(lambda clip: clip.stem) != facts
    other = split.facts(lambda clip: f"other {clip.stem}")  # by the same names
    assert other["train"].pop("contents_sha256") != facts["train"].pop("contents_sha256")
    assert other["train"] == facts["train"]


@pytest.mark.parametrize(
    ("classes", "clips", "way", "left"),
    [
        (5, 2, 5, "0 of 5 are left: 2 classes held out, 3 classes with too few clips"),
        (5, 6, 4, "3 of 5 are left: 2 classes held out, 0 classes with too few clips"),
    ],
)
def test_where_the_classes_went_is_said(classes: int, clips: int, way: int, left: str) -> None:
    split = hold_out(folders(classes, clips), 0.2, seed=0)
    with pytest.raises(EpisodeError, match=f"{way}-way episodes need {way} classes.* and {left}"):
        split.sound((), TrainingConfig(way=way))
    shared = Split(folders(2, 6), folders(2, 2), same=True)
    with pytest.raises(EpisodeError, match="2 of 2 are left: clips of each held out, 0 classes"):
        shared.sound((), TrainingConfig(way=way))
    assert hold_out(folders(5, 6), 0, seed=0).sound((), TrainingConfig())[1] == []


@pytest.mark.parametrize("mapped", [False, True])
def test_features_are_gathered_in_order(
    mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(material, "_memory", lambda: 0)
    x = torch.arange(5.0)[:, None, None].expand(5, 2, 3)
    pieces = [Features({"s7": part[..., None, None]}, part) for part in x.split(2)]
    found = gathered(iter(pieces), 5, half=True, folder=tmp_path)
    assert found.pooled.dtype == torch.float16
    assert torch.equal(found.pooled.float(), x)
    assert torch.equal(found.maps["s7"][..., 0, 0].float(), x)
    assert not list(tmp_path.iterdir())


def test_features_without_a_place_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(material, "_memory", lambda: 0)
    monkeypatch.setattr(material.os, "posix_fallocate", full, raising=False)
    with pytest.raises(SaveError, match="No space left on device"):
        gathered([Features({}, torch.zeros(1, 2, 3))], 1, folder=tmp_path)


@pytest.fixture(scope="module")
def lite() -> Model:
    return load_model("a2m2-lite0")


def test_a_models_own_method_starts_from_its_weights(lite: Model) -> None:
    own = from_model(lite, folder=None, settings={})
    weights = lite.method.weights()
    assert all(torch.equal(weights[k], v) for k, v in own.method.weights().items())
    assert own.method is not lite.method
    assert own.scales == lite.scales
    assert from_model(lite, folder=None, settings={"method.one_cell": True}).method.config.one_cell
    fresh, again = (from_model(lite, folder=None, from_scratch=True, settings={}) for _ in range(2))
    seeded = again.method.weights()
    assert all(torch.equal(v, seeded[k]) for k, v in fresh.method.weights().items())
    assert not all(torch.equal(v, seeded[k]) for k, v in weights.items() if k in seeded)
    assert fresh.scales == {1: 1.0}


def test_another_method_is_built_for_the_backbone_with_settings(lite: Model) -> None:
    settings = {"lr": 1e-3, "method.out": 64}
    start = from_model(lite, folder=None, method="trx", settings=settings)
    assert start.method.config.out == 64
    assert start.config.lr == 1e-3
    state = torch.get_rng_state()
    from_model(lite, folder=None, method="trx", settings=settings)
    assert torch.equal(torch.get_rng_state(), state)


def test_wrong_names_are_said(lite: Model) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean trx"):
        from_model(lite, folder=None, method="trxx", settings={})
    with pytest.raises(ArgumentError, match="no setting 'colour'"):
        from_model(lite, folder=None, settings={"method.colour": 1})
    with pytest.raises(ArgumentError, match="has no colour"):
        from_model(lite, folder=None, settings={"colour": 1})
    with pytest.raises(ArgumentError, match="start from scratch"):
        from_model(lite, folder=None, settings={"method.m2.s7.dim": 16, "method.m2.s14.dim": 16})
    with pytest.raises(ArgumentError, match="expected FIELD=VALUE"):
        read_settings(["lr"])


def test_a_cautious_recipe_begins_as_the_model_is_and_gives_its_settings_back(lite: Model) -> None:
    start = from_model(lite, folder=None, recipe="small", settings={"steps": 30})
    assert (start.recipe, start.cautious, start.config.steps) == ("small", True, 30)
    assert (start.method.config.centring, start.method.config.pool) == (5.0, 0.2)
    kept = start.finished()
    assert kept.config == lite.method.config
    assert all(torch.equal(lite.method.weights()[k], v) for k, v in kept.weights().items())
    assert (start.scales, start.rejection) == (lite.scales, lite.table)
    again = from_recipe("small", weights=None, settings={"steps": 30})
    assert again.config == start.config
    assert again.distortion == start.distortion
    assert again.method.config == start.method.config
    own = from_model(
        lite,
        folder=None,
        recipe="small",
        settings={"method.centring": 1.0, "distortion.moved": 0.0},
    )
    assert own.method.config.centring == own.finished().config.centring == 1.0
    assert own.distortion is not None
    assert own.distortion.moved == 0.0
    with pytest.raises(ArgumentError, match="leave --backbone-weights out"):
        from_recipe("small", weights=Path("x"), settings={})


def test_a_recipe_starts_from_what_the_package_has() -> None:
    start = from_recipe("a2m2-lite0", weights=None, settings={"steps": 300})
    assert start.backbone_file.name == "efficientnet-lite0"
    assert start.backbone_file.file is None
    assert start.config.steps == 300
    assert dataclasses.replace(start.config, steps=2000).lr == start.config.lr
    with pytest.raises(ArgumentError, match="--backbone-weights"):
        from_recipe("molo-resnet50-ssv2-small", weights=None, settings={})
