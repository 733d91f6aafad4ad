"""The methods without parameters: against slow loops, in batches, in any order, on degenerate clips."""

from __future__ import annotations

import types
import warnings

import numpy as np
import pytest
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import TrainingBatch, as_pairwise
from a2m2_zoo.methods.bimhm import BiMHM, BiMHMConfig
from a2m2_zoo.methods.deepemd import DeepEMD, DeepEMDConfig, cross_masses
from a2m2_zoo.methods.otam import OTAM, OTAMConfig
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what POT finds or misses when it is imported is not ours
    ot = pytest.importorskip("ot")

KINDS = {
    "protonet": (ProtoNet, ProtoNetConfig()),
    "otam": (OTAM, OTAMConfig()),
    "otam-soft": (OTAM, OTAMConfig(softening=0.5)),
    "bimhm": (BiMHM, BiMHMConfig()),
    "bimhm-prototypes": (BiMHM, BiMHMConfig(shots="prototypes")),
    "deepemd": (DeepEMD, DeepEMDConfig()),
    "deepemd-plain": (DeepEMD, DeepEMDConfig(centre=False, temperature=3.0)),
}
LABELS = torch.tensor([2, 0, 1, 1, 2, 0, 2])  # unequal shots


@pytest.fixture(params=KINDS)
def method(request):
    kind, config = KINDS[request.param]
    return kind(config)


def clips(*batch, t=5, d=6, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(*batch, t, d, generator=g, dtype=torch.float64).to(dtype)


def encode(method, pooled):
    flat = method.encode(Features({}, pooled.flatten(0, 1)))
    return {k: v.unflatten(0, pooled.shape[:2]) for k, v in flat.items()}


# Slow, independent restatements:


def cosines(x, y, eps=0.01):
    return np.array([[a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b) + eps) for b in y] for a in x])


def otam_one_way(distance, softening):
    n, m = distance.shape
    cost = np.pad(distance, ((0, 0), (1, 1)))
    table = np.zeros_like(cost)
    table[0] = np.cumsum(cost[0])
    for i in range(1, n):
        for j in range(1, m + 2):
            ways = [table[i - 1, j - 1], table[i, j - 1]]
            ways += [table[i - 1, j]] if j in (1, m + 1) else []
            table[i, j] = cost[i, j] - softening * np.log(sum(np.exp(-w / softening) for w in ways))
    return table[-1, -1]


def pair(method, x, y):
    config = method.config
    if isinstance(method, ProtoNet):
        return cosines([x.mean(0)], [y.mean(0)])[0, 0]
    if isinstance(method, OTAM):
        distance = 1 - cosines(x, y)
        return -sum(otam_one_way(d, config.softening) for d in (distance, distance.T))
    if isinstance(method, BiMHM):
        distance = 1 - cosines(x, y)
        return -distance.min(0).sum() - distance.min(1).sum()
    a, b = (np.maximum(u @ v.mean(0), 0) + 1e-3 for u, v in ((x, y), (y, x)))
    if config.centre:
        x, y = (u - u.mean(1, keepdims=True) for u in (x, y))
    similarity = cosines(x, y, 0.0)
    plan = ot.emd(a / a.sum(), b / b.sum(), 1 - similarity)
    return config.temperature * (plan * similarity).sum()


def score(method, query, support, labels, way):
    logits = np.zeros((len(query), way))
    for q, x in enumerate(query):
        for c in range(way):
            shots = [support[i] for i in range(len(support)) if labels[i] == c]
            if getattr(method.config, "shots", "") == "prototypes":
                shots = [np.mean(shots, axis=0)]
            logits[q, c] = np.mean([pair(method, x, y) for y in shots])
    return logits


def test_logits_are_those_of_a_loop_over_episodes_queries_classes_and_shots(method):
    query, support = clips(2, 3), clips(2, 7, seed=1)
    got = method.score(encode(method, query), encode(method, support), labels=LABELS, way=3)
    for e in range(2):
        want = score(method, query[e].double().numpy(), support[e].double().numpy(), LABELS, 3)
        np.testing.assert_allclose(got[e], want, atol=2e-5, rtol=1e-5)


