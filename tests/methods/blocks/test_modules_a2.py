import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.blocks import A2Config, A2Module, Candidates, Layout, M2Block, M2Config
from a2m2_zoo.ops.alignment import bimhm_distance, otam_distance
from a2m2_zoo.ops.transport import exact_plan, sinkhorn

ALIGNMENTS = ("transport", "diagonal", "global", "bimhm", "otam")
MARGINALS = ("uniform", "cross", "distinct", "gate")


def videos(n, *, t=8, seed=0, dtype=torch.float64, **options):
    torch.manual_seed(0)
    options = {"channels": 5, "dim": 3, "scales": (1, 4, 0)} | options
    block = M2Block(M2Config(**options)).to(dtype)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return block(torch.randn(n, t, 5, 4, 4, generator=g, dtype=dtype))


def module(candidates, **options):
    config = A2Config(**options)
    names = (
        candidates.layout.groups(config.groups)
        if isinstance(candidates, Candidates)
        else ("frames",)
    )
    torch.manual_seed(1)
    return A2Module(config, groups=names).to(torch.float64)


def frames(n, s=6, d=7, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, s, d, generator=g, dtype=dtype)
    return torch.nn.functional.normalize(x, dim=-1)


@pytest.mark.parametrize("solver", ["sinkhorn", "exact"])
def test_transport_score_by_hand(solver):
    q, s = frames(2), frames(3, seed=1)
    a2 = module(q, marginals="distinct", power=1.5, solver=solver, time_cost=0.2, temperature=4.0)
    got = a2(q, s)
    time = (torch.arange(6).double() + 0.5) / 6

    def mass(x):
        own = 1 - ((x @ x.T).sum(-1) - 1) / 5
        return own**1.5 / (own**1.5).sum()

    for i, j in itertools.product(range(2), range(3)):
        similarity = q[i] @ s[j].T
        cost = 1 - similarity + 0.2 * (time[:, None] - time).abs()
        solve = exact_plan if solver == "exact" else sinkhorn
        plan = solve(cost, mass(q[i]), mass(s[j]))
        torch.testing.assert_close(got.plan[i, j, 0], plan, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(got.similarity[i, j, 0], similarity)
        want = 4 * (plan * similarity).sum()
        torch.testing.assert_close(got.scores[i, j], want, rtol=1e-5, atol=1e-6)


def test_controls_by_hand():
    q, s = frames(2), frames(3, seed=1)
    similarity = torch.einsum("qsd,nrd->qnsr", q, s)
    otam = otam_distance(1 - similarity) + otam_distance(1 - similarity.mT)
    want = {
        "diagonal": similarity.diagonal(dim1=-2, dim2=-1).mean(-1),
        "global": similarity.mean((-2, -1)),
        "bimhm": 1 - bimhm_distance(1 - similarity, reduction="mean"),
        "otam": 1 - otam / 12,
    }
    for alignment, scores in want.items():
        got = module(q, alignment=alignment, temperature=1.0).scores(q, s)
        torch.testing.assert_close(got, scores, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("groups", ["joint", "scale"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_groups_are_scored_apart_and_added_with_their_weights(alignment, groups):
    q, s = videos(2), videos(3, seed=1)
    names = q.layout.groups(groups)
    weights = tuple(0.1 * (i + 1) for i in range(len(names)))
    got = module(q, alignment=alignment, groups=groups, weights=weights, iterations=400).scores(
        q, s
    )
    total = torch.zeros_like(got)
    for name, weight in zip(names, weights, strict=True):
        member = [
            i
            for i, g in enumerate(q.group)
            if name == (q.names[g] if groups == "scale" else q.names[g].split("/")[0])
        ]
        layout = Layout(tuple(q.layout.times[i] for i in member), (0,) * len(member), ("only/1",))
        alone = [Candidates(side.descriptors[:, member], layout) for side in (q, s)]
        one = module(alone[0], alignment=alignment, groups=groups, iterations=400)
        total += weight * one.scores(*alone)
    torch.testing.assert_close(got, total, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rounding", [False, True])
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("groups", ["joint", "scale", "window"])
def test_plans_have_mass_one_and_none_on_padding(groups, marginals, rounding):
    q, s = videos(2), videos(3, seed=1)
    got = module(q, groups=groups, marginals=marginals, rounding=rounding)(q, s)
    assert (got.plan >= 0).all()
    mass = got.plan.sum((-2, -1))
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-5, atol=1e-6)
    padding = ~(got.query_mask[:, None, :, :, None] & got.support_mask[None, :, :, None, :])
    assert got.plan[padding.expand(got.plan.shape)].abs().sum() < 1e-9
    assert (got.similarity[padding.expand(got.plan.shape)] == 0).all()


@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_batched_is_looped_and_chunks_do_not_show(alignment, marginals):
    q, s = videos(5), videos(3, seed=1)
    a2 = module(q, alignment=alignment, marginals=marginals)
    whole = a2(q, s).scores
    small = module(q, alignment=alignment, marginals=marginals, budget=1)
    small.load_state_dict(a2.state_dict())
    torch.testing.assert_close(a2.scores(q, s), whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(small.scores(q, s), whole, rtol=1e-9, atol=1e-9)
    for i, j in itertools.product(range(5), range(3)):
        one = Candidates(q.descriptors[i : i + 1], q.layout)
        other = Candidates(s.descriptors[j : j + 1], s.layout)
        torch.testing.assert_close(a2.scores(one, other)[0, 0], whole[i, j], rtol=1e-9, atol=1e-9)


def test_chunks_keep_to_the_budget(monkeypatch):
    q, s = frames(50), frames(4)
    a2 = module(q, budget=6 * 6 * 4 * 7)
    seen = []
    align = A2Module._align

    def spy(self, query, support, **options):
        seen.append(len(query.mask))
        return align(self, query, support, **options)

    monkeypatch.setattr(A2Module, "_align", spy)
    a2.scores(q, s)
    assert max(seen) == 7
    assert sum(seen) == 50


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_no_query_and_no_gradient_left_behind(alignment):
    q, s = frames(2), frames(3)
    a2 = module(q, alignment=alignment)
    assert a2.scores(q[:0], s).shape == (0, 3)
    with torch.inference_mode():
        assert a2(q, s).scores.isfinite().all()


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_a_video_is_most_like_itself(seed):
    x = frames(4, seed=seed)
    for options in ({"solver": "exact"}, {"alignment": "diagonal"}, {"alignment": "bimhm"}):
        scores = module(x, temperature=1.0, **options).scores(x, x)
        assert (scores.argmax(-1) == torch.arange(4)).all()
        torch.testing.assert_close(scores.diagonal(), torch.ones(4).double(), atol=1e-6, rtol=0)


def test_order_of_videos_is_kept_and_order_of_frames_matters_only_with_a_time_cost():
    q, s = frames(3), frames(4, seed=1)
    a2 = module(q, time_cost=0.3)
    permutation = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(a2.scores(q, s[permutation]), a2.scores(q, s)[:, permutation])
    free = module(q, time_cost=0.0)
    torch.testing.assert_close(free.scores(q.flip(1), s), free.scores(q, s), rtol=1e-6, atol=1e-6)
    assert (a2.scores(q.flip(1), s) - a2.scores(q, s)).abs().max() > 1e-3


def test_transport_follows_a_shift_that_the_diagonal_does_not():
    x = frames(1, s=8, d=64)
    shifted = torch.cat([x[:, 3:], x[:, -1:].expand(-1, 3, -1)], 1)
    adaptive = module(x, temperature=1.0, marginals="distinct").scores(x, shifted).item()
    fixed = module(x, temperature=1.0, alignment="diagonal").scores(x, shifted).item()
    assert adaptive > fixed + 0.3


def test_an_untrained_gate_is_its_start():
    q, s = videos(2), videos(3, seed=1)
    for start in ("uniform", "distinct"):
        gate = module(q, marginals="gate", gate_start=start, power=1.3)
        plain = module(q, marginals=start, power=1.3)
        torch.testing.assert_close(gate.scores(q, s), plain.scores(q, s))


def test_spread_rule_does_not_depend_on_the_scale_of_the_costs():
    q, s = frames(2), frames(3, seed=1)
    a2 = module(q, epsilon=0.3, epsilon_rule="spread", time_cost=0.0, marginals="uniform")
    got = a2(q, s)
    cost = 1 - got.similarity[:, :, 0]
    epsilon = 0.3 * cost.flatten(2).std(-1, correction=0)
    mass = torch.full(cost.shape[:-1], 1 / 6).double()
    want = sinkhorn(cost, mass, mass, epsilon=epsilon)
    torch.testing.assert_close(got.plan[:, :, 0], want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", ["scores", "descriptors", "pooled"])
@pytest.mark.parametrize("alignment", ALIGNMENTS[:-1])
def test_one_shot_rules_agree(alignment, rule):
    q, s = videos(2), videos(3, seed=1)
    a2 = module(q, alignment=alignment)
    labels = torch.tensor([2, 0, 1])
    got = a2.score_shots(q, s, labels=labels, way=3, rule=rule)
    torch.testing.assert_close(got[:, labels], a2.scores(q, s), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("marginals", ["uniform", "cross", "distinct"])
@pytest.mark.parametrize("rule", ["scores", "descriptors", "pooled"])
def test_shot_rules_by_hand_with_unequal_shots(rule, marginals):
    q, s = frames(2, s=3), frames(4, s=3, seed=1)
    labels = torch.tensor([1, 0, 1, 1])
    a2 = module(q, marginals=marginals, solver="exact", temperature=1.0, time_cost=0.0)
    got = a2.score_shots(q, s, labels=labels, way=2, rule=rule)
    for c in range(2):
        shots = s[labels == c]
        if rule == "scores":
            want = a2.scores(q, shots).mean(1)
        elif rule == "descriptors":
            want = a2.scores(q, shots.mean(0, keepdim=True))[:, 0]
        elif marginals == "distinct":
            own = 1 - ((shots @ shots.mT).sum(-1) - 1) / 2  # within each shot
            own, pool = own.flatten(), shots.flatten(0, 1)
            mine = 1 - ((q @ q.mT).sum(-1) - 1) / 2
            similarity = q @ pool.T
            masses = mine / mine.sum(-1, keepdim=True), (own / own.sum()).expand(2, -1)
            want = (exact_plan(1 - similarity, *masses) * similarity).sum((-2, -1))
        else:
            want = a2.scores(q, shots.flatten(0, 1)[None])[:, 0]
        torch.testing.assert_close(got[:, c], want, rtol=1e-6, atol=1e-6)


def test_pooled_diagonal_meets_every_shot_at_its_time():
    q, s = frames(2), frames(3, seed=1)
    a2 = module(q, alignment="diagonal")
    labels = torch.zeros(3, dtype=torch.long)
    pooled = a2.score_shots(q, s, labels=labels, way=1, rule="pooled")
    torch.testing.assert_close(pooled, a2.score_shots(q, s, labels=labels, way=1))


def test_videos_of_different_lengths_meet():
    q, s = videos(2, t=8), videos(3, t=5, seed=1)
    for alignment in ALIGNMENTS:
        got = module(q, alignment=alignment)(q, s)
        assert got.scores.shape == (2, 3)
        assert got.scores.isfinite().all()


@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("rounding", [False, True])
def test_gradient_of_the_module(marginals, rounding):
    q, s = frames(1, s=3, d=4), frames(2, s=3, d=4, seed=1)
    a2 = module(q, marginals=marginals, epsilon=0.2, iterations=5, rounding=rounding)
    q.requires_grad_()
    s.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: a2(a, b).scores, (q, s))


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("marginals", MARGINALS)
@pytest.mark.parametrize("kind", ["zero", "constant"])
def test_degenerate_videos_are_finite_forward_and_backward(kind, marginals, alignment):
    x = frames(2)
    x = (torch.zeros_like(x) if kind == "zero" else x[:, :1].expand_as(x).clone()).requires_grad_()
    for rule in ("absolute", "spread"):
        a2 = module(x, marginals=marginals, alignment=alignment, epsilon_rule=rule)
        got = a2(x, x)
        assert got.scores.isfinite().all()
        got.scores.sum().backward()
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in a2.parameters() if p.grad is not None)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_descriptors_are_aligned_in_float32(dtype, alignment):
    q, s = frames(2), frames(3, seed=1)
    a2 = A2Module(A2Config(alignment=alignment))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = a2.scores(q.to(dtype), s.to(dtype))
    want = module(q, alignment=alignment).scores(q, s)
    assert got.dtype == torch.float32
    tolerance = 0.5 if dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(got.double(), want, rtol=0, atol=tolerance)


def test_what_is_learned_is_what_the_configuration_says():
    fixed = A2Module(A2Config(learn_temperature=False))
    assert not list(fixed.parameters())
    learned = A2Module(A2Config(learn_weights=True, marginals="gate"), groups=("a", "b"))
    names = {name for name, _ in learned.named_parameters()}
    assert {"weights", "log_temperature", "gate.0.weight"} <= names
    assert set(fixed.state_dict()) == {"weights", "log_temperature"}
    q = frames(2)
    trained = module(q, marginals="gate", learn_weights=True)
    torch.nn.functional.cross_entropy(
        trained.scores(q, frames(3, seed=1)), torch.tensor([0, 2])
    ).backward()
    assert trained.gate[2].weight.grad.abs().sum() > 0
    assert trained.log_temperature.grad.abs() > 0


def test_refusals():
    q = frames(2)
    a2 = module(q)
    with pytest.raises(ArgumentError, match="one block"):
        a2(q, frames(2, d=3))
    with pytest.raises(ArgumentError, match="built for"):
        a2(videos(1), videos(1))
    with pytest.raises(ArgumentError, match="shape"):
        a2(q[0], q)
    with pytest.raises(ArgumentError, match="weights"):
        A2Module(A2Config(weights=(1.0,)), groups=("a", "b"))
    labels = torch.tensor([0, 1])
    with pytest.raises(ArgumentError, match="rule"):
        a2.score_shots(q, q, labels=labels, way=2, rule="median")
    with pytest.raises(EpisodeError, match="class"):
        a2.score_shots(q, q, labels=labels, way=3)
    with pytest.raises(ArgumentError, match="otam"):
        module(q, alignment="otam").score_shots(q, q, labels=labels, way=2, rule="pooled")


def test_window_groups_compare_cells_with_their_likes_and_move_in_time_alone():
    options = {"scales": (1, 1), "cells": (1, 2), "motion": "none"}
    q, s = videos(2, **options), videos(3, seed=1, **options)
    got = module(q, groups="window", power=2.0, temperature=1.0)(q, s)
    unit = torch.nn.functional.normalize
    x, y = (unit(side.descriptors, dim=-1) for side in (q, s))
    cells = range(8, 40)  # behind 8 frames: 8 times 4 quarters
    for i, j in itertools.product(range(2), range(3)):
        whole = x[i, :8] @ y[j, :8].T
        quarters = x[i, cells].unflatten(0, (8, 4)), y[j, cells].unflatten(0, (8, 4))
        alike = (whole + torch.einsum("tcd,ucd->tu", *quarters) / 4) / 2
        torch.testing.assert_close(got.similarity[i, j, 0], alike)
        torch.testing.assert_close(got.scores[i, j], (got.plan[i, j, 0] * alike).sum())
    assert module(q, groups="window").groups == ("frames/1",)


@pytest.mark.parametrize("rule", ["scores", "descriptors", "pooled"])
def test_what_is_common_is_subtracted_and_an_empty_descriptor_stays_empty(rule):
    query, support = videos(3), videos(4, seed=1)
    query.descriptors[0, 2] = 0
    support.descriptors[1, :8] = 0
    common = 0.5 * support.descriptors.mean(0, keepdim=True)
    sides = [Candidates(side.descriptors, side.layout, common) for side in (query, support)]
    by_hand = [Candidates(side.centred(), side.layout) for side in sides]
    assert (by_hand[0].descriptors[0, 2] == 0).all()
    torch.testing.assert_close(by_hand[0].descriptors[1], query.descriptors[1] - common[0])
    a2 = module(query, marginals="distinct", groups="window")
    labels = torch.tensor([0, 1, 0, 1])
    got, want = (a2.score_shots(*x, labels=labels, way=2, rule=rule) for x in (sides, by_hand))
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(a2(*sides).plan, a2(*by_hand).plan)
