"""The A² module: candidates of a query and of supports are aligned by instance-guided transport.

A reconstruction: the paper's code is not public. ``docs/explanation/method.md`` says what is known and
what is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.typing import Bool, Float, Int
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._sides import (
    Side,
    as_candidates,
    by_size,
    check_groups,
    cost_spread,
    make_sides,
    pair_similarity,
    pool_shots,
)
from a2m2_zoo.methods.blocks.a2_config import A2Config
from a2m2_zoo.methods.blocks.candidates import Candidates
from a2m2_zoo.ops import alignment as fixed
from a2m2_zoo.ops import marginals
from a2m2_zoo.ops.exporting import recording
from a2m2_zoo.ops.shots import class_prototypes, mean_over_shots
from a2m2_zoo.ops.transport import exact_plan, sinkhorn
from a2m2_zoo.ops.vectors import l2_normalise

RULES = ("scores", "descriptors", "pooled")


@dataclass(frozen=True)
class Alignment:
    """What the alignment of every (query, support) pair found.

    ``scores`` = τ · Σ_g w_g · Σ plan_g ⊙ similarity_g (OTAM: its own soft distance in place of the
    inner sum). Groups are padded to the largest; padded candidates have mask False, mass zero and
    similarity zero.

    Attributes:
        scores: Larger is more alike.
        plan: Mass from each query candidate to each support candidate.
        similarity: Their cosines.
        query_mask: Which query candidates exist.
        support_mask: Which support candidates exist.
    """

    scores: Float[Tensor, "*e q n"]
    plan: Float[Tensor, "*e q n g s r"]
    similarity: Float[Tensor, "*e q n g s r"]
    query_mask: Bool[Tensor, "q g s"]
    support_mask: Bool[Tensor, "n g r"]


class A2Module(nn.Module):
    """Scores of every (query, support) pair by aligning their candidates.

    Takes ``Candidates``, or tensors (videos, S, D) of per-frame descriptors; both may have an axis of
    episodes in front, and are then compared within each.

    Args:
        config: The configuration.
        groups: Names of the groups that will come, in order: ``layout.groups(config.groups)``.

    Attributes:
        config: The configuration.
        temperature: τ.

    >>> module = A2Module(A2Config(time_cost=0.0, temperature=1.0), groups=("frames",))
    >>> frames = torch.eye(4)[None]
    >>> module(frames, frames.flip(1)).scores.item() > 0.99
    True
    """

    log_temperature: Tensor
    weights: Tensor

    def __init__(self, config: A2Config, *, groups: Sequence[str] = ("frames",)) -> None:
        super().__init__()
        if config.weights and len(config.weights) != len(groups):
            raise ArgumentError(
                f"{len(config.weights)} weights came for {len(groups)} groups: {', '.join(groups)}"
            )
        self.config = config
        self.groups = tuple(groups)
        start = torch.tensor(config.weights or [1 / len(groups)] * len(groups))
        tau = torch.tensor(math.log(config.temperature))
        _hold(self, "weights", start, learn=config.learn_weights)
        _hold(self, "log_temperature", tau, learn=config.learn_temperature)
        self.gate: nn.Module | None = _gate() if config.marginals == "gate" else None

    @property
    def temperature(self) -> Tensor:
        """τ, the factor of the scores."""
        return self.log_temperature.exp()

    def forward(self, query: Candidates | Tensor, support: Candidates | Tensor) -> Alignment:
        """Align every query with every support, plans included; for many pairs use ``scores``.

        Raises:
            ArgumentError: Descriptors of different size, or groups other than the module's.
        """
        queries, supports = self._checked(query, support)
        mode = self.config.groups
        plans: list[tuple[list[int], Tensor, Tensor]] = []
        total: Tensor | float = 0.0
        for groups, *sides in self._sides(queries, supports):
            matched, plan, similarity = self._align(*sides, plans=True)
            total = total + self._weighted(matched, groups)
            plans.append((groups, plan, similarity))
        assert isinstance(total, Tensor)
        largest = (max(side.layout.sizes(mode)) for side in (queries, supports))
        plan = total.new_zeros(*total.shape, len(self.groups), *largest)
        similarity = torch.zeros_like(plan)
        for groups, part, cosines in plans:
            s, r = part.shape[-2:]
            plan[..., groups, :s, :r] = part.to(plan)
            similarity[..., groups, :s, :r] = cosines.to(plan)
        exists = [
            side.layout.partition(mode, total.device).mask.expand(
                side.descriptors.shape[-3], -1, -1
            )
            for side in (queries, supports)
        ]
        return Alignment(self.temperature * total, plan, similarity, *exists)

    def scores(
        self, query: Candidates | Tensor, support: Candidates | Tensor
    ) -> Float[Tensor, "*e q n"]:
        """Scores alone, queries in chunks that hold at most ``config.budget`` similarities."""
        queries, supports = self._checked(query, support)
        return self._scores(queries, supports, lambda side: side)

    def against(
        self, support: Candidates | Tensor
    ) -> Callable[[Candidates | Tensor], Float[Tensor, "*e q n"]]:
        """``scores`` with supports that are made ready once, for queries of the same layout."""
        _, supports = self._checked(support, support)
        mode, layout = self.config.groups, supports.layout
        places = [(groups, size) for groups, size, _ in by_size(layout, layout, mode=mode)]
        ready = make_sides(supports, places, mode=mode)

        def scores(query: Candidates | Tensor) -> Tensor:
            queries, _ = self._checked(query, supports)
            sides = make_sides(queries, places, mode=mode)
            return self._total(zip([groups for groups, _ in places], sides, ready, strict=True))

        return scores

    def score_shots(
        self,
        query: Candidates | Tensor,
        support: Candidates | Tensor,
        *,
        labels: Int[Tensor, " n"],
        way: int,
        rule: str = "scores",
    ) -> Float[Tensor, "*e q w"]:
        """Scores of classes with one or more supports each.

        Args:
            query: Q queries.
            support: N supports.
            labels: Their classes, 0..way−1, each at least once.
            way: Number of classes.
            rule: ``"scores"``: mean of the scores; ``"descriptors"``: one support per class, of
                mean descriptors; ``"pooled"``: all candidates of a class as one set.

        Raises:
            EpisodeError: A label outside 0..way−1, or a class without a support.
            ArgumentError: An unknown rule; ``"pooled"`` with OTAM, which needs sequences.
        """
        if rule not in RULES:
            raise ArgumentError(f"rule is {rule!r}; expected one of {', '.join(RULES)}")
        if rule == "scores":
            return mean_over_shots(self.scores(query, support), labels, way=way)
        queries, supports = self._checked(query, support)
        if rule == "descriptors":
            means = class_prototypes(l2_normalise(supports.centred()), labels, way=way)
            return self.scores(queries, replace(supports, descriptors=means, common=None))
        if self.config.alignment == "otam":
            raise ArgumentError("rule 'pooled' makes a set of candidates and otam aligns sequences")
        return self._scores(queries, supports, lambda side: pool_shots(side, labels, way))

    def _checked(
        self, query: Candidates | Tensor, support: Candidates | Tensor
    ) -> tuple[Candidates, Candidates]:
        sides = as_candidates(query), as_candidates(support)
        for side in sides:
            check_groups(side, mode=self.config.groups, expected=self.groups)
        sizes = [side.descriptors.shape[-1] for side in sides]
        if sizes[0] != sizes[1]:
            raise ArgumentError(
                f"query descriptors have {sizes[0]} values and support descriptors "
                f"{sizes[1]}; both must come from one block"
            )
        return sides

    def _scores(
        self, query: Candidates, support: Candidates, merge: Callable[[Side], Side]
    ) -> Tensor:
        sides = self._sides(query, support)
        return self._total((groups, queries, merge(shots)) for groups, queries, shots in sides)

    def _total(self, sides: Iterable[tuple[list[int], Side, Side]]) -> Tensor:
        total: Tensor | float = 0.0
        for groups, queries, supports in sides:
            parts = [
                self._align(some, supports, plans=False)[0]
                for some in self._chunks(queries, supports)
            ]
            total = total + self._weighted(torch.cat(parts, -3), groups)
        assert isinstance(total, Tensor)
        return self.temperature * total

    def _sides(
        self, query: Candidates, support: Candidates
    ) -> Iterator[tuple[list[int], Side, Side]]:
        """Groups that have one size on each side together, and both sides of them."""
        mode = self.config.groups
        sizes = by_size(query.layout, support.layout, mode=mode)
        queries = make_sides(query, [(groups, s) for groups, s, _ in sizes], mode=mode)
        supports = make_sides(support, [(groups, r) for groups, _, r in sizes], mode=mode)
        return zip([groups for groups, *_ in sizes], queries, supports, strict=True)

    def _chunks(self, query: Side, support: Side) -> list[Side]:
        """The queries in chunks within the budget.

        A recorded graph, whose number of queries is open, takes them all at once.
        """
        if recording():
            return [query]
        held = support.own.numel() * query.own.shape[-1]  # similarities that one query needs
        step = max(self.config.budget // held, 1)
        if step >= len(query.mask):
            return [query]  # and no slice, whose gradient would be a copy
        starts = range(0, len(query.mask), step)
        return [query.videos(slice(start, start + step)) for start in starts]

    def _weighted(self, matched: Tensor, groups: list[int]) -> Tensor:
        """Sum over groups (last axis) with their weights."""
        return (matched * self.weights[groups].to(matched)).sum(-1)

    def _align(self, query: Side, support: Side, *, plans: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Σ plan ⊙ similarity (*e q n g), plan and similarity (*e q n g s r).

        Without ``plans`` OTAM, whose score needs none, gives no plan.
        """
        similarity = pair_similarity(query.unit, support.unit)
        if self.config.alignment == "otam":
            return *self._otam(similarity, plans=plans), similarity
        plan = self._plan(similarity, query, support)
        return (plan * similarity).sum((-2, -1)), plan, similarity

    def _plan(self, similarity: Tensor, query: Side, support: Side) -> Tensor:
        rows = query.mask[:, None].expand(similarity.shape[:-1])
        columns = support.mask.expand(*similarity.shape[:-2], -1)
        if self.config.alignment == "bimhm":
            return fixed.bimhm_plan(similarity, rows, columns)
        a, b = (marginals.uniform(side, dtype=similarity.dtype) for side in (rows, columns))
        if self.config.alignment == "global":
            return fixed.product_plan(a, b)
        if self.config.alignment == "diagonal":
            return fixed.monotone_plan(a, b)
        return self._transport(similarity, query, support, rows, columns)

    def _transport(
        self, similarity: Tensor, query: Side, support: Side, rows: Tensor, columns: Tensor
    ) -> Tensor:
        config = self.config
        own, other = query.own.unsqueeze(-3), support.own.unsqueeze(-4)
        a = self._mass(similarity, own, query.times[:, None], rows, columns)
        b = self._mass(similarity.mT, other, support.times, columns, rows)
        if min(similarity.shape[-2:]) == 1:
            return fixed.product_plan(a, b)  # there is only one way
        lag = query.times[:, None, :, :, None, 0] - support.times[None, :, :, None, :, 0]
        cost = 1 - similarity + config.time_cost * lag.abs()
        if config.solver == "exact":
            return exact_plan(cost, a, b)
        epsilon: Tensor | float = config.epsilon
        # Cosines differ by 2 at most, times, which lie in [0, 1], by 1.
        span: float | None = (2 + config.time_cost) / config.epsilon
        if config.epsilon_rule == "spread":
            epsilon, span = epsilon * cost_spread(cost.detach(), rows, columns), None
        return sinkhorn(
            cost,
            a,
            b,
            epsilon=epsilon,
            iterations=config.iterations,
            rounding=config.rounding,
            span=span,
        )

    def _mass(
        self, similarity: Tensor, own: Tensor, times: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """Masses (q, n, g, s) of the rows of ``similarity``."""
        kind = self.config.marginals
        if kind == "uniform":
            return marginals.uniform(rows, dtype=similarity.dtype)
        own = own.expand(rows.shape)
        if kind == "distinct":
            return marginals.distinct(own, rows, power=self.config.power)
        relevance = similarity.sum(-1) / columns.sum(-1, keepdim=True)
        if kind == "cross":
            return marginals.cross_reference(relevance, rows)
        assert self.gate is not None
        best = similarity.where(columns[..., None, :], -1.0).amax(-1)
        extent = times[..., 1].expand(rows.shape)
        change = self.gate(
            torch.stack([own, relevance, best, extent], -1).to(self.weights)
        ).squeeze(-1)
        start = self.config.power * own.log() if self.config.gate_start == "distinct" else 0.0
        log_mass: Tensor = (start + change.to(similarity)).masked_fill(~rows, -torch.inf)
        return log_mass.softmax(-1)

    def _otam(self, similarity: Tensor, *, plans: bool) -> tuple[Tensor, Tensor]:
        """1 − (both soft distances)/(n + m), and the expected path."""
        s, r = similarity.shape[-2:]
        distance, softening = 1 - similarity, self.config.softening
        total = fixed.otam_distance(distance, softening=softening)
        total = total + fixed.otam_distance(distance.mT, softening=softening)
        plan = fixed.otam_plan(distance, softening=softening) if plans else distance
        return 1 - total / (s + r), plan


def _hold(module: nn.Module, name: str, value: Tensor, *, learn: bool) -> None:
    """Parameter or buffer of the same name, so that checkpoints do not depend on which."""
    if learn:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)


def _gate() -> nn.Sequential:
    """Four quantities of a candidate → change of its log-mass, zero before training."""
    last = nn.Linear(8, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), last)
