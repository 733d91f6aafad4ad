from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import TrainingBatch, split, take
from a2m2_zoo.methods.molo import MoLo, MoLoConfig

SMALL = MoLoConfig(stage="s7", channels=16, motion_channels=4, frames=4, heads=2, hidden=24)


def small(config: MoLoConfig = SMALL) -> MoLo:
    torch.manual_seed(0)
    method = MoLo(config)
    method.prepare_training(classes=7)
    return method.eval()


def features(
    clips: int, *, seed: int = 0, frames: int = 4, size: tuple[int, int] = (1, 2)
) -> Features:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(clips, frames, 16, *size, generator=generator)
    return Features({"s7": maps}, maps.mean((-2, -1)))


def batch(episodes: int, *, seed: int = 0, picture: int = 1) -> TrainingBatch:
    """Two classes, two shots, three queries; pictures ``picture`` times 32 pixels a cell."""
    generator = torch.Generator().manual_seed(seed)
    frames = [
        torch.randn(n * episodes, 4, 3, 32 * picture, 64 * picture, generator=generator)
        for n in (4, 3)
    ]
    classes = [torch.randint(7, (n * episodes,), generator=generator) for n in (4, 3)]
    return TrainingBatch(
        features(3 * episodes, seed=seed),
        features(4 * episodes, seed=seed + 1),
        torch.tensor([1, 0, 0, 1]),
        torch.tensor([0, 1, 1]),
        2,
        *classes,
        *frames,
    )


def tokens(episodes: int, clips: int, *, seed: int = 0) -> dict[str, Tensor]:
    return split(small().encode(features(episodes * clips, seed=seed)), episodes)


def slow_otam(d: np.ndarray, softening: float) -> float:
    """The recursion cell by cell, as it is written down."""
    padded = np.pad(d, ((0, 0), (1, 1)))
    n, m = padded.shape
    table = np.zeros((n, m))
    table[0] = np.cumsum(padded[0])
    for i in range(1, n):
        for j in range(1, m):
            ways = [table[i - 1, j - 1], table[i, j - 1]]
            if j in (1, m - 1):
                ways.append(table[i - 1, j])
            least = -softening * math.log(sum(math.exp(-w / softening) for w in ways))
            table[i, j] = padded[i, j] + least
    return float(table[-1, -1])


def slow_distance(query: np.ndarray, mean: np.ndarray, config: MoLoConfig) -> float:
    """Between the local tokens of a query and of a prototype, pair by pair."""
    d = np.empty((len(query) - 1, len(mean) - 1))
    for i, x in enumerate(query[1:]):
        for j, y in enumerate(mean[1:]):
            d[i, j] = 1 - x @ y / (np.linalg.norm(x) * np.linalg.norm(y) + 0.01)
    sides = [d] if config.single_direct else [d, d.T]
    if config.matching == "otam":
        return sum(slow_otam(side, config.softening) for side in sides)
    return sum(min(row) for side in sides for row in side)


@pytest.mark.parametrize("single_direct", [False, True])
@pytest.mark.parametrize("matching", ["bimhm", "otam"])
def test_several_shots_are_averaged_after_the_encoder(matching: str, single_direct: bool) -> None:
    config = dataclasses.replace(
        SMALL, matching=matching, single_direct=single_direct, softening=0.3, motion_weight=0.7
    )
    method, labels = small(config), torch.tensor([2, 0, 1, 0, 2, 2])  # unequal shots, any order
    query, support = tokens(2, 3), tokens(2, 6, seed=1)
    logits = method.score(query, support, labels=labels, way=3)
    for e, q, w in np.ndindex(2, 3, 3):
        expected = 0.0
        for part, weight in (("appearance", 1.0), ("motion", 0.7)):
            shots = support[part][e][labels == w].detach().double().numpy()
            frames = query[part][e, q].detach().double().numpy()
            expected -= weight * slow_distance(frames, shots.mean(0), config)
        assert logits[e, q, w].item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("matching", ["bimhm", "otam"])
