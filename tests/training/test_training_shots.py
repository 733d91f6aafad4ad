"""Training with a number of supports that varies, and through ridge regression over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from training_maker import CHANNELS, features, run, same, settings, weights

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import Descriptors, PairwiseMethod, TrainingBatch, split
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.methods.ridge_rule import RidgeRule
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.training import FeatureSource, TrainingConfig, train
from a2m2_zoo.training.shared_clips import dealt, draws
from a2m2_zoo.training.source import EpisodeSource, VariedSource

CONFIG = TrainingConfig(way=3, most_shots=6, query=2, batch=4, steps=5, warmup=0, seed=3)


def clips(classes: int = 6, each: int = 8) -> tuple[Features, torch.Tensor]:
    """Clips of vectors around one centre per class."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    centres = torch.randn(classes, 1, 8, generator=draw)
    pooled = centres[labels] + torch.randn(len(labels), 4, 8, generator=draw)
    return Features({}, pooled), labels


def varied(config: TrainingConfig = CONFIG) -> VariedSource:
    """The source that settings ask for."""

    def make(one: TrainingConfig) -> EpisodeSource:
        return dealt(FeatureSource(*clips(), draws(one)), one)

    return VariedSource(make, config)


def shots(batch: TrainingBatch) -> int:
    """Supports per class."""
    return len(batch.labels) // batch.way


def test_every_number_of_supports_comes_and_clips_stay_near_the_budget() -> None:
    source = varied()
    batches = [source.batch(index) for index in range(120)]
    assert {shots(batch) for batch in batches} == set(range(1, 7))
    budget = CONFIG.batch * CONFIG.way * (CONFIG.shot + CONFIG.query)
    for batch in batches:
        one = CONFIG.way * (shots(batch) + CONFIG.query)
        assert abs(batch.clips - budget) <= one / 2 or batch.episodes == 1
    assert source.classes == 6


def test_a_batch_is_a_function_of_the_seed_and_its_index() -> None:
    first, second = varied(), varied()
    second.batch(7)
    other = varied(replace(CONFIG, seed=4))
    for index in (0, 5, 9):
        one, same = first.batch(index), second.batch(index)
        assert torch.equal(one.support.pooled, same.support.pooled)
        assert torch.equal(one.labels, same.labels)
    numbers = [[shots(s.batch(i)) for i in range(20)] for s in (first, other)]
    assert numbers[0] != numbers[1]


def test_clips_of_one_draw_can_be_shared_by_episodes_of_any_number_of_supports() -> None:
    config = replace(CONFIG, deals=2, pool=4)
    for index in range(10):
        batch = varied(config).batch(index)
        assert batch.query_places is not None
        assert batch.episodes % 2 == 0


def test_too_few_clips_for_the_most_supports_are_refused() -> None:
    with pytest.raises(EpisodeError, match="clips per class"):
        varied(replace(CONFIG, most_shots=7)).batch(0)


def ridge_head() -> RidgeRule:
    """A method with pair scores and ridge regression over them."""
    torch.manual_seed(0)
    return RidgeRule(ProtoNet(ProtoNetConfig()))


def test_logits_of_training_are_those_of_the_rule_that_is_asked_for() -> None:
    batch = varied().batch(1)
    method = ridge_head()
    query = split(method.encode(batch.query), batch.episodes)
    support = split(method.encode(batch.support), batch.episodes)
    pairs, among = method.pairs(query, support), method.pairs(support, support)
    one = functional.one_hot(batch.labels, batch.way).float()
    torch.testing.assert_close(method.episode_logits(batch), pairs @ one / shots(batch))
    method.training_rule = "ridge"
    expected = Ridge.fit(among, batch.labels, way=batch.way).scores(pairs)
    found = method.episode_logits(batch)
    torch.testing.assert_close(found, 8 * expected)


class Projected(PairwiseMethod):
    """Cosines of projected clips; noise is louder than what tells classes apart."""

    rule = "ridge"

    def __init__(self) -> None:
        super().__init__()
        self.config = ProtoNetConfig()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(CHANNELS, CHANNELS, bias=False)

    def encode(self, features: Features) -> dict[str, torch.Tensor]:
        """(B, C) unit vectors."""
        return {"mean": functional.normalize(self.linear(features.pooled.mean(1)), dim=-1)}

    def pairs(self, query: Descriptors, support: Descriptors) -> torch.Tensor:
        """Cosines."""
        return query["mean"] @ support["mean"].mT


def test_a_head_learns_through_ridge_regression(tmp_path: Path) -> None:
    config = settings(
        rule="ridge", most_shots=3, steps=60, lr=1e-2, validate_every=60, validate_episodes=200
    )
    found, labels = features(10, 6, seed=0)
    episodes = VariedSource(lambda one: FeatureSource(found, labels, draws(one)), config)
    result, method = run(tmp_path / "run", method=Projected(), source=episodes, config=config)
    before, after = (row["1"] for row in result.curve)
    assert after > before + 10
    resumed, again = run(
        tmp_path / "run", method=Projected(), source=episodes, config=config, resume=True
    )
    assert resumed.step == 60
    assert same(weights(method), weights(again))


def test_a_method_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, rule="ridge")
    with pytest.raises(ArgumentError, match="does not answer by ridge regression"):
        train(ProtoNet(ProtoNetConfig()), varied(), config=config, out=tmp_path / "run")


@pytest.mark.parametrize(("field", "value"), [("rule", "votes"), ("most_shots", -1)])
def test_settings_out_of_range_are_named(field: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=field):
        replace(CONFIG, **{field: value})
    with pytest.raises(ArgumentError, match="most_shots is 2 and shot 3"):
        replace(CONFIG, shot=3, most_shots=2)
