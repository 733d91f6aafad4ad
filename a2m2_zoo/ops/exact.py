"""Exact optimal transport of thousands of small problems at once: a network simplex over a batch.

Every problem keeps a spanning tree of its rows and columns (the basis) and moves one edge per step,
all problems of the batch together; those that are finished leave it. What makes this fast for small
problems is how little a tree needs: the *side* of an edge, the lines that hang together with its
row once the edge is cut, is one 64-bit integer, and a pivot is a few bit operations on those.

Masses are integers inside (2⁻⁴⁷ of the total is the unit), so flows are exact, and a perturbation
below that unit (one part for each row, all of them for the last column) makes every flow positive:
no step is of length zero, so the simplex cannot run in circles, whatever ties there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float

#: Rows plus columns, rows (the smaller side), and cells that a problem may have.
MAX_LINES, MAX_ROWS, MAX_CELLS = 64, 32, 1024

_CELLS = 1 << 18  # cells of the problems worked on together: they stay in the processor's caches
_TOLERANCE = 1e-12  # of the range of the costs: far above what rounding does to the potentials
_KEEP = 0.5  # the batch is packed when fewer of its problems than this are unfinished

# A mass is unit · 2¹³ + perturbation · 2⁶; the last 6 bits carry the place in the basis.
_TOTAL, _UNIT, _PERTURBATION = 2.0**47, 13, 6
_PLACE = (1 << _PERTURBATION) - 1
_CELL = MAX_CELLS - 1
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
_NORMAL, _NEVER = 1 << 61, 1 << 62  # as bits of float64: a normal number, and one above all keys


@dataclass
class _Tree:
    """Spanning trees of B problems: what is known of each of their n + m − 1 edges.

    Attributes:
        cell: row · m + column.
        row: Its row.
        side: The lines on the row's side of the edge, as bits: row i is bit i, column j bit n + j.
        flow: Mass on it, a positive integer.
    """

    cell: Tensor
    row: Tensor
    side: Tensor
    flow: Tensor

    def __getitem__(self, index: Tensor) -> _Tree:
        return _Tree(*(getattr(self, x).index_select(1, index) for x in self.__annotations__))


@torch.no_grad()
def network_simplex(
    cost: Float[Tensor, "b n m"], a: Float[Tensor, "b n"], b: Float[Tensor, "b m"]
) -> Float[Tensor, "b n m"]:
    """Optimal plans, float64; no Python loop over problems.

    Marginals hold to about 1e-14 of the total mass, the cost of the plan is the smallest possible
    to 1e-12 of the range of the costs. Masses may be zero.

    Args:
        cost: Finite costs, n ≤ m, n ≤ 32, n + m ≤ 64, n·m ≤ 1024.
        a: Masses of the rows, 0 or more.
        b: Masses of the columns; scaled to the sum of ``a``.

    >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> network_simplex(cost, torch.tensor([[0.7, 0.3]]), torch.tensor([[0.5, 0.5]]))
    tensor([[[0.5000, 0.2000],
             [0.0000, 0.3000]]], dtype=torch.float64)
    """
    count, n, m = cost.shape
    step = max(_CELLS // (n * m), 1)
    plan = torch.empty(n * m, count, dtype=torch.float64, device=cost.device)
    for start in range(0, count, step):
        some = slice(start, start + step)
        # The problem is the last axis throughout: lines and cells are few, problems are many.
        costs = cost[some].permute(1, 2, 0).reshape(n * m, -1).double()
        masses = _masses(a[some].T.double(), b[some].T.double())
        _solve(costs, masses, n, m, plan[:, some])
    return plan.T.reshape(count, n, m) * a.double().sum(-1)[:, None, None]


def _masses(a: Tensor, b: Tensor) -> Tensor:
    """Integers of both sides (n + m, B) with the same sum, perturbed."""
    tiny = torch.finfo(a.dtype).tiny
    rows, columns = (
        (x / x.sum(0).clamp_min(tiny) * _TOTAL).round().long() << _UNIT for x in (a, b)
    )
    largest = b.argmax(0, keepdim=True)  # what rounding left over is small against it
    columns.scatter_add_(0, largest, (rows.sum(0) - columns.sum(0))[None])
    rows += 1 << _PERTURBATION
    columns[-1] += len(a) << _PERTURBATION
    return torch.cat([rows, columns])


def _solve(cost: Tensor, mass: Tensor, n: int, m: int, plan: Tensor) -> None:
    """Writes the shares of the total mass in every cell to ``plan`` (n·m, B)."""
    low = cost.amin(0)
    spread = (cost.amax(0) - low).clamp_min(torch.finfo(cost.dtype).tiny)
    cost = 1 + (cost - low) / spread  # 1 to 2: same plan, and all that follows knows the scale
    tree, u, v = _greedy(cost, mass, n, m)
    cells, flows = torch.empty_like(tree.cell), torch.empty_like(tree.flow)
    room = torch.empty_like(cost)
    problem = torch.arange(cost.shape[1], device=cost.device)
    while True:
        cell, gain = _price(cost, u, v, room)
        active = gain < -_TOLERANCE
        left = int(active.sum())
        if left <= _KEEP * len(problem):
            done = (~active).nonzero()[:, 0]
            for whole, part in ((cells, tree.cell), (flows, tree.flow)):
                whole.index_copy_(1, problem[done], part.index_select(1, done))
            if not left:
                break
            keep = active.nonzero()[:, 0]
            cost, u, v = (x.index_select(1, keep) for x in (cost, u, v))
            room = torch.empty_like(cost)
            tree, problem, cell, gain = tree[keep], problem[keep], cell[keep], gain[keep]
        else:  # a finished problem puts an edge in its own place, which changes nothing
            cell, gain = cell.where(active, tree.cell[0]), gain.where(active, 0.0)
        _pivot(tree, u, v, cell, gain)
    units = (flows + (1 << _UNIT - 1)) >> _UNIT  # to the nearest: without the perturbation
    plan.zero_().scatter_(0, cells, units.double() / _TOTAL)


def _price(cost: Tensor, u: Tensor, v: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """The cell whose reduced cost c − u − v is smallest, and that cost."""
    n, m = len(u), len(v)
    reduced = torch.sub(cost.view(n, m, -1), u[:, None], out=room.view(n, m, -1)).sub_(v)
    cell = _smallest(_keys(reduced.view(n * m, -1)))
    row = cell // m
    gain = _at(cost, cell) - _at(u, row) - _at(v, cell - row * m)
    return cell, gain


def _pivot(tree: _Tree, u: Tensor, v: Tensor, cell: Tensor, gain: Tensor) -> None:
    """Bring ``cell`` into the tree, drop the edge of its cycle that runs empty first."""
    n, m = len(u), len(v)
    row = cell // m
    column = cell - row * m
    # 1 where the new edge takes flow off an edge, −1 where it adds flow, 0 off the cycle.
    less = ((tree.side >> row) & 1) - ((tree.side >> (n + column)) & 1)
    place = torch.arange(len(tree.flow), device=cell.device)[:, None]
    keys = (tree.flow + _NORMAL + place).where(less > 0, _NEVER)
    key = keys.view(torch.float64).amin(0).view(torch.int64)
    leaving, step = key & _PLACE, (key - _NORMAL) & ~_PLACE
    cut = _at(tree.side, leaving)
    line = torch.arange(n + m, device=cell.device)[:, None]
    change = ((cut >> line) & 1).double() * gain
    u += change[:n]
    v -= change[n:]
    # An edge of the cycle on the row's side of the cut sees the other side change places, and
    # one on that other side sees the row's side do so.
    beyond = cut ^ -((cut >> tree.row) & 1)
    tree.side ^= beyond & -(less & 1)
    tree.flow -= less * step
    for held, new in ((tree.side, cut), (tree.flow, step), (tree.cell, cell), (tree.row, row)):
        held.scatter_(0, leaving[None], new[None])


def _greedy(cost: Tensor, mass: Tensor, n: int, m: int) -> tuple[_Tree, Tensor, Tensor]:
    """First tree: the cheapest cell takes all it can, its used-up line is crossed out, and so on.

    Returns:
        The tree and its potentials u (n, B) and v (m, B), with u + v = cost on its edges.
    """
    edges, count = n + m - 1, cost.shape[1]
    tree = _Tree(*mass.new_empty(4, edges, count))
    ends = mass.new_empty(2, edges, count)  # the line crossed out by each edge, and the other
    rest = mass.clone()
    hanging = (1 << torch.arange(n + m, device=cost.device))[:, None].repeat(1, count)
    keys = _keys(cost.float()).view(n, m, count)  # three digits of the costs will do here
    dead, still = keys.new_zeros(n + m, count), torch.empty_like(keys)
    for k in range(edges):
        torch.add(keys, dead[:n, None], out=still).add_(dead[n:])
        cell = _smallest(still.view(n * m, count))
        row = cell // m
        column = cell - row * m + n
        supply, demand = _at(rest, row), _at(rest, column)
        by_row = supply < demand  # they are equal only at the end, thanks to the perturbation
        out, other = row.where(by_row, column), column.where(by_row, row)
        below = _at(hanging, out)
        tree.cell[k], tree.row[k] = cell, row
        tree.flow[k] = torch.minimum(supply, demand)
        tree.side[k] = below.where(by_row, ~below)
        ends[0, k], ends[1, k] = out, other
        rest.scatter_(0, other[None], (supply - demand).abs()[None])
        hanging.scatter_(0, other[None], (below | _at(hanging, other))[None])
        dead.scatter_(0, out[None], torch.inf)
    price = cost.gather(0, tree.cell)
    potential = cost.new_zeros(n + m, count)
    for k in reversed(range(edges)):
        value = price[k] - _at(potential, ends[1, k])
        potential.scatter_(0, ends[0, k, None], value[None])
    return tree, potential[:n].clone(), potential[n:].clone()


def _keys(values: Tensor) -> Tensor:
    """Replaces the last ten bits of values (c, B) by their place, so a minimum tells both."""
    bits = values.view(_BITS[values.dtype])
    bits &= ~_CELL
    bits |= torch.arange(len(values), dtype=bits.dtype, device=bits.device)[:, None]
    return values


def _smallest(keys: Tensor) -> Tensor:
    """Place of the minimum of keys (c, B); ten times faster than argmin over the first axis."""
    return keys.amin(0).view(_BITS[keys.dtype]).long() & _CELL


def _at(table: Tensor, index: Tensor) -> Tensor:
    """One entry (B,) of each problem's column in ``table`` (c, B)."""
    return table.gather(0, index[None])[0]
