import warnings
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops import transport
from a2m2_zoo.ops.transport import exact_plan, round_plan, sinkhorn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what POT finds or misses when it is imported is not ours
    ot = pytest.importorskip("ot")


def problem(*batch, n=5, m=7, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    cost = torch.rand(*batch, n, m, generator=g, dtype=dtype)
    a = torch.rand(*batch, n, generator=g, dtype=dtype) + 0.1
    b = torch.rand(*batch, m, generator=g, dtype=dtype) + 0.1
    return cost, a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_is_pots(epsilon, dtype, atol):
    cost, a, b = problem(4)
    got = sinkhorn(cost.to(dtype), a.to(dtype), b.to(dtype), epsilon=epsilon, iterations=800)
    assert got.dtype == dtype
    for i in range(4):
        want = ot.sinkhorn(
            a[i].numpy(),
            b[i].numpy(),
            cost[i].numpy(),
            epsilon,
            method="sinkhorn_log",
            numItermax=20000,
            stopThr=1e-13,
        )
        np.testing.assert_allclose(got[i].numpy(), want, atol=atol)


@pytest.mark.parametrize("epsilon", [0.5, 0.02, 0.004, 0.001])
@pytest.mark.parametrize("iterations", [1, 40])
def test_both_ways_are_the_plain_iteration(iterations, epsilon):
    """Below ε = range/100 the logarithms are iterated; here that is the last two."""
    cost, a, b = problem()
    f, g = np.zeros(5), epsilon * np.log(b.numpy())
    for _ in range(iterations):
        f = epsilon * (np.log(a.numpy()) - logsumexp((g - cost.numpy()) / epsilon, 1))
        g = epsilon * (np.log(b.numpy()) - logsumexp((f[:, None] - cost.numpy()) / epsilon, 0))
    want = np.exp((f[:, None] + g - cost.numpy()) / epsilon)
    got = sinkhorn(cost, a, b, epsilon=epsilon, iterations=iterations)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.99, 2.01])
