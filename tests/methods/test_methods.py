from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, ModelNotFoundError
from a2m2_zoo.methods import build_method
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import TrainingBatch, as_pairwise, split, take
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig

M2 = M2Config(channels=6, dim=4, scales=(1, 0), motion="branch")
CONFIG = A2M2Config(
    m2={"s14": M2, "s7": M2}, a2=A2Config(groups="scale"), shots="scores", pool=0.5, centring=3.0
)


def features(clips: int, *, frames: int = 8, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    maps = {s: torch.rand(clips, frames, 6, 4, 4, generator=generator) for s in ("s14", "s7")}
    return Features(maps, torch.rand(clips, frames, 5, generator=generator))


def episode(method: A2M2 | ProtoNet) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    encoded = dict(method.encode(features(9)))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    return take(encoded, torch.arange(3)[None]), take(encoded, torch.arange(3, 9)[None]), labels


def test_protonet_is_the_mean_cosine() -> None:
    method = ProtoNet(ProtoNetConfig())
    query, support, labels = episode(method)
    logits = method.score(query, support, labels=labels, way=3)[0].numpy()
    mean = features(9).pooled.numpy().mean(1)
    norm = np.linalg.norm(mean, axis=1)
    cosine = mean @ mean.T / (norm[:, None] * norm + 0.01)
    for q in range(3):
        for w in range(3):
            expected = np.mean([cosine[q, 3 + n] for n in range(6) if labels[n] == w])
            assert logits[q, w] == pytest.approx(expected, abs=1e-6)


def test_a_still_stretch_has_no_mass_in_the_transport() -> None:
    m2 = dataclasses.replace(M2, scales=(1,), motion_step=1, iterations=6)
    a2 = A2Config(groups="window", power=2.0)
    method = A2M2(A2M2Config(m2={"s14": m2}, a2=a2, centring=3.0))
    method.blocks["s14"].centre.fill_(0.1)
    clips = features(6)
    clips.maps["s14"][0, 4:] = clips.maps["s14"][0, 4:5]  # frames 4 to 7 are one picture
    encoded = dict(method.encode(clips))
    query, support = (
        take(encoded, index[None]) for index in (torch.tensor([0]), torch.arange(1, 6))
    )
    plan = method.align(*method._centred(query, support)).plan[0, 0, :, 1]  # the motion group
    assert method.align.groups[1] == "s14/motion/1"
    assert plan.sum((-2, -1)).sub(1).abs().max() < 1e-3
    assert plan[:, 4:7].sum((-2, -1)).max() < 1e-3


@pytest.mark.parametrize("shots", ["ridge", "scores", "descriptors", "pooled"])
def test_every_rule_over_shots_prefers_the_class_that_holds_the_query(shots: str) -> None:
    method = A2M2(dataclasses.replace(CONFIG, shots=shots))
    _, support, labels = episode(method)
    query = {k: v[:, :3] for k, v in support.items()}
    logits = method.score(query, support, labels=labels, way=3)
    assert logits[0].argmax(-1).tolist() == [0, 1, 2]
    order = torch.tensor([4, 2, 0, 5, 3, 1])
    moved = {k: v[:, order] for k, v in support.items()}
    shuffled = method.score(query, moved, labels=labels[order], way=3)
    torch.testing.assert_close(logits, shuffled, atol=1e-4, rtol=1e-4)
    assert (as_pairwise(method) is not None) == (shots in ("scores", "ridge"))


def test_centring_takes_off_the_share_of_the_mean_support() -> None:
    method = A2M2(CONFIG)
    query, support, _ = episode(method)
    common = support["moments"].mean(1, keepdim=True) * 6 / 9  # six supports, half at three
    plain = A2M2(dataclasses.replace(CONFIG, centring=0.0))
    moved = [{**side, "moments": side["moments"] - common} for side in (query, support)]
    torch.testing.assert_close(
        method.pairs(query, support), plain.pairs(*moved), atol=1e-5, rtol=1e-4
    )
    assert not method.context_free
    assert plain.context_free


def test_the_pool_term_is_a_weighted_cosine() -> None:
    method = A2M2(CONFIG)
    query, support, _ = episode(method)
    without = A2M2(dataclasses.replace(CONFIG, pool=0.0))
    cosine = query["pooled"] @ support["pooled"].mT
    expected = without.pairs(query, support) + 10 * 0.5 * cosine
    torch.testing.assert_close(method.pairs(query, support), expected, atol=1e-4, rtol=1e-4)


def test_frame_plans_are_plans_between_frames() -> None:
    method = A2M2(CONFIG)
    query, support, _ = episode(method)
    found = method.frame_plans(query, support)
    assert found is not None
    plan, similarity = found
    assert plan.shape == similarity.shape == (1, 3, 6, 8, 8)
    torch.testing.assert_close(plan.sum((-2, -1)), torch.ones(1, 3, 6), atol=1e-4, rtol=0)
    coarse = dataclasses.replace(M2, scales=(0,))
    blind = A2M2(dataclasses.replace(CONFIG, m2={"s14": coarse, "s7": coarse}))
    assert blind.frame_plans(*episode(blind)[:2]) is None
    assert ProtoNet(ProtoNetConfig()).frame_plans(query, support) is None


def test_losses_train_what_can_be_learned() -> None:
    torch.manual_seed(0)
    learned = dataclasses.replace(M2, reduce="mlp")
    config = dataclasses.replace(
        CONFIG,
        m2={"s14": learned, "s7": learned},
        a2=A2Config(groups="scale", marginals="gate", learn_weights=True),
    )
    method = A2M2(config)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.02)
    batch = TrainingBatch(
        query=features(6),
        support=features(12, seed=1),
        labels=torch.tensor([0, 1, 2, 0, 1, 2]),
        query_labels=torch.tensor([2, 0, 1]),
        way=3,
    )
    assert batch.episodes == 2
    history = []
    for _ in range(25):
        loss = method.losses(batch)["episode"]
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
        optimiser.step()
        history.append(loss.item())
    assert all(p.grad is not None for p in method.parameters())
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize("groups", ["joint", "scale", "window"])
def test_one_cell_trains_on_one_cell_of_each_grid_and_answers_with_all(groups: str) -> None:
    m2 = dataclasses.replace(M2, scales=(1, 1), cells=(1, 2))
    config = dataclasses.replace(CONFIG, m2={"s14": m2, "s7": m2}, a2=A2Config(groups=groups))
    batch = TrainingBatch(
        query=features(6),
        support=features(6, seed=1),
        labels=torch.tensor([0, 1, 2]),
        query_labels=torch.tensor([2, 0, 1]),
        way=3,
    )
    every = A2M2(config)
    some = A2M2(dataclasses.replace(config, one_cell=True))
    some.load_state_dict(every.state_dict())
    every.train(), some.train()
    # By hand: all cells are described, and those that do not hold the drawn one are then left out.
    places = [[cell in (-1, drawn) for cell in cells_of(every)] for drawn in range(4)]
    reference = every.episode_logits(batch)
    assert torch.equal(some.eval().episode_logits(batch), reference)
    some.train()
    torch.manual_seed(3)
    drawn = [some.episode_logits(batch) for _ in range(30)]
    torch.manual_seed(3)
    assert torch.equal(some.episode_logits(batch), drawn[0])
    wanted = [logits_of(every, batch, torch.tensor(kept)) for kept in places]
    met = {
        next(i for i, want in enumerate(wanted) if torch.allclose(found, want, atol=1e-4))
        for found in drawn
    }
    assert len(met) == 4
    assert len(every.layout) == len(some.layout)
    drawn[0].sum().backward()
    assert all(p.grad is not None for p in some.parameters() if p.requires_grad)


