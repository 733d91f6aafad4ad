"""Settings, learning rates, the loss scale."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.training import TrainingConfig
from a2m2_zoo.training.schedule import (
    LossScale,
    Optimiser,
    gradient_norm,
    rate_factor,
    seed_step,
    trainable,
)


def test_a_config_survives_json() -> None:
    config = TrainingConfig(lr=3e-4, validate_shots=(1, 3), precision="bfloat16", betas=(0.9, 0.98))
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("way", 1),
        ("steps", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("precision", "int8"),
        ("betas", [0.9, 1.0]),
        ("betas", [0.9]),
        ("validate_shots", []),
        ("validate_shots", [1, 1]),
        ("warmup", 2000),
        ("freeze_norms", 1),
        ("seed", -1),
        ("clip", -1.0),
        ("batch", True),
        ("optimiser", "lion"),
        ("colour", "blue"),
    ],
)
def test_a_bad_setting_is_named(field: str, value: object) -> None:
    with pytest.raises(ArgumentError, match=field):
        TrainingConfig.from_dict({field: value})


def test_the_rate_grows_and_then_falls_to_nothing() -> None:
    config = TrainingConfig(steps=200, warmup=20)
    rates = [rate_factor(step, config) for step in range(200)]
    assert rates[:20] == sorted(rates[:20])
    assert rates[19] == rates[20] == 1.0
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[110] == pytest.approx(0.5)
    assert rates[-1] < 1e-3


def test_milestones_hold_from_their_step_on() -> None:
    config = TrainingConfig(
        steps=10,
        warmup=2,
        warmup_start=0.5,
        schedule="steps",
        milestones=(5, 8),
        factors=(0.1, 0.01),
    )
    rates = [rate_factor(step, config) for step in range(10)]
    assert rates == [0.75, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01]


def test_decay_spares_vectors_and_the_backbone_has_its_own_rate() -> None:
    method, backbone = nn.Linear(2, 2), nn.Linear(2, 2)
    config = TrainingConfig(steps=10, warmup=0, lr=0.1, backbone_lr=0.01, weight_decay=0.5)
    parameters = trainable(method, backbone)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    Optimiser(parameters, config).step(0)
    after = {name: p.detach() for name, p in parameters.items()}
    assert torch.equal(after["method.bias"], before["method.bias"])
    assert torch.allclose(after["method.weight"], before["method.weight"] * (1 - 0.1 * 0.5))
    assert torch.allclose(after["backbone.weight"], before["backbone.weight"] * (1 - 0.01 * 0.5))


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_an_optimiser_goes_on_where_its_state_was_saved(kind: str) -> None:
    config = TrainingConfig(steps=10, warmup=0, lr=0.1, optimiser=kind)

    def stepped(optimiser: Optimiser, layer: nn.Linear, steps: range) -> None:
        for step in steps:
            optimiser.zero()
            layer(torch.full((1, 3), step + 1.0)).square().sum().backward()
            optimiser.step(step)

    torch.manual_seed(0)
    whole, first, second = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    first.load_state_dict(whole.state_dict())
    stepped(Optimiser(trainable(whole, None), config), whole, range(6))
    half = Optimiser(trainable(first, None), config)
    stepped(half, first, range(3))
    second.load_state_dict(first.state_dict())
    other = Optimiser(trainable(second, None), config)
    other.load(half.tensors())
    stepped(other, second, range(3, 6))
    assert torch.equal(second.weight, whole.weight)
    assert torch.equal(second.bias, whole.bias)


def test_gradients_are_unscaled_and_then_clipped() -> None:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.grad = torch.tensor([[6.0, 0.0], [0.0, 8.0]])
    assert gradient_norm([layer.weight], scale=2.0, clip=1.0) == pytest.approx(5.0)
    assert torch.allclose(layer.weight.grad, torch.tensor([[0.6, 0.0], [0.0, 0.8]]))
    assert gradient_norm([layer.weight], scale=1.0, clip=0.0) == pytest.approx(1.0)
    assert gradient_norm([nn.Parameter(torch.ones(1))], scale=1.0, clip=1.0) == 0.0


def test_the_loss_scale_halves_on_overflow_and_grows_after_steps_without_one() -> None:
    scale = LossScale(4.0)
    assert scale.overflow()
    assert scale.value == 2.0
    for _ in range(3):
        scale.good(growth=3)
    assert (scale.value, scale.growth_tracker) == (4.0, 0)
    assert scale.overflow()
    assert scale.overflow()
    assert not scale.overflow()
    plain = LossScale()
    plain.good(growth=1)
    assert plain.value == 1.0


def test_random_numbers_follow_seed_and_index() -> None:
    def drawn(seed: int, index: int) -> float:
        seed_step(seed, index)
        return float(torch.rand(()))

    values = {drawn(seed, index) for seed in (0, 1) for index in (0, 1, 2**20)}
    assert len(values) == 6
    assert drawn(1, 2**20) in values


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ArgumentError, match="Identity has no parameters to train"):
        trainable(nn.Identity(), None)