def test_a_batch_of_episodes_is_the_episodes_one_by_one(method):
    query, support = (encode(method, x) for x in (clips(4, 3), clips(4, 7, seed=1)))
    got = method.score(query, support, labels=LABELS, way=3)
    assert got.shape == (4, 3, 3)
    for e in range(4):
        one = [{k: v[e : e + 1] for k, v in side.items()} for side in (query, support)]
        alone = method.score(*one, labels=LABELS, way=3)
        torch.testing.assert_close(got[e : e + 1], alone, atol=1e-5, rtol=1e-5)


def test_the_order_of_supports_changes_nothing(method):
    query, support = (encode(method, x) for x in (clips(2, 3), clips(2, 7, seed=1)))
    order = torch.tensor([6, 2, 0, 5, 3, 1, 4])
    shuffled = {k: v[:, order] for k, v in support.items()}
    torch.testing.assert_close(
        method.score(query, shuffled, labels=LABELS[order], way=3),
        method.score(query, support, labels=LABELS, way=3),
        atol=1e-5,
        rtol=1e-5,
    )


def test_the_class_that_holds_the_query_wins(method):
    support = clips(2, 3, seed=3) ** 4  # unlike enough for any softening
    both = encode(method, support)
    logits = method.score(both, both, labels=torch.tensor([1, 2, 0]), way=3)
    assert logits.argmax(-1).tolist() == [[1, 2, 0]] * 2


def test_pairs_decide_the_score_unless_prototypes_do(method):
    prototypes = getattr(method.config, "shots", "") == "prototypes"
    assert (as_pairwise(method) is None) == prototypes
    assert method.context_free
    query, support = (encode(method, x) for x in (clips(2, 3), clips(2, 7, seed=1)))
    logits = method.score(query, support, labels=LABELS, way=3)
    pairs = method.pairs(query, support)
    means = torch.stack([pairs[..., c == LABELS].mean(-1) for c in range(3)], -1)
    assert torch.allclose(logits, means, atol=1e-5) != prototypes


@pytest.mark.parametrize("kind", ["zero", "identical", "one frame", "huge"])
def test_degenerate_clips_give_finite_scores_and_gradients(method, kind):
    pooled = {
        "zero": torch.zeros(1, 4, 5, 6),
        "identical": clips(1, 1).expand(1, 4, 5, 6).clone(),
        "one frame": clips(1, 4, t=1),
        "huge": 1e4 * clips(1, 4),
    }[kind].requires_grad_()
    both = encode(method, pooled)
    logits = method.score(both, both, labels=torch.tensor([0, 1, 2, 0]), way=3)
    logits.logsumexp(-1).sum().backward()
    assert logits.isfinite().all()
    assert pooled.grad.isfinite().all()


@pytest.mark.parametrize("name", ["protonet", "otam", "bimhm", "bimhm-prototypes"])
def test_gradients(name):
    kind, config = KINDS[name]
    method = kind(config)
    frames = clips(1, 2, t=3, d=4, dtype=torch.float64), clips(1, 3, t=3, seed=1, d=4).double()

    def logits(query, support):
        sides = (
            [{"mean": x.mean(2)} for x in (query, support)]
            if name == "protonet"
            else [{"frames": x} for x in (query, support)]
        )
        return method.score(*sides, labels=torch.tensor([0, 1, 1]), way=2)

    assert torch.autograd.gradcheck(logits, [x.requires_grad_() for x in frames])


def test_the_gradient_of_the_transport_is_that_of_the_similarities_at_the_fixed_plan():
    """Numerically: with fixed masses the optimal score moves as the constant plan says."""
    method = DeepEMD(DeepEMDConfig(temperature=1.0, centre=False))
    query, support = clips(1, 1, dtype=torch.float64), clips(1, 1, seed=1, dtype=torch.float64)
    a, b = cross_masses(query, support), cross_masses(support, query)
    leaf = query.clone().requires_grad_()
    (grad,) = torch.autograd.grad(method.pairs({"frames": leaf}, {"frames": support}).sum(), leaf)
    unit = torch.nn.functional.normalize(support[0, 0], dim=-1)
    for place in ((0, 0), (2, 3), (4, 5)):
        values = []
        for step in (1e-6, -1e-6):
            moved = query[0, 0].clone()
            moved[place] += step
            similarity = (torch.nn.functional.normalize(moved, dim=-1) @ unit.T).numpy()
            values.append(1 - ot.emd2(a[0, 0, 0].numpy(), b[0, 0, 0].numpy(), 1 - similarity))
        assert grad[0, 0][place].item() == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)


