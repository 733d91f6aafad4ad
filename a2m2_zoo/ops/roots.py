"""Power normalisation of second moments: square roots and logarithms of matrices, with their derivatives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.exporting import recording
from a2m2_zoo.ops.precision import promote, without_autocast

# Entries of the matrices that the CPU iterates together; they stay in its cache.
_CHUNK = 1 << 16
# Smaller matrices gain nothing from the cache as long as no gradient is asked for.
_LARGE = 24


@without_autocast
def newton_schulz_sqrt(
    a: Float[Tensor, "*b d d"],
    *,
    iterations: int = 5,
    normaliser: str = "trace",
    eps: float = 1e-12,
) -> Float[Tensor, "*b d d"]:
    """Square roots of positive semi-definite matrices by the coupled Newton–Schulz iteration.

    Y₀ = A/s, Z₀ = I; T = (3I − ZY)/2; Y ← YT, Z ← TZ; the root is √s·Y (Higham 2008, ch. 6; as a
    layer of a network: Li et al., CVPR 2018). It needs 0 ≤ A/s ≤ 1, which holds for s = trace and
    for the smaller s = Frobenius norm, which converges faster. Z₀ = I saves two of the 3k
    products, and the last Z is never needed: 3k − 3 products for k ≥ 2 iterations.

    A zero matrix gives zeros and a finite gradient (``eps`` is added to s on both sides, so it
    does not bias the root); so do rank-deficient ones, whose null directions stay zero.

    Args:
        a: The matrices, symmetric; the derivative takes them for that.
        iterations: k ≥ 1. Three leave 40–60 % of the error to the root on real covariances; 12 are
            the root.
        normaliser: ``"trace"`` or ``"frobenius"``.
        eps: Added to s.

    Returns:
        Approximate roots, float32 or float64 (16-bit input is promoted).

    Raises:
        ArgumentError: ``iterations`` < 1 or an unknown normaliser.

    >>> newton_schulz_sqrt(torch.tensor([[4.0, 0.0], [0.0, 9.0]]), iterations=12)
    tensor([[2.0000, 0.0000],
            [0.0000, 3.0000]])
    """
    a = promote(a)
    matrices = a.reshape(-1, *a.shape[-2:])
    scale = _scale(matrices, normaliser)[:, None, None] + eps
    root = _power(matrices / scale, iterations, inverse=False)
    return (root * scale.sqrt()).reshape(a.shape)


@without_autocast
def newton_schulz_sqrt_of_samples(
    x: Float[Tensor, "*b p d"],
    *,
    iterations: int = 5,
    normaliser: str = "trace",
    eps: float = 1e-12,
) -> Float[Tensor, "*b d d"]:
    """``newton_schulz_sqrt`` of XᵀX, computed on XXᵀ: for p < d samples a smaller matrix.

    Both Y and Z of the iteration are polynomials of A = XᵀX/s with Y = AZ, and Xᵀ commutes through
    them: √s·Y = Xᵀ Z(XXᵀ/s) X/√s. Trace and Frobenius norm of both products are the same.

    Args:
        x: p samples of d channels, any leading axes.
        iterations: As there.
        normaliser: As there.
        eps: As there.

    >>> x = torch.tensor([[2.0, 0.0, 0.0]])
    >>> newton_schulz_sqrt_of_samples(x, iterations=12)[0]
    tensor([2., 0., 0.])
    """
    x = promote(x)
    samples = x.reshape(-1, *x.shape[-2:])
    gram = samples @ samples.mT
    scale = _scale(gram, normaliser)[:, None, None] + eps
    inverse = _power(gram / scale, iterations, inverse=True)
    root = samples.mT @ (inverse @ (samples / scale.sqrt()))
    return root.reshape(*x.shape[:-2], *root.shape[-2:])


def _power(a: Tensor, iterations: int, *, inverse: bool) -> Tensor:
    """Y after k iterations, or Z; no product is made that is not needed for it."""
    if iterations < 1:
        raise ArgumentError(f"iterations is {iterations}; give 1 or more")
    with_grad = torch.is_grad_enabled() and a.requires_grad
    if not recording() and (with_grad or a.shape[-1] >= _LARGE):
        power: Tensor = _Power.apply(a, iterations, inverse)  # type: ignore[no-untyped-call]
        return power
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    z = torch.add(1.5 * identity, a, alpha=-0.5)
    y = torch.baddbmm(a, a, a, beta=1.5, alpha=-0.5) if iterations > 1 or not inverse else a
    for step in range(1, iterations):
        t = torch.baddbmm(identity, z, y, beta=1.5, alpha=-0.5)
        last = step == iterations - 1
        if not (last and inverse):
            y = torch.bmm(y, t)
        if not last or inverse:
            z = torch.bmm(t, z)
    return z if inverse else y


class _Power(torch.autograd.Function):
    """``_power`` of some matrices after the other, in memory that stays in the cache.

    The derivative iterates once more: that is quicker than fresh memory for all Y, Z and T. They are
    symmetric, as polynomials of A, so none of them is transposed.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, iterations: int, inverse: bool) -> Tensor:
        ctx.save_for_backward(a)
        ctx.iterations, ctx.inverse = iterations, inverse
        power, size = torch.empty_like(a), _chunk(a)
        memory = a.new_empty(min(iterations, 2), 3, size, *a.shape[1:])
        for part, out in zip(torch.split(a, size), torch.split(power, size), strict=True):
            y, z, t = _iterated(part, memory[:, :, : len(part)], iterations)
            if iterations == 1:
                out.copy_(z if inverse else y)
            else:
                torch.bmm(*((t, z) if inverse else (y, t)), out=out)
        return power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        (a,) = ctx.saved_tensors
        found, size = torch.empty_like(a), _chunk(a)
        memory = a.new_empty(ctx.iterations, 3, size, *a.shape[1:])
        spare = a.new_empty(5, size, *a.shape[1:])
        for part, grad, out in zip(
            *(torch.split(x, size) for x in (a, grads[0], found)), strict=True
        ):
            steps = memory[:, :, : len(part)]
            _iterated(part, steps, ctx.iterations)
            free = list(spare[:, : len(part)])
            grad_y, grad_z = (None, grad) if ctx.inverse else (grad, None)
            for y, z, t in reversed(steps[: ctx.iterations - 1].unbind()):
                grad_t, next_y, next_z = free.pop(), free.pop(), free.pop()
                _sum_of_products(grad_t, (1, y, grad_y), (1, grad_z, z))
                _sum_of_products(next_y, (1, grad_y, t), (-0.5, z, grad_t))
                _sum_of_products(next_z, (1, t, grad_z), (-0.5, grad_t, y))
                free += [x for x in (grad_t, grad_y, grad_z) if x is not None and x is not grad]
                grad_y, grad_z = next_y, next_z
            _sum_of_products(out, (-0.5, part, grad_y), (-0.5, grad_y, part))
            if grad_y is not None:
                out.add_(grad_y, alpha=1.5)
            if grad_z is not None:
                out.add_(grad_z, alpha=-0.5)
        return found, None, None


