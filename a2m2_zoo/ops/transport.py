"""Optimal transport between sets of candidates, all pairs at once: Sinkhorn and the exact plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.exact import MAX_CELLS, MAX_LINES, MAX_ROWS, network_simplex
from a2m2_zoo.ops.exporting import recording
from a2m2_zoo.ops.precision import promote, without_autocast

# Stands for zero in the logarithm; far below what float32 resolves of real masses.
_NO_MASS = 1e-30
# Costs this many ε apart are the widest for which float64 scalings are used. Their logarithms stay
# within three times the range (the dual objective only rises, and cannot rise by more), the backward
# pass multiplies two of them, and float64 ends at 709.
_REACH = 100.0
# Cells of the problems that the CPU iterates together; they stay in its cache.
_CHUNK = 1 << 16
# Fewer problems than these are iterated by products of matrices where no gradient is asked for.
_FEW = 16


@without_autocast
def sinkhorn(
    cost: Float[Tensor, "*b n m"],
    a: Float[Tensor, "*b n"],
    b: Float[Tensor, "*b m"],
    *,
    epsilon: float | Tensor = 0.02,
    iterations: int = 40,
    rounding: bool = False,
    span: float | None = None,
) -> Float[Tensor, "*b n m"]:
    """Entropic transport plans of many problems at once (Cuturi 2013).

    Float64 scalings where the range of the costs allows (up to 100 ε), their logarithms elsewhere,
    which is the same iteration and three times slower. A fixed number of alternating updates of
    the two log-scalings; the gradient is that of the unrolled iteration. The last update is of the
    columns, so column marginals hold and row marginals hold as far as the iteration has converged:
    what decides that is ε against the spread of the costs. Candidates of mass zero take part
    without effect, so sets of different sizes can be padded.

    Args:
        cost: Costs.
        a: Masses of the rows, each problem's sum the same as that of ``b``.
        b: Masses of the columns.
        epsilon: Weight of the entropy, in the unit of the cost; a number or one per problem.
        iterations: Pairs of updates.
        rounding: Correct the plan so that both marginals hold exactly (``round_plan``).
        span: By how many ε costs can differ, where that is known without looking at them. It decides
            only what a recorded graph computes.

    Raises:
        ArgumentError: ``iterations`` < 1 or ``epsilon`` ≤ 0.

    >>> half = torch.tensor([0.5, 0.5])
    >>> sinkhorn(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), half, half, epsilon=0.05)
    tensor([[5.0000e-01, 1.0306e-09],
            [1.0306e-09, 5.0000e-01]])
    """
    if iterations < 1:
        raise ArgumentError(f"iterations is {iterations}; give 1 or more")
    if not isinstance(epsilon, Tensor) and not epsilon > 0:
        raise ArgumentError(f"epsilon is {epsilon}; give a positive number")
    cost, a, b = promote(cost), promote(a), promote(b)
    if isinstance(epsilon, Tensor):
        epsilon = epsilon.to(cost)[..., None, None]
    # The plan does not change when a constant is added to the cost; starting at 0 keeps the digits.
    kernel = (cost.amin((-2, -1), keepdim=True) - cost) / epsilon
    plain = _summed_scalings if recording() else _scalings
    solve = _log_scalings if _is_wide(kernel, span) else plain
    plan = solve(kernel, a, b, iterations).to(cost.dtype)
    return round_plan(plan, a, b) if rounding else plan


def _is_wide(kernel: Tensor, span: float | None) -> bool:
    """Whether float64 scalings may overflow, or the device has none."""
    if kernel.device.type == "mps":
        return True
    if recording():
        return span is None or span > _REACH
    return not bool((kernel > -_REACH).all())


def _scalings(kernel: Tensor, a: Tensor, b: Tensor, iterations: int) -> Tensor:
    """The iteration on the scalings themselves, in float64: no exponential inside the loop."""
    n, m = kernel.shape[-2:]
    with_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (kernel, a, b))
    problems = kernel.shape[:-2].numel()
    if problems < _FEW and not with_grad:
        return _multiplied_scalings(kernel, a, b, iterations)
    size = max(_CHUNK // (n * m), 1) if kernel.device.type == "cpu" else max(problems, 1)
    flat = kernel.reshape(-1, n, m), a.reshape(-1, n), b.reshape(-1, m)
    plans = [
        _Scalings.apply(*part, iterations, with_grad)  # type: ignore[no-untyped-call]
        for part in zip(*(torch.split(x, size) for x in flat), strict=True)
    ]
    return torch.cat(plans).reshape(kernel.shape)


def _multiplied_scalings(kernel: Tensor, a: Tensor, b: Tensor, iterations: int) -> Tensor:
    """The same in fewer calls, which are what takes the time of few problems."""
    k = kernel.double().exp()
    rows, columns = a.double()[..., :, None], b.double()[..., :, None]
    v = u = columns
    for _ in range(iterations):
        u = rows / (k @ v)
        v = columns / (k.mT @ u)
    return u * k * v.mT


class _Scalings(torch.autograd.Function):
    """Plans (p, n, m) from the logarithms of kernels, with the derivative of the unrolled iteration.

    Problems lie last: a product of all small matrices with their vectors is then one elementwise
    product and one sum over a leading axis. Of the iteration only its divisors are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, kernel: Tensor, a: Tensor, b: Tensor, iterations: int, with_grad: bool
    ) -> Tensor:
        k = _problems_last(kernel).exp_()
        rows, columns = _problems_last(a), _problems_last(b)
        kept = iterations if with_grad else 1
        by_row, by_column = (x.new_empty(kept, *x.shape) for x in (rows, columns))
        divisors = list(zip(by_row, by_column, strict=True)) * (iterations // kept)
        product, u, v = torch.empty_like(k), torch.empty_like(rows), columns.clone()
        across = u[:, None]
        for for_u, for_v in divisors:
            torch.div(rows, torch.sum(torch.mul(k, v, out=product), 1, out=for_u), out=u)
            torch.div(columns, torch.sum(torch.mul(k, across, out=product), 0, out=for_v), out=v)
        ctx.save_for_backward(k, rows, columns, by_row, by_column)
        ctx.dtypes = kernel.dtype, a.dtype, b.dtype
        return (product * v).permute(2, 0, 1).to(kernel.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        k, rows, columns, by_row, by_column = ctx.saved_tensors
        last = len(by_row) - 1
        u, v = rows / by_row[last], columns / by_column[last]
        grad = _problems_last(grads[0])
        grad_k = grad * u[:, None] * v
        grad *= k
        product = grad * v
        direct = product.sum(1)  # what reaches the last u past the last v
        grad_v = torch.mul(grad, u[:, None], out=product).sum(0)
        grad_rows, grad_columns = torch.zeros_like(rows), torch.zeros_like(columns)
        for t in range(last, -1, -1):
            grad_v /= by_column[t]
            grad_columns += grad_v
            grad_v *= v  # now minus the gradient of the divisor
            torch.div(rows, by_row[t], out=u)
            grad_k.addcmul_(u[:, None], grad_v, value=-1)
            minus_u = torch.mul(k, grad_v, out=product).sum(1)
            if t == last:
                minus_u -= direct
            minus_u /= by_row[t]
            grad_rows -= minus_u
            minus_u *= u  # now the gradient of the divisor
            v = columns / by_column[t - 1] if t else columns
            grad_k.addcmul_(minus_u[:, None], v)
            grad_v = torch.mul(k, minus_u[:, None], out=product).sum(0)
        grad_columns += grad_v
        found = grad_k.mul_(k).permute(2, 0, 1), grad_rows.mT, grad_columns.mT
        return *(x.to(dtype) for x, dtype in zip(found, ctx.dtypes, strict=True)), None, None


def _problems_last(x: Tensor) -> Tensor:
    """A copy in float64 with the first axis last."""
    return x.new_empty(*x.shape[1:], len(x), dtype=torch.float64).copy_(x.movedim(0, -1))


def _summed_scalings(kernel: Tensor, a: Tensor, b: Tensor, iterations: int) -> Tensor:
    """The same for a recorded graph: problems lie last, and sums over the first axis are one product.

    Runtimes multiply many small matrices one by one, and broadcast along short axes slowly.
    """
    n, m = kernel.shape[-2:]
    k = kernel.double().exp().reshape(-1, n, m)
    by_column, by_row = k.permute(2, 1, 0).contiguous(), k.permute(1, 2, 0).contiguous()
    rows = a.double().reshape(-1, n).mT.contiguous()
    columns = b.double().reshape(-1, m).mT.contiguous()

    ones = {size: k.new_ones(1, size) for size in (n, m)}

    def total(x: Tensor) -> Tensor:
        # Only the last axis is open: sizes that are numbers need no computing in the graph.
        summed: Tensor = ones[len(x)] @ x.reshape(len(x), -1)
        return summed.reshape(x.shape[1], -1)

    v = u = columns
    for _ in range(iterations):
        u = rows / total(by_column * v[:, None])
        v = columns / total(by_row * u[:, None])
    return (u[:, None] * by_row * v).permute(2, 0, 1).reshape(kernel.shape)


def _log_scalings(kernel: Tensor, a: Tensor, b: Tensor, iterations: int) -> Tensor:
    """The iteration on the logarithms of the scalings: no cost is too wide for it."""
    log_a, log_b = a.clamp_min(_NO_MASS).log(), b.clamp_min(_NO_MASS).log()
    v, u = log_b, log_a  # not zeros: padded candidates must not pull from the start
    for _ in range(iterations):
        u = log_a - torch.logsumexp(kernel + v[..., None, :], -1)
        v = log_b - torch.logsumexp(kernel + u[..., :, None], -2)
    return (kernel + u[..., :, None] + v[..., None, :]).exp()


def round_plan(
    plan: Float[Tensor, "*b n m"], a: Float[Tensor, "*b n"], b: Float[Tensor, "*b m"]
) -> Float[Tensor, "*b n m"]:
    """The nearest-by-construction plan whose marginals are exactly ``a`` and ``b``.

    Rows, then columns, that hold too much are scaled down; the missing mass is added as a product
    of what rows and columns lack (Altschuler, Weed and Rigollet 2017, algorithm 2).
    """
    tiny = torch.finfo(plan.dtype).tiny
    plan = plan * (a / plan.sum(-1).clamp_min(tiny)).clamp_max(1)[..., :, None]
    plan = plan * (b / plan.sum(-2).clamp_min(tiny)).clamp_max(1)[..., None, :]
    lack_a, lack_b = (a - plan.sum(-1)).clamp_min(0), (b - plan.sum(-2)).clamp_min(0)
    share = lack_a / lack_a.sum(-1, keepdim=True).clamp_min(tiny)
    return plan + share[..., :, None] * lack_b[..., None, :]


@torch.no_grad()
def exact_plan(
    cost: Float[Tensor, "*b n m"], a: Float[Tensor, "*b n"], b: Float[Tensor, "*b m"]
) -> Float[Tensor, "*b n m"]:
    """Optimal plans without entropy, many problems at once, float64 inside.

    The plan is a constant for autograd. For a score Σ plan ⊙ similarity with costs that fall as the
    similarities rise, that gives the exact derivative by the costs (the envelope theorem: at the
    optimum, a small change of the plan does not change the score); what the masses contribute is
    left out.

    Small problems (``ops.exact``) go through a network simplex over the whole batch, on any device;
    larger ones one after the other through POT's, on the CPU.

    Args:
        cost: Costs. A problem with a cost or mass that is not finite gets a plan of NaN.
        a: Masses of the rows, 0 or more.
        b: Masses of the columns, 0 or more; scaled to the sum of ``a``.

    Raises:
        ArgumentError: A negative mass.

    >>> half = torch.tensor([0.5, 0.5])
    >>> exact_plan(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), half, half)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """
    if bool((a < 0).any()) or bool((b < 0).any()):
        raise ArgumentError("a mass of the transport is negative; give masses of 0 or more")
    n, m = cost.shape[-2:]
    device = torch.device("cpu") if cost.device.type == "mps" else cost.device  # mps: no float64
    costs = cost.reshape(-1, n, m).to(device, torch.float64)
    rows, columns = a.reshape(-1, n).to(costs), b.reshape(-1, m).to(costs)
    total, other = rows.sum(-1), columns.sum(-1)
    sound = (
        (total + other).isfinite() & costs.isfinite().all(-1).all(-1) & ((total > 0) == (other > 0))
    )
    costs = costs.where(sound[:, None, None], 0.0)
    rows, columns = (
        x.where(sound[:, None], 0.0) / s.where(sound & (s > 0), 1.0)[:, None]
        for x, s in ((rows, total), (columns, other))
    )
    if min(n, m) == 1:
        plan = rows[:, :, None] * columns[:, None, :]  # there is only one way
    elif n * m > MAX_CELLS or min(n, m) > MAX_ROWS or n + m > MAX_LINES:
        plan = _one_by_one(costs, rows, columns)
    elif n <= m:
        plan = network_simplex(costs, rows, columns)
    else:
        plan = network_simplex(costs.mT, columns, rows).mT
    plan = plan * total.where(sound, torch.nan)[:, None, None]
    return plan.to(promote(cost)).reshape(cost.shape)


def _one_by_one(costs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    import ot

    costs = costs - costs.amin((-2, -1), keepdim=True)  # POT stumbles over some negative costs
    problems = zip(*(x.cpu().numpy() for x in (rows, columns, costs)), strict=True)
    plans = [ot.emd(a, b, cost) if a.any() else np.zeros_like(cost) for a, b, cost in problems]
    return torch.from_numpy(np.stack(plans)).to(costs)
