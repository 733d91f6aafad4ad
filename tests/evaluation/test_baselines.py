"""What a model is compared with: its own head in other ways, other methods, checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_maker import Guess, GuessConfig

from a2m2_zoo import load_model
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.evaluation.baselines import build_baseline, known_baselines
from a2m2_zoo.methods.base import PairwiseMethod
from a2m2_zoo.methods.rules import fit_rule
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import normalise, read_clip

pytestmark = pytest.mark.usefixtures("seen_once", "two_more_methods")


def test_controls_are_the_same_head_with_another_alignment(model: Model) -> None:
    own = model.method.state_dict()
    for alignment in ("diagonal", "global", "bimhm", "otam"):
        baseline = build_baseline(f"a2m2-{alignment}", model)
        expected = dataclasses.replace(model.method.config.a2, alignment=alignment)
        assert baseline.method.config == dataclasses.replace(model.method.config, a2=expected)
        assert all(torch.equal(v, own[k]) for k, v in baseline.method.state_dict().items())
        assert not baseline.method.training
    assert model.method.config.a2.alignment == "transport"
    with pytest.raises(ArgumentError, match="has a protonet head"):
        build_baseline("a2m2-otam", load_model("protonet-lite0"))


@pytest.mark.parametrize("name", ["protonet", "bimhm", "otam", "deepemd", "a2m2", "a2m2-diagonal"])
def test_any_method_with_pair_scores_takes_ridge_as_its_rule(model: Model, name: str) -> None:
    own = build_baseline(name, model)
    ridge = build_baseline(f"{name}+ridge", model)
    assert (ridge.name, ridge.status) == (f"{name}+ridge", own.status)
    assert (ridge.parameters, ridge.weights_hash) == (own.parameters, "")
    noise = np.random.default_rng(0).integers(0, 256, (9, 8, 32, 32, 3), dtype=np.uint8)
    clips = [read_clip(frames, model.preprocess) for frames in noise]
    frames = torch.stack([torch.from_numpy(clip.frames) for clip in clips])
    features = model.backbone(normalise(frames, model.preprocess), stages=model.method.stages)
    with torch.no_grad():
        found = ridge.method.encode(features)
        query, support = (
            {k: v[None, some] for k, v in found.items()} for some in (slice(3), slice(3, 9))
        )
        labels = torch.tensor([0, 0, 0, 1, 1, 2])  # unbalanced
        scores = ridge.method.score(query, support, labels=labels, way=3)
        assert isinstance(own.method, PairwiseMethod)
        fitted = fit_rule("ridge", own.method.pairs(support, support), labels, way=3)
        assert torch.equal(scores, fitted.scores(own.method.pairs(query, support)))


def test_ridge_needs_pair_scores(model: Model) -> None:
    with pytest.raises(ArgumentError, match="trx compares a query with classes"):
        build_baseline("trx+ridge", model)
    with pytest.raises(ModelNotFoundError, match="no method is called 'bimh"):
        build_baseline("bimh+ridge", model)


def test_weights_of_untrained_heads_follow_the_seed_and_leave_the_callers_draws_alone(
    model: Model,
) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, again, other = (build_baseline("guess", model, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    weights = [r.method.state_dict()["project.weight"] for r in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_what_only_training_needs_is_not_counted(model: Model) -> None:
    head = Guess(GuessConfig(channels=16))
    head.prepare_training(classes=64)
    trained = dataclasses.replace(
        model, id="mine", method=head, method_name="guess", origin="trained"
    )
    baseline = build_baseline("guess", trained)
    assert (baseline.parameters, baseline.status) == (51, "trained")
    assert baseline.method is head


def test_checkpoints_join_if_they_stand_on_the_same_features(tmp_path: Path) -> None:
    lite = load_model("a2m2-lite0")
    path = tmp_path / "head.safetensors"
    dataclasses.replace(lite, id="of-mine").save(path)
    baseline = build_baseline(str(path), lite)
    assert (baseline.status, baseline.parameters) == ("trained", 79_457)
    assert len(baseline.weights_hash) == 64
    assert build_baseline("a2m2", lite).status == "trained"
    assert build_baseline("a2m2-lite0-free", lite).status == "training-free"
    assert build_baseline("protonet-lite0", lite).status == "no parameters"
    other = dataclasses.replace(lite, backbone_hash="0" * 64)
    with pytest.raises(ArgumentError, match="other backbone weights"):
        build_baseline(str(path), other)
    small = dataclasses.replace(lite, preprocess=dataclasses.replace(lite.preprocess, frames=4))
    with pytest.raises(ArgumentError, match="other preprocessing"):
        build_baseline(str(path), small)


def test_unknown_names_lead_to_known_ones(model: Model) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean a2m2-otam"):
        build_baseline("a2m2-otan", model)
    assert known_baselines(model)[:5] == (
        "a2m2", "a2m2-diagonal", "a2m2-global", "a2m2-bimhm", "a2m2-otam",
    )  # fmt: skip
    assert (
        known_baselines(dataclasses.replace(model, method=Guess(GuessConfig())))[1] != "a2m2-otam"
    )