def _chunk(a: Tensor) -> int:
    """How many of the matrices are iterated together."""
    fitting = _CHUNK // a.shape[-1] ** 2 if a.device.type == "cpu" else len(a)
    return max(min(fitting, len(a)), 1)


def _iterated(a: Tensor, memory: Tensor, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """Y, Z and T before the last products, each step in the next place of ``memory``, round and round."""
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    y, z, t = memory[0]
    torch.baddbmm(a, a, a, beta=1.5, alpha=-0.5, out=y)
    torch.add(1.5 * identity, a, alpha=-0.5, out=z)
    for step in range(1, iterations):
        if step > 1:
            next_y, next_z, next_t = memory[(step - 1) % len(memory)]
            torch.bmm(y, t, out=next_y)
            torch.bmm(t, z, out=next_z)
            y, z, t = next_y, next_z, next_t
        torch.baddbmm(identity, z, y, beta=1.5, alpha=-0.5, out=t)
    return y, z, t


def _sum_of_products(out: Tensor, *terms: tuple[float, Tensor | None, Tensor | None]) -> None:
    """Σ factor · X Y into ``out``, over the terms whose X and Y are given; zero without any."""
    added = 0
    for factor, x, y in terms:
        if x is not None and y is not None:
            torch.baddbmm(out, x, y, beta=added, alpha=factor, out=out)
            added = 1
    if not added:
        out.zero_()


def _scale(matrices: Tensor, normaliser: str) -> Tensor:
    if normaliser == "trace":
        return matrices.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(0)
    if normaliser == "frobenius":
        # The largest entry goes first: squares of huge entries overflow, of tiny ones vanish.
        largest = matrices.detach().abs().amax((-2, -1)).clamp_min(torch.finfo(matrices.dtype).tiny)
        scaled = matrices / largest[:, None, None]
        square = scaled.square().sum((-2, -1))
        return square.where(square > 0, 1.0).sqrt() * largest
    raise ArgumentError(f"normaliser is {normaliser!r}; expected 'trace' or 'frobenius'")


class _SpectralLog1p(torch.autograd.Function):
    """log(I + A) by eigenvalues, with the Daleckii–Krein derivative.

    The derivative of ``torch.linalg.eigh`` divides by differences of eigenvalues, and covariances
    of few samples have many equal ones (zero). The derivative of a matrix *function* needs divided
    differences of that function instead, which have a limit where eigenvalues meet.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(a)
        values = values.clamp_min(0)
        ctx.save_for_backward(values, vectors)
        logarithm: Tensor = (vectors * values.log1p()[..., None, :]) @ vectors.mT
        return logarithm

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Tensor:
        values, vectors = ctx.saved_tensors
        x, y = values[..., :, None], values[..., None, :]
        # (log(1+x) − log(1+y))/(x − y) = log1p(r)/r / (1+y) with r = (x−y)/(1+y): no cancellation.
        r = (x - y) / (1 + y)
        near = r.abs() < 1e-3
        series = 1 - r / 2 + r.square() / 3 - r.pow(3) / 4
        divided = torch.where(near, series, r.log1p() / r.where(~near, 1.0)) / (1 + y)
        grad: Tensor = vectors @ (divided * (vectors.mT @ grads[0] @ vectors)) @ vectors.mT
        return grad


@without_autocast
def matrix_log(
    a: Float[Tensor, "*b d d"], *, floor: float = 1e-2, eps: float = 1e-12
) -> Float[Tensor, "*b d d"]:
    """Logarithm log(I + A/τ) of positive semi-definite matrices, τ = ``floor`` × mean eigenvalue.

    The plain logarithm of a rank-deficient covariance is −∞ in its null directions, and with a
    floor the floor dominates the descriptor. Counting from the floor (log(A + τI) − log τ) gives
    those directions exactly zero, and the result does not depend on the scale of A.

    Args:
        a: The matrices.
        floor: Eigenvalues well below ``floor`` × the mean eigenvalue count as zero.
        eps: Added to τ, so that a zero matrix gives zeros.

    Raises:
        ArgumentError: ``floor`` is not positive.

    >>> matrix_log(torch.zeros(2, 2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    if not floor > 0:
        raise ArgumentError(f"floor is {floor}; give a positive number")
    a = promote(a)
    tau = floor * a.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(0) + eps
    scaled: Tensor = _SpectralLog1p.apply(a / tau[..., None, None])  # type: ignore[no-untyped-call]
    return scaled
