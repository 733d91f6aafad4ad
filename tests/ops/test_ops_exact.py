"""The batched network simplex against POT, on ties, zeros, padding and every shape."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops import exact, transport
from a2m2_zoo.ops.exact import network_simplex
from a2m2_zoo.ops.transport import exact_plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what POT finds or misses when it is imported is not ours
    ot = pytest.importorskip("ot")

COSTS = ("uniform", "ties", "near ties", "equal", "ordered", "negative", "tiny", "low rank")
MASSES = ("uniform", "equal", "zeros", "integers", "steep")


def draw(kind, shape, g):
    x = torch.rand(shape, generator=g, dtype=torch.float64)
    if kind == "ties":
        return torch.randint(0, 3, shape, generator=g).double()
    if kind == "near ties":
        return torch.randint(0, 3, shape, generator=g) + 1e-8 * x
    if kind == "equal":
        return torch.full(shape, 0.7, dtype=torch.float64)
    if kind == "ordered":
        return (torch.arange(shape[-2])[:, None] - torch.arange(shape[-1])).abs() + 0 * x
    if kind == "negative":
        return 200 * x - 300
    if kind == "tiny":
        return 1e-12 * x
    if kind == "low rank":
        return x[..., :1] + x[..., :1, :]
    return x


def masses(kind, shape, g):
    x = torch.rand(shape, generator=g, dtype=torch.float64) + 1e-3
    if kind == "equal":
        x = torch.ones_like(x)
    elif kind == "zeros":
        keep = torch.rand(shape, generator=g) > 0.5
        keep[..., 0] = True
        x = x * keep
    elif kind == "integers":  # many subsets of rows weigh as much as a subset of columns
        x = torch.randint(1, 4, shape, generator=g).double()
    elif kind == "steep":
        x = x**30
    return x / x.sum(-1, keepdim=True)


def check(cost, a, b, plan=None):
    plan = exact_plan(cost, a, b) if plan is None else plan
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(-1), a, rtol=0, atol=1e-12)
    torch.testing.assert_close(plan.sum(-2), b, rtol=0, atol=1e-12)
    got = (plan * cost).sum((-2, -1))
    for i in range(len(cost)):
        c, low = cost[i].numpy(), cost[i].min().item()
        spread = np.ptp(c) or 1.0
        columns = b[i].numpy() * (a[i].sum() / b[i].sum()).item()
        # POT refuses some negative costs, and its tolerance is an absolute one.
        want = spread * ot.emd2(a[i].numpy(), columns, (c - low) / spread) + low
        assert got[i].item() == pytest.approx(want, rel=1e-9, abs=2e-12 * spread)


@given(
    n=st.integers(1, 12),
    m=st.integers(1, 12),
    cost=st.sampled_from(COSTS),
    left=st.sampled_from(MASSES),
    right=st.sampled_from(MASSES),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=150)
def test_cost_and_marginals_are_those_of_pot(n, m, cost, left, right, seed):
    g = torch.Generator().manual_seed(seed)
    check(draw(cost, (3, n, m), g), masses(left, (3, n), g), masses(right, (3, m), g))


@pytest.mark.parametrize("kind", ["uniform", "ties", "near ties"])
@pytest.mark.parametrize("mass", ["uniform", "equal", "zeros"])
@pytest.mark.parametrize("shape", [(32, 32), (20, 44), (44, 20), (2, 62)])
def test_the_largest_problems_that_go_through_the_batch(shape, kind, mass):
    g = torch.Generator().manual_seed(1)
    n, m = shape
    check(draw(kind, (2, n, m), g), masses(mass, (2, n), g), masses(mass, (2, m), g))


@pytest.mark.parametrize("shape", [(33, 33), (5, 300), (40, 20)])
def test_larger_problems_go_through_pot_one_by_one(shape, monkeypatch):
    g = torch.Generator().manual_seed(1)
    n, m = shape
    cost, a, b = (
        draw("uniform", (2, n, m), g),
        masses("zeros", (2, n), g),
        masses("zeros", (2, m), g),
    )
    if n * m > exact.MAX_CELLS or min(n, m) > exact.MAX_ROWS:
        monkeypatch.setattr(transport, "network_simplex", None)
    check(cost, a, b)


def test_a_batch_is_its_problems_one_by_one_however_it_is_cut(monkeypatch):
    g = torch.Generator().manual_seed(0)
    cost, a, b = (
        draw("ties", (40, 5, 7), g),
        masses("uniform", (40, 5), g),
        masses("zeros", (40, 7), g),
    )
    whole = network_simplex(cost, a, b)
    ones = [network_simplex(cost[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(40)]
    assert torch.equal(whole, torch.cat(ones))
    monkeypatch.setattr(exact, "_CELLS", 7 * 35)
    assert torch.equal(whole, network_simplex(cost, a, b))


def test_equal_masses_give_assignments_without_crumbs():
    g = torch.Generator().manual_seed(0)
    sixth = torch.full((50, 6), 1 / 6, dtype=torch.float64)
    plan = exact_plan(draw("ties", (50, 6, 6), g), sixth, sixth)
    assert ((plan > 0).sum(-1) == 1).all()
    assert ((plan > 0).sum(-2) == 1).all()


def test_padding_without_mass_changes_nothing():
    g = torch.Generator().manual_seed(0)
    cost, a, b = (
        draw("uniform", (20, 5, 6), g),
        masses("uniform", (20, 5), g),
        masses("uniform", (20, 6), g),
    )
    pad = torch.nn.functional.pad
    plan = exact_plan(pad(cost, (0, 2, 0, 3), value=-5.0), pad(a, (0, 3)), pad(b, (0, 2)))
    torch.testing.assert_close(plan[:, :5, :6], exact_plan(cost, a, b), atol=1e-12, rtol=0)
    assert plan[:, 5:].abs().max() == plan[:, :, 6:].abs().max() == 0


def test_a_plan_is_a_tree():
    g = torch.Generator().manual_seed(0)
    plan = exact_plan(
        draw("equal", (20, 7, 9), g), masses("uniform", (20, 7), g), masses("uniform", (20, 9), g)
    )
    assert ((plan > 0).sum((-2, -1)) <= 15).all()


@pytest.mark.parametrize("total", [1e-6, 1.0, 1e6])
def test_masses_of_any_total_and_columns_scaled_to_the_rows(total):
    g = torch.Generator().manual_seed(0)
    cost, a, b = (
        draw("uniform", (4, 3, 5), g),
        masses("uniform", (4, 3), g),
        masses("uniform", (4, 5), g),
    )
    plan = exact_plan(cost, total * a, 3 * b)
    torch.testing.assert_close(plan, total * exact_plan(cost, a, b), rtol=1e-12, atol=1e-13 * total)


def test_no_mass_no_plan_and_one_sided_or_broken_problems_are_nan_alone():
    cost = torch.rand(6, 2, 3)
    a, b = torch.full((6, 2), 0.5), torch.full((6, 3), 1 / 3)
    a[0], b[0] = 0, 0
    a[1] = 0
    cost[2, 0, 0] = torch.inf
    cost[3, 0, 0] = torch.nan
    b[4, 1] = torch.nan
    plan = exact_plan(cost, a, b)
    assert (plan[0] == 0).all()
    assert plan[1:5].isnan().all()
    torch.testing.assert_close(plan[5:].sum(-1), a[5:])


@pytest.mark.parametrize("side", [0, 1])
def test_negative_masses_are_refused(side):
    sides = [torch.full((2,), 0.5), torch.full((2,), 0.5)]
    sides[side][0] = -0.5
    with pytest.raises(ArgumentError, match="negative"):
        exact_plan(torch.rand(2, 2), *sides)


def test_shapes_types_and_empty_batches():
    half = torch.full((2, 0, 4, 3), 0.5, dtype=torch.bfloat16)
    plan = exact_plan(half, half[..., 0], half[..., 0, :])
    assert plan.shape == half.shape
    assert plan.dtype == torch.float32
    cost, a, b = torch.rand(2, 3, 4, 5), torch.full((2, 3, 4), 0.25), torch.full((2, 3, 5), 0.2)
    plan = exact_plan(cost.requires_grad_(), a, b)
    assert not plan.requires_grad
    for i in np.ndindex(2, 3):
        torch.testing.assert_close(plan[i], exact_plan(cost[i], a[i], b[i]))
    with torch.inference_mode():
        torch.testing.assert_close(exact_plan(cost, a, b), plan)


def test_denormals_may_be_flushed():
    g = torch.Generator().manual_seed(0)
    cost, a, b = (
        draw("ties", (50, 6, 6), g),
        masses("equal", (50, 6), g),
        masses("zeros", (50, 6), g),
    )
    want = (exact_plan(cost, a, b) * cost).sum((-2, -1))
    torch.set_flush_denormal(True)
    try:
        plan = exact_plan(cost, a, b)
    finally:
        torch.set_flush_denormal(False)
    torch.testing.assert_close((plan * cost).sum((-2, -1)), want, rtol=0, atol=1e-12)