def test_episodes_of_a_batch_do_not_see_each_other(matching: str) -> None:
    method, labels = small(dataclasses.replace(SMALL, matching=matching)), torch.tensor([1, 0, 1])
    query, support = tokens(4, 5), tokens(4, 3, seed=1)
    together = method.score(query, support, labels=labels, way=2)
    for e in range(4):
        here = slice(e, e + 1)
        alone = method.score(take(query, here), take(support, here), labels=labels, way=2)
        torch.testing.assert_close(together[here], alone, atol=1e-5, rtol=1e-5)


def test_the_order_of_supports_is_no_matter() -> None:
    method, labels = small(), torch.tensor([1, 0, 1, 2, 0, 2])
    query, support = tokens(2, 3), tokens(2, 6, seed=1)
    order = torch.tensor([5, 3, 0, 1, 4, 2])
    moved = {part: tensor[:, order] for part, tensor in support.items()}
    torch.testing.assert_close(
        method.score(query, support, labels=labels, way=3),
        method.score(query, moved, labels=labels[order], way=3),
        atol=1e-5,
        rtol=1e-5,
    )
    with pytest.raises(EpisodeError, match="expected every class from 0 to 3"):
        method.score(query, support, labels=labels, way=4)


def test_a_clip_is_encoded_alone_whatever_the_size_of_its_maps() -> None:
    method = small()
    for size in ((1, 1), (2, 3), (5, 4)):
        both = features(3, size=size)
        whole = dict(method.encode(both))
        assert whole["appearance"].shape == (3, 5, 16)
        assert whole["motion"].shape == (3, 4, 16)
        alone = method.encode(Features({"s7": both.maps["s7"][1:2]}, both.pooled[1:2]))
        for part, value in alone.items():
            torch.testing.assert_close(whole[part][1:2], value, atol=1e-5, rtol=1e-5)


def test_training_terms_are_the_mean_over_episodes() -> None:
    method = small()
    whole = method.losses(batch(2))
    assert list(whole) == ["episode", "contrast", "class", "reconstruction"]
    parts = []
    for e in range(2):
        both = batch(2)
        q, n = slice(3 * e, 3 * e + 3), slice(4 * e, 4 * e + 4)
        assert both.support_frames is not None
        assert both.query_frames is not None
        assert both.support_classes is not None
        assert both.query_classes is not None
        one = dataclasses.replace(
            both,
            query=Features({"s7": both.query.maps["s7"][q]}, both.query.pooled[q]),
            support=Features({"s7": both.support.maps["s7"][n]}, both.support.pooled[n]),
            query_classes=both.query_classes[q],
            support_classes=both.support_classes[n],
            query_frames=both.query_frames[q],
            support_frames=both.support_frames[n],
        )
        parts.append(method.losses(one))
    for name, value in whole.items():
        mean = (parts[0][name] + parts[1][name]) / 2
        torch.testing.assert_close(value, mean, atol=1e-5, rtol=1e-5)


def test_a_term_without_its_part_input_or_weight_is_left_out() -> None:
    method, whole = small(), batch(1)
    blind = dataclasses.replace(whole, query_frames=None, support_classes=None)
    assert list(method.losses(blind)) == ["episode", "contrast"]
    unprepared = MoLo(SMALL)
    unprepared.load_state_dict(method.state_dict(), strict=False)
    only = unprepared.eval().losses(whole)
    assert list(only) == ["episode"]
    torch.testing.assert_close(only["episode"], method.losses(whole)["episode"])
    method.config = dataclasses.replace(
        SMALL, contrast_weight=0.0, class_weight=0.0, reconstruction_weight=0.0
    )
    assert list(method.losses(whole)) == ["episode"]


