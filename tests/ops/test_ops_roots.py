from unittest import mock

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_maker import spd

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops import roots
from a2m2_zoo.ops.moments import frame_sums
from a2m2_zoo.ops.roots import matrix_log, newton_schulz_sqrt, newton_schulz_sqrt_of_samples
from a2m2_zoo.ops.vectors import l2_normalise, upper_triangle

DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


@pytest.mark.parametrize("normaliser", ["trace", "frobenius"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_root_is_scipys(dtype, normaliser):
    a = spd(3, 8)
    got = newton_schulz_sqrt(a.to(dtype), iterations=25, normaliser=normaliser)
    assert got.dtype == dtype
    for root, matrix in zip(got, a, strict=True):
        want = scipy.linalg.sqrtm(matrix.numpy()).real
        np.testing.assert_allclose(root.numpy(), want, atol=TOLERANCE[dtype])


def test_one_two_and_three_iterations_are_the_textbook_iteration():
    a = spd(2, 5)
    for iterations in (1, 2, 3, 4):
        got = newton_schulz_sqrt(a, iterations=iterations, normaliser="trace")
        for root, matrix in zip(got.numpy(), a.numpy(), strict=True):
            y, z = matrix / np.trace(matrix), np.eye(5)
            for _ in range(iterations):
                t = 1.5 * np.eye(5) - 0.5 * z @ y
                y, z = y @ t, t @ z
            np.testing.assert_allclose(root, y * np.sqrt(np.trace(matrix)), rtol=1e-9, atol=1e-12)


def test_error_falls_with_iterations_and_frobenius_is_ahead():
    a = spd(4, 16, samples=30)
    root = newton_schulz_sqrt(a, iterations=40)
    errors = {
        normaliser: [
            (newton_schulz_sqrt(a, iterations=k, normaliser=normaliser) - root).norm().item()
            for k in (2, 4, 8, 12)
        ]
        for normaliser in ("trace", "frobenius")
    }
    for sequence in errors.values():
        assert sequence == sorted(sequence, reverse=True)
    assert errors["frobenius"][1] < errors["trace"][1]


@pytest.mark.parametrize("normaliser", ["trace", "frobenius"])
@pytest.mark.parametrize("function", ["sqrt", "log"])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-8, 1.0, 1e12, 1e30])
@pytest.mark.parametrize("rank", [1, 3])
def test_degenerate_matrices_have_finite_values_and_gradients(function, scale, rank, normaliser):
    vectors = torch.randn(2, 6, rank, generator=torch.Generator().manual_seed(1))
    a = (vectors @ vectors.mT * scale).requires_grad_()
    root = (
        newton_schulz_sqrt(a, iterations=8, normaliser=normaliser)
        if function == "sqrt"
        else matrix_log(a)
    )
    assert root.isfinite().all()
    l2_normalise(upper_triangle(root)).sum().backward()
    assert a.grad.isfinite().all()
    if scale == 0:
        assert (root == 0).all()
        assert (a.grad == 0).all()


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_root_scales_with_the_root_of_the_scale(scale):
    a = spd(2, 6)
    got, want = newton_schulz_sqrt(a * scale), newton_schulz_sqrt(a) * scale**0.5
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("normaliser", ["trace", "frobenius"])
def test_gradient_of_the_root(normaliser):
    a = spd(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: newton_schulz_sqrt(x, iterations=4, normaliser=normaliser), a
    )


def unrolled(a, iterations, *, inverse):
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    y, z = a, identity
    for _ in range(iterations):
        t = 1.5 * identity - 0.5 * z @ y
        y, z = y @ t, t @ z
    return z if inverse else y


@given(
    st.integers(1, 20), st.integers(1, 7), st.integers(1, 7), st.booleans(), st.integers(0, 10**6)
)
@settings(max_examples=40)
def test_gradient_is_that_of_the_unrolled_iteration(count, size, iterations, inverse, seed):
    """Also over the edges of chunks, by deficient matrices and by zero ones."""
    a = spd(count, size, samples=1 + seed % 9, seed=seed)
    a = a / a.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    a[:: 1 + seed % 4] = 0
    a.requires_grad_()
    with mock.patch.object(roots, "_CHUNK", 4 * size**2):
        got = roots._power(a, iterations, inverse=inverse)
        weight = torch.rand_like(got)
        grad = torch.autograd.grad(got, a, weight)[0]
        with torch.no_grad():
            torch.testing.assert_close(roots._power(a, iterations, inverse=inverse), got)
    want = unrolled(a, iterations, inverse=inverse)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(grad, torch.autograd.grad(want, a, weight)[0], rtol=1e-6, atol=1e-9)