def test_masses_come_from_the_other_clip():
    x = torch.eye(3, dtype=torch.float64)[None, None]
    y = torch.tensor([[1.0, 0.0, -5.0]], dtype=torch.float64)[None, None]
    want = torch.tensor([1.001, 0.001, 0.001], dtype=torch.float64)
    torch.testing.assert_close(cross_masses(x, y)[0, 0, 0], want / want.sum())
    torch.testing.assert_close(
        cross_masses(0 * x, y), torch.full((1, 1, 1, 3), 1 / 3, dtype=torch.float64)
    )


@pytest.mark.parametrize("name", ["otam", "bimhm", "deepemd"])
def test_frame_plans_carry_all_mass_and_say_what_the_score_says(name):
    kind, config = KINDS[name]
    method = kind(config)
    query, support = (encode(method, x) for x in (clips(2, 3), clips(2, 7, seed=1)))
    plan, similarity = method.frame_plans(query, support)
    assert plan.shape == similarity.shape == (2, 3, 7, 5, 5)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum((-2, -1)), torch.ones(2, 3, 7))
    carried, pairs = (plan * similarity).sum((-2, -1)), method.pairs(query, support)
    if name == "deepemd":
        torch.testing.assert_close(config.temperature * carried, pairs)
    elif name == "bimhm":
        torch.testing.assert_close(-10 * (1 - carried), pairs, atol=1e-5, rtol=1e-5)
    else:  # soft, so only alike
        assert torch.corrcoef(torch.stack([carried.flatten(), pairs.flatten()]))[0, 1] > 0.8
    assert ProtoNet(ProtoNetConfig()).frame_plans(query, support) is None
    walk = encode(method, torch.eye(8)[None, None])
    diagonal = method.frame_plans(walk, walk)[0][0, 0, 0].diagonal().sum()
    assert diagonal > 0.95


def test_otam_knows_the_order_of_frames_and_the_sets_do_not():
    walk, other = torch.eye(6)[None, None], torch.eye(6)[None, None].flip(2)
    for name, kind in KINDS.items():
        method = kind[0](kind[1])
        same, back = (
            method.pairs(encode(method, walk), encode(method, x)).item() for x in (walk, other)
        )
        assert (same > back + 0.5) == name.startswith("otam")


def test_training_needs_nothing_more_and_has_one_loss(method):
    method.prepare_training(classes=7)
    assert not method.state_dict()
    assert not list(method.parameters())
    method.load_state_dict(method.state_dict(), strict=True)
    batch = TrainingBatch(
        query=Features({}, clips(6).requires_grad_()),
        support=Features({}, clips(14, seed=1)),
        labels=LABELS,
        query_labels=torch.tensor([0, 1, 2]),
        way=3,
    )
    losses = method.losses(batch)
    assert list(losses) == ["episode"]
    losses["episode"].backward()
    assert batch.query.pooled.grad.abs().sum() > 0


def test_half_precision_features_and_autocast(method):
    pooled = clips(1, 4)
    want = method.pairs(encode(method, pooled), encode(method, pooled))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = method.pairs(encode(method, pooled), encode(method, pooled))
    torch.testing.assert_close(cast, want)
    half = encode(method, pooled.half())
    assert method.pairs(half, half).dtype == torch.float32


def test_a_class_without_support_is_refused(method):
    both = encode(method, clips(1, 3))
    with pytest.raises(EpisodeError, match="support labels"):
        method.score(both, both, labels=torch.tensor([0, 2, 2]), way=3)


def test_configurations(method):
    config = method.config
    assert type(config).from_dict(config.to_dict()) == config
    backbone = types.SimpleNamespace(stages={"s7": 4}, pooled_channels=4)
    build = type(config).for_backbone.__func__
    assert getattr(build, "__wrapped__", build)(type(config), backbone, frames=8) == type(config)()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ProtoNetConfig, {"eps": 0.0}),
        (OTAMConfig, {"softening": 0.0}),
        (OTAMConfig, {"eps": -1.0}),
        (BiMHMConfig, {"shots": "best"}),
        (BiMHMConfig, {"eps": float("nan")}),
        (DeepEMDConfig, {"temperature": 0.0}),
    ],
)
def test_wrong_values_are_refused_by_name(kind, values):
    with pytest.raises(ArgumentError, match=f"{next(iter(values))} is"):
        kind(**values)