def test_training_learns_and_reaches_every_parameter() -> None:
    method = small().train()
    optimiser = torch.optim.Adam(method.parameters(), lr=0.005)
    history = []
    for _ in range(8):
        torch.manual_seed(1)  # the same dropout, so that the losses compare
        loss = torch.stack(list(method.losses(batch(1)).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]
    unmoved = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unmoved


@pytest.mark.parametrize("matching", ["bimhm", "otam"])
def test_empty_and_identical_clips_give_finite_values_and_gradients(matching: str) -> None:
    method = small(dataclasses.replace(SMALL, matching=matching)).train()
    for value in (0.0, 1.0):
        flat = batch(1)
        for side in (flat.query, flat.support):
            side.maps["s7"].fill_(value).requires_grad_()
        losses = method.losses(flat)
        torch.stack(list(losses.values())).sum().backward()
        for side in (flat.query, flat.support):
            gradient = side.maps["s7"].grad
            assert gradient is not None
            assert gradient.isfinite().all()
        assert all(term.isfinite() for term in losses.values())
        assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("matching", ["bimhm", "otam"])
def test_gradients_of_scores(matching: str) -> None:
    config = MoLoConfig("s7", 4, 2, frames=3, heads=2, hidden=5, matching=matching)
    torch.manual_seed(3)
    method = MoLo(config).double().eval()
    labels = torch.tensor([1, 0, 1])

    def score(query: Tensor, support: Tensor) -> Tensor:
        sides = (
            split(method.encode(Features({"s7": m}, m.mean((-2, -1)))), 1) for m in (query, support)
        )
        return method.score(*sides, labels=labels, way=2)

    maps = [torch.rand(n, 3, 4, 2, 2, dtype=torch.float64, requires_grad=True) for n in (2, 3)]
    assert torch.autograd.gradcheck(score, maps, fast_mode=True)


def test_pictures_of_another_size_than_the_decoders_train_too() -> None:
    assert small().losses(batch(1, picture=2))["reconstruction"].isfinite()


def test_a_state_dict_goes_round() -> None:
    method, other = MoLo(SMALL), MoLo(SMALL)
    other.load_state_dict(method.state_dict())
    for part, value in method.eval().encode(features(2)).items():
        assert torch.equal(other.eval().encode(features(2))[part], value)
    method.prepare_training(classes=3)
    assert list(method.weights()) == list(other.state_dict())


def test_building_is_repeatable() -> None:
    first, second = small(), small()
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_configurations_come_from_backbones_and_refuse_nonsense() -> None:
    backbone = build_backbone("tiny")
    config = MoLoConfig.for_backbone(backbone, frames=6)
    assert (config.stage, config.channels, config.motion_channels) == ("s7", 16, 2)
    found = MoLo(config).encode(backbone(torch.zeros(1, 6, 3, 64, 64)))
    assert found["appearance"].shape == (1, 7, 16)
    assert MoLoConfig.from_dict(config.to_dict()) == config
    backbone.stages = {}
    with pytest.raises(ArgumentError, match="tiny gives no maps"):
        MoLoConfig.for_backbone(backbone, frames=6)
    for wrong, message in (
        ({"matching": "dtw"}, "matching is 'dtw'; expected one of bimhm, otam"),
        ({"frames": 1}, "frames is 1; expected a whole number of 2 or more"),
        ({"position_scale": 0.0}, "position_scale is 0.0; expected a number above 0"),
        ({"motion_weight": -1.0}, "motion_weight is -1.0"),
        ({"hidden": 0}, "hidden is 0"),
    ):
        with pytest.raises(ArgumentError, match=message):
            MoLoConfig.from_dict(wrong)


def test_clips_of_another_length_are_refused() -> None:
    with pytest.raises(ArgumentError, match="clips have 3 frames; this model was built for 4"):
        small().encode(features(1, frames=3))
    whole = batch(1)
    assert whole.query_frames is not None
    assert whole.support_frames is not None
    short = dataclasses.replace(
        whole, query_frames=whole.query_frames[:, :3], support_frames=whole.support_frames[:, :3]
    )
    with pytest.raises(ArgumentError, match="pictures of clips have 3 frames"):
        small().losses(short)