def test_gradient_of_the_root_in_float32_and_no_second_one():
    a = spd(3, 6).requires_grad_()
    low = a.detach().float().requires_grad_()
    for x in (a, low):
        newton_schulz_sqrt(x, iterations=6, normaliser="frobenius").square().sum().backward()
    torch.testing.assert_close(low.grad.double(), a.grad, rtol=1e-4, atol=1e-5)
    root = newton_schulz_sqrt(a)
    (grad,) = torch.autograd.grad(root.square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_no_matrices_give_no_roots():
    a = torch.zeros(0, 3, 3, requires_grad=True)
    root = newton_schulz_sqrt(a)
    root.sum().backward()
    assert root.shape == a.grad.shape == (0, 3, 3)


def test_everything_stays_float32_under_autocast():
    a = spd(2, 8, dtype=torch.float32)
    x = torch.randn(2, 30, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        root, (first, second), log = newton_schulz_sqrt(a), frame_sums(x), matrix_log(a)
    assert torch.equal(root, newton_schulz_sqrt(a))
    assert torch.equal(second, x.mT @ x)
    assert first.dtype == log.dtype == torch.float32


def test_leading_axes_and_refusals():
    a = spd(6, 4)
    flat = newton_schulz_sqrt(a)
    assert torch.equal(newton_schulz_sqrt(a.reshape(2, 3, 4, 4)), flat.reshape(2, 3, 4, 4))
    assert newton_schulz_sqrt(a[0]).shape == (4, 4)
    for arguments, word in (({"iterations": 0}, "iterations"), ({"normaliser": "l1"}, "l1")):
        with pytest.raises(ArgumentError, match=word):
            newton_schulz_sqrt(a, **arguments)
    with pytest.raises(ArgumentError, match="floor"):
        matrix_log(a, floor=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_scipys(dtype):
    a = spd(2, 5)
    got = matrix_log(a.to(dtype), floor=0.1)
    for log, matrix in zip(got, a.numpy(), strict=True):
        tau = 0.1 * np.trace(matrix) / 5
        want = scipy.linalg.logm(np.eye(5) + matrix / tau)
        np.testing.assert_allclose(log.numpy(), want, atol=TOLERANCE[dtype] * 5)


@pytest.mark.parametrize("kind", ["distinct", "equal", "null"])
def test_gradient_of_the_log_also_where_eigenvalues_meet(kind):
    base = {
        "distinct": spd(1, 3)[0],
        "equal": 2 * torch.eye(3, dtype=torch.float64),
        "null": torch.diag(torch.tensor([1.0, 0.5, 0.5], dtype=torch.float64)),
    }[kind]
    # eigh reads one triangle, so the input is made symmetric inside the checked function
    assert torch.autograd.gradcheck(
        lambda x: matrix_log((x + x.mT) / 2, floor=0.5), base.clone().requires_grad_()
    )


@pytest.mark.parametrize("normaliser", ["trace", "frobenius"])
@pytest.mark.parametrize("iterations", [1, 2, 6])
def test_root_from_samples_is_the_root_of_their_product(iterations, normaliser):
    x = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[1] = 0
    x.requires_grad_()
    how = {"iterations": iterations, "normaliser": normaliser}
    few = newton_schulz_sqrt_of_samples(x, **how)
    whole = newton_schulz_sqrt(x.mT @ x, **how)
    torch.testing.assert_close(few, whole)
    weight = torch.randn(12, 12, dtype=torch.float64)
    grads = [torch.autograd.grad((root * weight).sum(), x)[0] for root in (few, whole)]
    torch.testing.assert_close(*grads)
    assert newton_schulz_sqrt_of_samples(x.half(), **how).dtype == torch.float32