def cells_of(method: A2M2) -> list[int]:
    """Which quarter each candidate is; −1 for the whole picture."""
    found: list[int] = []
    for group, name in enumerate(method.layout.names):
        cells = [0, 1, 2, 3] if name.endswith("@2x2") else [-1]
        found += cells * (method.layout.group.count(group) // len(cells))
    return found


def logits_of(method: A2M2, batch: TrainingBatch, kept: Tensor) -> Tensor:
    """Logits of an episode on some of the candidates."""
    layout = method.layout
    index = kept.nonzero().flatten().tolist()
    part = copy.copy(method)
    part.layout = dataclasses.replace(
        layout,
        times=tuple(layout.times[i] for i in index),
        group=tuple(layout.group[i] for i in index),
    )
    sides = []
    for clips in (batch.query, batch.support):
        encoded = dict(method.encode(clips))
        encoded["moments"] = encoded["moments"][:, index]
        sides.append(split(encoded, batch.episodes))
    return part.score(*sides, labels=batch.labels, way=batch.way)


def test_still_and_black_clips_give_finite_scores() -> None:
    method = A2M2(CONFIG)
    flat = Features({s: torch.zeros(4, 8, 6, 4, 4) for s in ("s14", "s7")}, torch.zeros(4, 8, 5))
    encoded = dict(method.encode(flat))
    query, support = (take(encoded, torch.tensor([clips])) for clips in ([0, 1], [2, 3]))
    logits = method.score(query, support, labels=torch.tensor([0, 1]), way=2)
    assert logits.isfinite().all()


@pytest.mark.parametrize("alignment", ["transport", "diagonal", "global", "bimhm", "otam"])
@pytest.mark.parametrize("shots", ["ridge", "scores", "descriptors", "pooled"])
def test_many_episodes_at_once_are_one_after_the_other(shots: str, alignment: str) -> None:
    if (shots, alignment) == ("pooled", "otam"):
        return  # refused, see the A2 module's tests
    a2 = dataclasses.replace(CONFIG.a2, alignment=alignment)
    method = A2M2(dataclasses.replace(CONFIG, shots=shots, a2=a2))
    encoded = dict(method.encode(features(20)))
    queries, supports = torch.arange(6).reshape(2, 3), torch.arange(6, 18).reshape(2, 6)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    both = method.score(take(encoded, queries), take(encoded, supports), labels=labels, way=3)
    for e in range(2):
        one = slice(e, e + 1)
        alone = method.score(
            take(encoded, queries[one]), take(encoded, supports[one]), labels=labels, way=3
        )
        torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=1e-4)


