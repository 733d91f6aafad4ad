"""Everything that decides what a training run computes, in one frozen record."""

from __future__ import annotations

from dataclasses import dataclass

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._config import Config

PRECISIONS = ("float32", "bfloat16", "float16")
OPTIMISERS = ("adamw", "adam", "sgd")
SCHEDULES = ("cosine", "steps")
RULES = ("mean", "ridge")
_STEPS = 10**9


@dataclass(frozen=True)
class TrainingConfig(Config):
    """Sizes of the episodes, the optimiser and its schedule, validation and checkpoints.

    Attributes:
        way: Classes per episode.
        shot: Supports per class.
        most_shots: Where batches differ: each has a number of supports per class from ``shot`` to this, all
            equally often, and as many episodes as come nearest to the clips of ``batch`` episodes of
            ``shot``; 0: always ``shot``.
        rule: How the pair scores of a method with the rule ``ridge`` become the logits that training sees:
            their ``"mean"`` over a class, or ``"ridge"`` regression over the supports.
        query: Queries per class.
        batch: Episodes that go through the method at once.
        deals: Episodes that share the clips of one draw, each clip encoded once for all of them; 1 gives
            every episode its own.
        pool: Classes of a draw, where ``deals`` is above 1; 0 takes ``way``.
        accumulate: Batches per step of the optimiser, on every process.
        steps: Steps of the optimiser.
        lr: Highest learning rate of the method, reached after ``warmup``.
        warmup: Steps of linear growth from ``warmup_start``.
        warmup_start: Share of the highest rate that the growth begins at.
        schedule: ``"cosine"``: after the warm-up the rate falls to 0 at ``steps``; ``"steps"``: it is the
            highest times the factor of the last milestone, as published recipes have it.
        milestones: Steps from which each of ``factors`` holds; none keeps the rate constant.
        factors: One for each milestone.
        optimiser: ``"adamw"``; ``"adam"``, whose weight decay is part of the gradient; ``"sgd"``, without
            momentum.
        weight_decay: On parameters of two or more dimensions; biases, norms, gates and temperatures have
            none.
        betas: AdamW's and Adam's.
        clip: Largest norm of the gradient; 0 does not clip.
        precision: ``"float32"``, or the one of automatic mixed precision: ``"bfloat16"``,
            ``"float16"`` (with a loss scale).
        backbone_lr: Highest learning rate of the backbone; 0 keeps it frozen.
        freeze_norms: Keep the batch statistics of a tuned backbone as they are. The official code of
            MoLo, HyRSM and CLIP-FSAR does not.
        validate_every: Steps between validations; 0 validates at the start and the end alone.
        validate_episodes: Episodes per validation and number of shots.
        validate_shots: Supports per class in validation; its accuracy is the mean over these.
        patience: Validations without a better one until the run stops; 0 never stops it.
        seed: Of the weights that are added for training, of dropout and of the validation's episodes;
            the source has its own.
        checkpoint_every: Steps between saved states.
        log_every: Steps between log lines.
    """

    way: int = 5
    shot: int = 1
    most_shots: int = 0
    rule: str = "mean"
    query: int = 5
    batch: int = 4
    deals: int = 1
    pool: int = 0
    accumulate: int = 1
    steps: int = 2000
    lr: float = 1e-4
    warmup: int = 100
    warmup_start: float = 0.0
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()
    optimiser: str = "adamw"
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.999)
    clip: float = 1.0
    precision: str = "float32"
    backbone_lr: float = 0.0
    freeze_norms: bool = False
    validate_every: int = 200
    validate_episodes: int = 600
    validate_shots: tuple[int, ...] = (1, 5)
    patience: int = 10
    seed: int = 0
    checkpoint_every: int = 200
    log_every: int = 10

    def __post_init__(self) -> None:
        self._integer("way", low=2)
        for name in ("shot", "query", "batch", "deals", "accumulate"):
            self._integer(name, low=1)
        self._integer("validate_episodes", low=1, high=100_000)
        for name in ("steps", "checkpoint_every", "log_every"):
            self._integer(name, low=1, high=_STEPS)
        for name in ("warmup", "validate_every", "patience"):
            self._integer(name, low=0, high=_STEPS)
        for name in ("pool", "most_shots"):
            self._integer(name, low=0)
        if self.most_shots and self.most_shots < self.shot:
            raise ArgumentError(
                f"most_shots is {self.most_shots} and shot {self.shot}; expected {self.shot} or more, or 0"
            )
        self._choice("rule", RULES)
        self._integer("seed", low=0, high=2**53)
        self._check_deals()
        self._number("lr", low=0.0, above=True)
        for name in ("weight_decay", "clip", "backbone_lr", "warmup_start"):
            self._number(name, low=0.0)
        if self.warmup_start > 1:
            raise ArgumentError(f"warmup_start is {self.warmup_start}; expected a share, 0 to 1")
        self._choice("precision", PRECISIONS)
        self._choice("optimiser", OPTIMISERS)
        self._choice("schedule", SCHEDULES)
        self._check_milestones()
        self._flag("freeze_norms")
        self._numbers("betas")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ArgumentError(f"betas is {self.betas}; expected two numbers of 0 to below 1")
        self._integers("validate_shots", low=1)
        if not self.validate_shots or len(set(self.validate_shots)) < len(self.validate_shots):
            raise ArgumentError(
                f"validate_shots is {self.validate_shots}; expected each once, such as 1, 5"
            )
        if self.warmup >= self.steps:
            raise ArgumentError(
                f"warmup is {self.warmup} of {self.steps} steps; expected fewer than all of them"
            )

    def _check_deals(self) -> None:
        if self.batch % self.deals:
            raise ArgumentError(
                f"batch is {self.batch} and deals {self.deals}; expected a multiple of deals, "
                f"such as {-(-self.batch // self.deals) * self.deals}"
            )
        if self.pool and (self.deals == 1 or self.pool < self.way):
            raise ArgumentError(
                f"pool is {self.pool} with deals {self.deals} and way {self.way}; expected deals above 1 "
                "and at least as many classes as an episode has, or 0"
            )

    def _check_milestones(self) -> None:
        self._integers("milestones", low=1, high=_STEPS)
        self._numbers("factors")
        pairs = f"milestones are {self.milestones} and factors {self.factors}"
        if self.schedule != "steps" and (self.milestones or self.factors):
            raise ArgumentError(f"{pairs}; they need schedule 'steps'")
        if len(self.milestones) != len(self.factors) or any(f < 0 for f in self.factors):
            raise ArgumentError(f"{pairs}; expected one factor of 0 or more for each milestone")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ArgumentError(f"milestones are {self.milestones}; expected growing steps")
