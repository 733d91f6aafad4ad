"""The A² module: candidates of a query and of supports are aligned by instance-guided transport.

A reconstruction: the paper's code is not public. ``docs/method.md`` says what is known and what is
ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from a2m2_zoo._typing import Bool, Float, Int
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.modules._config import Config
from a2m2_zoo.modules.candidates import Candidates, sequence_layout
from a2m2_zoo.ops import alignment as fixed
from a2m2_zoo.ops import marginals
from a2m2_zoo.ops.moments import l2_normalise, without_autocast
from a2m2_zoo.ops.shots import class_prototypes, class_slots, mean_over_shots
from a2m2_zoo.ops.transport import exact_plan, sinkhorn

_SMALLEST_SPREAD = 1e-4  # ε of a pair whose costs are all equal up to rounding
RULES = ("scores", "descriptors", "pooled")


@dataclass(frozen=True)
class A2Config(Config):
    """Everything that decides what an ``A2Module`` computes.

    Attributes:
        alignment: ``"transport"``, or a fixed control on the same descriptors: ``"diagonal"``,
            ``"global"``, ``"bimhm"``, ``"otam"``.
        groups: ``"joint"``: all candidates of a branch are transported together; ``"scale"``:
            those of each (branch, scale) by themselves.
        marginals: ``"uniform"``, ``"cross"`` (reference to the other video), ``"distinct"`` (what
            the video does not do elsewhere), or ``"gate"`` (learned, on the same quantities).
        power: p of the distinctiveness.
        gate_start: What an untrained gate equals: ``"uniform"`` or ``"distinct"``.
        time_cost: λ of the cost λ·|t_i − t_j| between window centres.
        epsilon: Weight of the entropy, in the unit of ``epsilon_rule``.
        epsilon_rule: ``"absolute"``: the cost's; ``"spread"``: standard deviations of the costs of
            the pair.
        solver: ``"sinkhorn"``, or ``"exact"`` (CPU, the plan has no gradient).
        iterations: Of Sinkhorn.
        rounding: Make both marginals of Sinkhorn's plan exact.
        softening: λ of OTAM.
        temperature: Start of τ.
        learn_temperature: Whether τ is trained.
        weights: Weight of each group; empty is equal weights that sum to one.
        learn_weights: Whether the weights are trained.
        budget: Similarities (query × support × group × candidate × candidate) held at once by
            ``scores``.
    """

    alignment: str = "transport"
    groups: str = "joint"
    marginals: str = "distinct"
    power: float = 1.0
    gate_start: str = "distinct"
    time_cost: float = 0.3
    epsilon: float = 0.02
    epsilon_rule: str = "absolute"
    solver: str = "sinkhorn"
    iterations: int = 40
    rounding: bool = False
    softening: float = 0.1
    temperature: float = 10.0
    learn_temperature: bool = True
    weights: tuple[float, ...] = ()
    learn_weights: bool = False
    budget: int = 2**22

    def __post_init__(self) -> None:
        self._choice("alignment", ("transport", "diagonal", "global", "bimhm", "otam"))
        self._choice("groups", ("joint", "scale"))
        self._choice("marginals", ("uniform", "cross", "distinct", "gate"))
        self._choice("gate_start", ("uniform", "distinct"))
        self._choice("epsilon_rule", ("absolute", "spread"))
        self._choice("solver", ("sinkhorn", "exact"))
        self._flag("rounding", "learn_temperature", "learn_weights")
        self._integer("iterations", low=1)
        self._integer("budget", low=1)
        self._number("power", low=0)
        self._number("time_cost", low=0)
        for name in ("epsilon", "softening", "temperature"):
            self._number(name, low=0, above=True)
        self._numbers("weights")


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

    scores: Float[Tensor, "q n"]
    plan: Float[Tensor, "q n g s r"]
    similarity: Float[Tensor, "q n g s r"]
    query_mask: Bool[Tensor, "q g s"]
    support_mask: Bool[Tensor, "n g r"]


@dataclass(frozen=True)
class _Side:
    """Videos ready for alignment: unit descriptors by group, padded."""

    unit: Float[Tensor, "v g s d"]
    mask: Bool[Tensor, "v g s"]
    times: Float[Tensor, "v g s 2"]
    own: Float[Tensor, "v g s"]  # distinctiveness of each candidate within its video

    def __getitem__(self, index: slice) -> _Side:
        return _Side(self.unit[index], self.mask[index], self.times[index], self.own[index])


class A2Module(nn.Module):
    """Scores of every (query, support) pair by aligning their candidates.

    Takes ``Candidates``, or tensors (videos, S, D) of per-frame descriptors.

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
                f"{len(config.weights)} weights came for the {len(groups)} groups {', '.join(groups)}"
            )
        self.config = config
        self.groups = tuple(groups)
        start = torch.tensor(config.weights or [1 / len(groups)] * len(groups))
        tau = torch.tensor(math.log(config.temperature))
        _hold(self, "weights", start, learn=config.learn_weights)
        _hold(self, "log_temperature", tau, learn=config.learn_temperature)
        self.gate = _gate() if config.marginals == "gate" else None

    @property
    def temperature(self) -> Tensor:
        """τ, the factor of the scores."""
        return self.log_temperature.exp()

    def forward(self, query: Candidates | Tensor, support: Candidates | Tensor) -> Alignment:
        """Align every query with every support, plans included; for many pairs use ``scores``.

        Raises:
            ArgumentError: Descriptors of different size, or groups other than the module's.
        """
        return self._align(self._side(query), self._side(support))

    def scores(
        self, query: Candidates | Tensor, support: Candidates | Tensor
    ) -> Float[Tensor, "q n"]:
        """Scores alone, queries in chunks so that at most ``config.budget`` similarities are held."""
        return self._scores(self._side(query), self._side(support))

    def score_shots(
        self,
        query: Candidates | Tensor,
        support: Candidates | Tensor,
        *,
        labels: Int[Tensor, " n"],
        way: int,
        rule: str = "scores",
    ) -> Float[Tensor, "q w"]:
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
        if rule == "descriptors":
            known = _as_candidates(support)
            means = class_prototypes(l2_normalise(known.descriptors), labels, way=way)
            return self.scores(query, replace(known, descriptors=means))
        if self.config.alignment == "otam":
            raise ArgumentError("rule 'pooled' makes a set of candidates and otam aligns sequences")
        return self._scores(self._side(query), _pooled(self._side(support), labels, way))

    def _scores(self, query: _Side, support: _Side) -> Tensor:
        n, g, r = support.mask.shape
        step = max(self.config.budget // (n * g * query.mask.shape[2] * r), 1)
        chunks = range(0, len(query.mask), step)
        return torch.cat(
            [self._align(query[i : i + step], support, plans=False).scores for i in chunks]
            or [query.unit.new_zeros(0, n)]
        )

    def _side(self, videos: Candidates | Tensor) -> _Side:
        known = _as_candidates(videos)
        names = known.layout.groups(self.config.groups)
        if names != self.groups:
            raise ArgumentError(
                f"the candidates' groups are {', '.join(names)}; the module was built for "
                f"{', '.join(self.groups)}"
            )
        unit = l2_normalise(known.descriptors)
        part = known.layout.partition(self.config.groups, unit.device)
        gathered = unit[:, part.index] * part.mask[..., None].to(unit)
        videos_count = len(unit)
        mask = part.mask.expand(videos_count, -1, -1)
        with torch.autocast(unit.device.type, enabled=False):
            own = marginals.distinctiveness(gathered @ gathered.mT, mask)
        return _Side(gathered, mask, part.times.to(unit).expand(videos_count, -1, -1, -1), own)

    def _align(self, query: _Side, support: _Side, *, plans: bool = True) -> Alignment:
        if query.unit.shape[-1] != support.unit.shape[-1]:
            raise ArgumentError(
                f"query descriptors have {query.unit.shape[-1]} values and support descriptors "
                f"{support.unit.shape[-1]}; both must come from one block"
            )
        similarity = _similarity(query.unit, support.unit)
        if self.config.alignment == "otam":
            matched, plan = self._otam(similarity, query, support, plans=plans)
        else:
            plan = self._plan(similarity, query, support)
            matched = (plan * similarity).sum((-2, -1))
        scores = self.temperature * (matched * self.weights.to(matched)).sum(-1)
        return Alignment(scores, plan, similarity, query.mask, support.mask)

    def _plan(self, similarity: Tensor, query: _Side, support: _Side) -> Tensor:
        rows = query.mask[:, None].expand(similarity.shape[:-1])
        columns = support.mask[None].expand(*similarity.shape[:3], -1)
        if self.config.alignment == "bimhm":
            return fixed.bimhm_plan(similarity, rows, columns)
        a, b = marginals.uniform(rows).to(similarity), marginals.uniform(columns).to(similarity)
        if self.config.alignment == "global":
            return fixed.product_plan(a, b)
        if self.config.alignment == "diagonal":
            return fixed.monotone_plan(a, b)
        return self._transport(similarity, query, support, rows, columns)

    def _transport(
        self, similarity: Tensor, query: _Side, support: _Side, rows: Tensor, columns: Tensor
    ) -> Tensor:
        config = self.config
        a = self._mass(similarity, query.own[:, None], query.times[:, None], rows, columns)
        b = self._mass(similarity.mT, support.own[None], support.times[None], columns, rows)
        lag = query.times[:, None, :, :, None, 0] - support.times[None, :, :, None, :, 0]
        cost = 1 - similarity + config.time_cost * lag.abs()
        if config.solver == "exact":
            return exact_plan(cost, a, b)
        epsilon: Tensor | float = config.epsilon
        if config.epsilon_rule == "spread":
            epsilon = config.epsilon * _spread(cost.detach(), rows, columns)
        return sinkhorn(
            cost, a, b, epsilon=epsilon, iterations=config.iterations, rounding=config.rounding
        )

    def _mass(
        self, similarity: Tensor, own: Tensor, times: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        """Masses (q, n, g, s) of the rows of ``similarity``."""
        kind = self.config.marginals
        if kind == "uniform":
            return marginals.uniform(rows).to(similarity)
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
        return (start + change.to(similarity)).masked_fill(~rows, -torch.inf).softmax(-1)

    def _otam(
        self, similarity: Tensor, query: _Side, support: _Side, *, plans: bool
    ) -> tuple[Tensor, Tensor]:
        """1 − (both soft distances)/(n + m), and the expected path, group by group.

        Groups are sequences of their own lengths; there are few of them.
        """
        plan = torch.zeros_like(similarity)
        matched = []
        for g in range(similarity.shape[2]):
            s, r = int(query.mask[0, g].sum()), int(support.mask[0, g].sum())
            distance = 1 - similarity[:, :, g, :s, :r]
            total = fixed.otam_distance(distance, softening=self.config.softening)
            total = total + fixed.otam_distance(distance.mT, softening=self.config.softening)
            matched.append(1 - total / (s + r))
            if plans:
                plan[:, :, g, :s, :r] = fixed.otam_plan(distance, softening=self.config.softening)
        return torch.stack(matched, -1), plan


def _as_candidates(videos: Candidates | Tensor) -> Candidates:
    if isinstance(videos, Candidates):
        return videos
    if videos.ndim != 3 or not videos.shape[1]:
        raise ArgumentError(
            f"descriptors have shape {tuple(videos.shape)}; expected (videos, S ≥ 1, D)"
        )
    return Candidates(videos, sequence_layout(videos.shape[1]))


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


@without_autocast
def _similarity(query: Tensor, support: Tensor) -> Tensor:
    """Cosines of all candidates of a group: (q g s d), (n g r d) → (q n g s r)."""
    q, g, s, d = query.shape
    n, _, r, _ = support.shape
    flat = (
        query.transpose(0, 1).reshape(g, q * s, d) @ support.transpose(0, 1).reshape(g, n * r, d).mT
    )
    return flat.reshape(g, q, s, n, r).permute(1, 3, 0, 2, 4).contiguous()


def _spread(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Standard deviation of the costs of each (pair, group) over candidates that exist."""
    exists = (rows[..., :, None] & columns[..., None, :]).to(cost)
    count = exists.sum((-2, -1))
    mean = (cost * exists).sum((-2, -1)) / count
    square = ((cost - mean[..., None, None]).square() * exists).sum((-2, -1)) / count
    return square.sqrt().clamp_min(_SMALLEST_SPREAD)


def _pooled(support: _Side, labels: Tensor, way: int) -> _Side:
    """One set of candidates per class; shots lie side by side within each candidate's place in time."""
    index, exists = class_slots(labels, way=way)

    def pool(x: Tensor) -> Tensor:  # (n g s …) → (w k g s …) → (w g s·k …)
        return x[index].movedim(1, 3).flatten(2, 3)

    shots = exists[:, None, None, :].expand(-1, *support.mask.shape[1:], -1).flatten(2)
    mask = pool(support.mask) & shots
    unit = pool(support.unit) * shots[..., None].to(support.unit)
    return _Side(unit, mask, pool(support.times), pool(support.own))