def test_configurations_survive_json_and_name_what_is_wrong() -> None:
    assert A2M2Config.from_dict(CONFIG.to_dict()) == CONFIG
    assert "one_cell" not in CONFIG.to_dict()  # stored models keep the values they always had
    with pytest.raises(ArgumentError, match="one_cell is 'maybe'; expected true or false"):
        A2M2Config.from_dict({**CONFIG.to_dict(), "one_cell": "maybe"})
    sampled = dataclasses.replace(CONFIG, one_cell=True)
    assert A2M2Config.from_dict(sampled.to_dict()) == sampled
    with pytest.raises(ArgumentError, match=r"wrong: \['colour'\]"):
        A2M2Config.from_dict({**CONFIG.to_dict(), "colour": 1})
    with pytest.raises(ArgumentError, match="shots is 'best'"):
        dataclasses.replace(CONFIG, shots="best")
    with pytest.raises(ArgumentError, match="m2 names no stage"):
        dataclasses.replace(CONFIG, m2={})
    with pytest.raises(ArgumentError, match="must be 0 or more"):
        dataclasses.replace(CONFIG, centring=-1.0)
    with pytest.raises(ArgumentError, match="clips have 5 frames; this model was built for 8"):
        A2M2(CONFIG).encode(features(1, frames=5))
    with pytest.raises(ModelNotFoundError, match="did you mean protonet"):
        build_method("protonett", {})
