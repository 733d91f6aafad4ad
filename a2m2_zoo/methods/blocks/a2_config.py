"""Configuration of the A² module."""

from __future__ import annotations

from dataclasses import dataclass

from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.methods.blocks.candidates import MODES


@dataclass(frozen=True)
class A2Config(Config):
    """Everything that decides what an ``A2Module`` computes.

    Attributes:
        alignment: ``"transport"``, or a fixed control on the same descriptors: ``"diagonal"``,
            ``"global"``, ``"bimhm"``, ``"otam"``.
        groups: ``"joint"``: all candidates of a branch are transported together; ``"scale"``:
            those of each (branch, scale) by themselves; ``"window"``: the same, and all cells of one
            window are one candidate, alike where they are alike in each cell.
        marginals: ``"uniform"``, ``"cross"`` (reference to the other video), ``"distinct"`` (what
            the video does not do elsewhere), or ``"gate"`` (learned, on the same quantities).
        power: p of the distinctiveness.
        gate_start: What an untrained gate equals: ``"uniform"`` or ``"distinct"``.
        time_cost: λ of the cost λ·|t_i − t_j| between window centres.
        epsilon: Weight of the entropy, in the unit of ``epsilon_rule``.
        epsilon_rule: ``"absolute"``: the cost's; ``"spread"``: standard deviations of the costs of
            the pair.
        solver: ``"sinkhorn"``, or ``"exact"`` (the plan has no gradient).
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
        self._choice("groups", MODES)
        self._choice("marginals", ("uniform", "cross", "distinct", "gate"))
        self._choice("gate_start", ("uniform", "distinct"))
        self._choice("epsilon_rule", ("absolute", "spread"))
        self._choice("solver", ("sinkhorn", "exact"))
        self._flag("rounding", "learn_temperature", "learn_weights")
        self._integer("iterations", low=1, high=2000)
        self._integer("budget", low=1, high=2**30)
        self._number("power", low=0.0)
        self._number("time_cost", low=0.0)
        for name in ("epsilon", "softening", "temperature"):
            self._number(name, low=0.0, above=True)
        self._numbers("weights")
