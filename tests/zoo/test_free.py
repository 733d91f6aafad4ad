"""Training-free heads: what they are made of, that they are kept, and that damage does not last."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_maker import register, write_clip
from remembered import anew

from a2m2_zoo import classify, load_model
from a2m2_zoo.backbones import Backbone, build_backbone
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.calibration import best_scale
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_clip
from a2m2_zoo.zoo import computed as free
from a2m2_zoo.zoo.computed import computed_model
from a2m2_zoo.zoo.training_free import Amounts, drawn_features, training_free

pytestmark = pytest.mark.usefixtures("seen_once")

FEW = Amounts(statistics=4, classes=2, clips=3, episodes=10)
FEWEST = Amounts(statistics=1, classes=2, clips=2, episodes=1)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    register()
    torch.manual_seed(0)
    return build_backbone("clip:small-vit")


def head_bits(
    backbone: Backbone, seed: int = 11, amounts: Amounts = FEW
) -> tuple[dict[str, torch.Tensor], dict[int, float]]:
    head, scales = training_free(backbone, amounts=amounts, seed=seed)
    return head.weights(), scales


def test_one_seed_gives_one_head(backbone: Backbone) -> None:
    first, scales = head_bits(backbone)
    with anew():
        again, same = head_bits(backbone)
    other, _ = head_bits(backbone, seed=12, amounts=replace(FEW, clips=2))
    assert scales == same
    assert sorted(scales) == [1, 2]
    assert all(0 < scale < float("inf") for scale in scales.values())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(
        first["blocks.tokens.reduce.weight"], other["blocks.tokens.reduce.weight"]
    )


def test_the_projection_is_numpy_s_principal_components(backbone: Backbone) -> None:
    head, _ = training_free(backbone, amounts=FEW)
    preprocess = free.own_preprocess(backbone)
    seen = drawn_features(backbone, preprocess, [(c, 0) for c in range(FEW.statistics)], seed=11)
    x = torch.cat([f.maps["tokens"] for f in seen]).movedim(2, -1).flatten(0, -2).double().numpy()
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    values = np.linalg.eigvalsh(z.T @ z / len(z))[::-1]
    reduce = head.get_submodule("blocks.tokens.reduce")
    weight, bias = (p.detach().double().numpy() for p in reduce.parameters())
    projected = x @ weight[..., 0, 0].T + bias
    assert np.abs(projected.mean(0)).max() < 1e-4
    covariance = projected.T @ projected / len(projected)
    np.testing.assert_allclose(covariance, np.diag(values[: len(covariance)]), atol=1e-3)


def test_every_stage_of_a_network_is_read_and_few_channels_are_no_obstacle() -> None:
    head, _ = training_free(build_backbone("tiny"), amounts=FEWEST)
    assert head.stages == ("s14", "s7")
    assert {m2.dim for m2 in head.config.m2.values()} == {8}
    register()
    assert training_free(build_backbone("clip:small-rn"), amounts=FEWEST)[0].stages == (
        "layer3",
        "layer4",
    )


def test_progress_counts_every_clip(backbone: Backbone) -> None:
    reported: list[tuple[int, int]] = []
    training_free(
        backbone, amounts=FEW, progress=lambda done, total: reported.append((done, total))
    )
    assert reported == [(i + 1, FEW.total) for i in range(FEW.total)]
    assert FEW.total == 4 + 2 * 2 * 3


def test_the_scale_of_known_probabilities_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator)
    truth = torch.multinomial((37.0 * logits).softmax(-1), 1, generator=generator)[:, 0]
    assert best_scale(logits, truth) == pytest.approx(37.0, rel=0.05)


def test_a_backbone_that_gives_no_numbers_is_named(backbone: Backbone) -> None:
    broken = copy.deepcopy(backbone)
    with torch.no_grad():
        next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(CheckpointError, match="gives values that are not finite"):
        training_free(broken, amounts=FEWEST)


def test_refusals(backbone: Backbone) -> None:
    with pytest.raises(ArgumentError, match="is in training mode"):
        training_free(build_backbone("clip:small-vit").train())
    with pytest.raises(ArgumentError, match="expected at least 1, 2 × 2 and 1"):
        Amounts(clips=1)


def test_a_backbone_without_maps_gets_prototypes_of_its_vector(tmp_path: Path) -> None:
    bare = build_backbone("tiny").eval()
    bare.stages = {}
    made, count = computed(bare, tmp_path)
    assert (made.method_name, made.method.stages, count) == ("protonet", (), FEW.total - 4)
    assert made.scales.keys() == {1, 2}
    kept, none = computed(bare, tmp_path)
    assert (kept.weights_hash, kept.scales, none) == (made.weights_hash, made.scales, 0)
    made.save(tmp_path / "saved.safetensors")


def computed(backbone: Backbone, folder: Path, **changes: Any) -> tuple[Model, int]:
    """The model, and how many clips it took."""
    reported: list[int] = []
    facts: dict[str, Any] = {
        "backbone_name": "small", "backbone_sha256": "ab" * 32, "amounts": FEW
    } | changes  # fmt: skip
    model = computed_model(
        "a2m2-small",
        backbone,
        folder=folder,
        progress=lambda done, _: reported.append(done),
        **facts,
    )
    return model, len(reported)


def test_a_head_is_computed_once(backbone: Backbone, tmp_path: Path) -> None:
    first, clips = computed(backbone, tmp_path / "heads")
    assert clips == FEW.total
    again, clips = computed(backbone, tmp_path / "heads")
    assert clips == 0
    assert again.record() == first.record()
    assert again.weights_hash == first.weights_hash
    assert first.origin == "training-free"
    for key, value in first.method.weights().items():
        assert torch.equal(again.method.weights()[key], value)
    assert computed(backbone, tmp_path / "heads", backbone_sha256="cd" * 32)[1] == FEW.total
    assert len(list((tmp_path / "heads").iterdir())) == 2


def test_another_recipe_is_computed_anew(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed(backbone, tmp_path)
    monkeypatch.setattr(free, "RECIPE", 10_000)
    assert computed(backbone, tmp_path)[1] == FEW.total


@pytest.fixture(scope="module")
def sound(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    folder = tmp_path_factory.mktemp("heads")
    model, _ = computed(backbone, folder)
    (file,) = folder.iterdir()
    return model, file


@pytest.mark.parametrize("place", ["tensors", "scales", "cut", "noise"])
def test_damage_is_found_and_mended(
    backbone: Backbone, sound: tuple[Model, Path], tmp_path: Path, place: str
) -> None:
    model, kept = sound
    data = kept.read_bytes()
    broken = bytearray(data)
    if place == "tensors":
        broken[-100] ^= 1
    elif place == "scales":
        at = data.rindex(b"scales") + len(rb"scales\": {\"1\": ")
        assert chr(broken[at]).isdigit()
        broken[at] = ord("8") if data[at] != ord("8") else ord("9")
    elif place == "cut":
        del broken[len(broken) // 2 :]
    else:
        broken[:] = b"noise"
    file = tmp_path / kept.name
    file.write_bytes(broken)
    again, clips = computed(backbone, tmp_path)
    assert clips == FEW.total
    assert again.weights_hash == model.weights_hash
    assert file.read_bytes() == data


def test_where_nothing_can_be_kept_there_is_still_a_model(
    backbone: Backbone, sound: tuple[Model, Path], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the folder would be")
    with pytest.warns(UserWarning, match="cannot be kept"):
        model, _ = computed(backbone, tmp_path / "taken")
    assert model.weights_hash == sound[0].weights_hash


def test_the_file_is_an_ordinary_checkpoint_named_after_its_backbone(
    sound: tuple[Model, Path],
) -> None:
    model, file = sound
    assert file.name.startswith("ab" * 8 + "-")
    record = dict(checkpoint.load(file, kind="model").record)
    assert set(record.pop("computed")) == {"key", "digest"}
    assert record == model.record()


def manifest(folder: Path) -> Path:
    """A manifest with one CLIP beside it and the model that is computed from it."""
    folder.mkdir()
    digest = write_clip(folder / "clip.safetensors")
    backbone = {
        "id": "small", "architecture": "clip:small-vit", "source": {"file": "clip.safetensors"},
        "sha256": digest, "size": (folder / "clip.safetensors").stat().st_size,
        "license": "Apache-2.0", "origin": "random",
    }  # fmt: skip
    model = {
        "id": "a2m2-small", "status": "computed", "summary": "A2M2 on a small CLIP",
        "method": "a2m2", "benchmark": None, "backbone": "small", "source": None, "sha256": None,
        "size": None, "license": "Apache-2.0", "data": "generated clips", "config": {},
        "preprocess": {}, "metrics": [], "trained_with": None,
    }  # fmt: skip
    path = folder / "manifest.json"
    path.write_text(json.dumps({"schema": 2, "backbones": [backbone], "models": [model]}))
    return path


def test_a_computed_model_goes_through_the_same_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setenv("A2M2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(free, "Amounts", lambda: FEW)
    reported: list[tuple[int, int]] = []
    path = manifest(tmp_path / "zoo")
    model = load_model(
        "a2m2-small", manifest=path, device="cpu", progress=lambda *now: reported.append(now)
    )
    assert reported[-1] == (FEW.total, FEW.total)
    (kept,) = (tmp_path / "cache" / "heads").iterdir()
    carried = load_model(kept, manifest=path, device="cpu")
    assert carried.weights_hash == model.weights_hash  # banks go with it
    assert carried.record() == model.record()
    again = load_model("a2m2-small", manifest=path, device="cpu")
    assert again.weights_hash == model.weights_hash
    supports = {name: [draw_clip(3, label, i) for i in range(2)] for label, name in enumerate("ab")}
    query = draw_clip(3, 0, 5)
    answer = classify(query, supports, model=model, text_weight=0.3)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.probabilities != classify(query, supports, model=model).probabilities
    assert (
        answer.probabilities
        == classify(query, supports, model=again, text_weight=0.3).probabilities
    )