def test_scalings_hold_at_the_edge_of_their_reach(scale):
    g = torch.Generator().manual_seed(0)
    cost = (torch.rand(50, 12, 12, generator=g) > 0.5).float() * scale  # 0 or about 100 ε
    a, b = (torch.rand(2, 50, 12, generator=g) * 12).softmax(-1)
    cost.requires_grad_()
    plan = sinkhorn(cost, a, b, epsilon=0.02, iterations=300)
    assert plan.isfinite().all()
    (plan * cost).sum().backward()
    assert cost.grad.isfinite().all()
    torch.testing.assert_close(plan.sum(-2), b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("shape", [(5, 7), (6, 6)])
def test_exact_is_pots(shape):
    cost, a, b = problem(3, 2, n=shape[0], m=shape[1])
    got = exact_plan(cost, a, b)
    for i in np.ndindex(3, 2):
        want = ot.emd2(a[i].numpy(), b[i].numpy(), cost[i].numpy())
        assert (got[i] * cost[i]).sum().item() == pytest.approx(want, abs=1e-12)
    torch.testing.assert_close(got.sum(-1), a)
    torch.testing.assert_close(got.sum(-2), b)


def test_exact_assignment_equals_the_network_simplex():
    cost, *_ = problem(5, n=6, m=6)
    equal = torch.full((5, 6), 1 / 6, dtype=torch.float64)
    got = exact_plan(cost, equal, equal)
    for plan, c in zip(got, cost, strict=True):
        want = ot.emd2(equal[0].numpy(), equal[0].numpy(), c.numpy())
        assert (plan * c).sum().item() == pytest.approx(want, abs=1e-12)
        assert (plan > 0).sum() == 6


def test_small_epsilon_comes_to_the_exact_plan():
    cost, a, b = problem(6)
    exact = (exact_plan(cost, a, b) * cost).sum((-2, -1))
    plan = sinkhorn(cost, a, b, epsilon=0.002, iterations=3000, rounding=True)
    soft = (plan * cost).sum((-2, -1))
    assert (soft >= exact - 1e-9).all()
    assert (soft - exact).max() < 2e-3


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 2), st.integers(0, 10**6))
@settings(max_examples=40)
def test_plans_are_plans(n, m, epsilon, seed):
    cost, a, b = problem(2, n=n, m=m, seed=seed, dtype=torch.float32)
    plan = sinkhorn(cost, a, b, epsilon=epsilon)
    assert (plan >= 0).all()
    torch.testing.assert_close(plan.sum(-2), b, rtol=1e-4, atol=1e-6)
    exact = sinkhorn(cost, a, b, epsilon=epsilon, iterations=3, rounding=True)
    torch.testing.assert_close(exact.sum(-1), a, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(exact.sum(-2), b, rtol=1e-4, atol=1e-6)
    assert (exact >= 0).all()


@given(st.integers(0, 10**6), st.floats(-100, 100))
@settings(max_examples=25)
def test_a_constant_in_the_cost_does_nothing_and_order_does_not_matter(seed, constant):
    cost, a, b = problem(seed=seed)
    plan = sinkhorn(cost, a, b)
    torch.testing.assert_close(sinkhorn(cost + constant, a, b), plan, rtol=1e-6, atol=1e-10)
    rows, columns = torch.randperm(5), torch.randperm(7)
    shuffled = sinkhorn(cost[rows][:, columns], a[rows], b[columns])
    torch.testing.assert_close(shuffled, plan[rows][:, columns])


def test_float32_survives_a_wide_cost_at_a_small_epsilon():
    cost = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    half = torch.tensor([0.5, 0.5])
    for epsilon in (1e-4, 1e-3):
        plan = sinkhorn(cost, half, half, epsilon=epsilon)
        torch.testing.assert_close(plan, torch.eye(2) / 2)


@pytest.mark.parametrize("epsilon", [0.02, "tensor"])
def test_padding_of_mass_zero_changes_nothing(epsilon):
    cost, a, b = problem(3)
    wide = torch.nn.functional.pad(cost, (0, 2, 0, 1), value=0.0)
    value = torch.tensor([0.02, 0.1, 0.5]).double() if epsilon == "tensor" else epsilon
    pad = torch.nn.functional.pad
    plan = sinkhorn(cost, a, b, epsilon=value, iterations=200)
    padded = sinkhorn(wide, pad(a, (0, 1)), pad(b, (0, 2)), epsilon=value, iterations=200)
    torch.testing.assert_close(padded[:, :5, :7], plan, rtol=1e-6, atol=1e-9)
    assert padded[:, 5:].max() < 1e-20
    assert padded[:, :, 7:].max() < 1e-20
    exact = exact_plan(wide, pad(a, (0, 1)), pad(b, (0, 2)))
    torch.testing.assert_close(exact[:, :5, :7], exact_plan(cost, a, b))


def test_one_epsilon_per_problem_and_batched_is_looped():
    cost, a, b = problem(2, 3)
    epsilon = torch.rand(2, 3).double() + 0.01
    plan = sinkhorn(cost, a, b, epsilon=epsilon)
    for i in np.ndindex(2, 3):
        alone = sinkhorn(cost[i], a[i], b[i], epsilon=epsilon[i].item())
        torch.testing.assert_close(plan[i], alone)


def test_gradients():
    cost, a, b = problem(n=3, m=4)
    for x in (cost, a, b):
        x.requires_grad_()
    for rounding in (False, True):
        assert torch.autograd.gradcheck(
            lambda c, a, b, r=rounding: sinkhorn(
                c, a, b / b.sum() * a.sum(), epsilon=0.2, iterations=4, rounding=r
            ),
            (cost, a, b),
        )


def unrolled(cost, a, b, epsilon, iterations):
    k = ((cost.amin((-2, -1), keepdim=True) - cost) / epsilon).double().exp()
    rows, columns = a.double()[..., None], b.double()[..., None]
    v = columns
    for _ in range(iterations):
        u = rows / (k @ v)
        v = columns / (k.mT @ u)
    return (u * k * v.mT).to(cost.dtype)


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99)
)
@settings(max_examples=40)
def test_the_gradient_is_that_of_the_unrolled_iteration(count, n, m, iterations, seed):
    """Also over the edges of chunks, with masses of zero, and where float32 comes in."""
    dtype = torch.float32 if seed % 2 else torch.float64
    cost, a, b = problem(count, n=n, m=m, seed=seed, dtype=dtype)
    a[::2, : n // 2] = 0
    b[::3, : m // 2] = 0
    weight = torch.rand(count, n, m, dtype=dtype)
    leaves = [x.requires_grad_() for x in (cost, a, b)]
    with mock.patch.object(transport, "_CHUNK", 4 * n * m):
        got = sinkhorn(*leaves, epsilon=0.1, iterations=iterations)
        with torch.no_grad():
            torch.testing.assert_close(
                sinkhorn(*leaves, epsilon=0.1, iterations=iterations), got, rtol=1e-6, atol=1e-12
            )
    want = unrolled(*leaves, 0.1, iterations)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-12)
    grads = torch.autograd.grad((got * weight).sum(), leaves)
    wanted = torch.autograd.grad((want * weight).sum(), leaves)
    for grad, other in zip(grads, wanted, strict=True):
        assert grad.dtype == dtype
        assert grad.isfinite().all()
        torch.testing.assert_close(grad, other, rtol=1e-5, atol=1e-6)


def test_gradient_by_one_epsilon_per_problem_and_by_shared_masses():
    cost, a, b = problem(3, n=3, m=2)
    epsilon = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda cost, a, b, epsilon: sinkhorn(
            cost, a.expand(3, 3), b.expand(3, 2), epsilon=epsilon, iterations=3
        ),
        [x.requires_grad_() for x in (cost, a[0], b[0], epsilon)],
    )


def test_no_input_is_written_to_and_there_is_no_second_derivative():
    leaves = [x.requires_grad_() for x in problem(1, n=4, m=1)]
    before = [x.detach().clone() for x in leaves]
    plan = sinkhorn(*leaves, epsilon=0.1)
    grads = torch.autograd.grad(plan.square().sum(), leaves, create_graph=True)
    assert all(torch.equal(x, y) for x, y in zip(leaves, before, strict=True))
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grads[1].sum().backward()


def test_bfloat16_comes_out_finite_in_float32():
    cost, a, b = problem(2)
    plan = sinkhorn(cost.bfloat16(), a.bfloat16(), b.bfloat16())
    assert plan.dtype == torch.float32
    assert plan.isfinite().all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sinkhorn(cost.float(), a.float(), b.float()).dtype == torch.float32


def test_rounding_keeps_a_plan_that_is_already_right():
    cost, a, b = problem()
    plan = exact_plan(cost, a, b)
    torch.testing.assert_close(round_plan(plan, a, b), plan)


@pytest.mark.parametrize("arguments", [{"iterations": 0}, {"epsilon": 0.0}, {"epsilon": -1.0}])
def test_refusals(arguments):
    with pytest.raises(ArgumentError):
        sinkhorn(*problem(), **arguments)
