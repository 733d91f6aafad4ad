"""The heads that ``train_controls.py`` trains: baselines, the A²M² head's controls, and its ablations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from build_free_head import CONFIG
from torch import Tensor, nn

from a2m2_zoo.backbones import Features
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod
from a2m2_zoo.methods.blocks import M2Block
from a2m2_zoo.training.recipes import recipe
from a2m2_zoo.zoo.training_free import set_statistics

LITE0 = recipe("a2m2-lite0")  # the budget, the classes and the distortions of all heads
assert LITE0.generated is not None
assert LITE0.distortion is not None
GENERATED, DISTORTION = LITE0.generated, LITE0.distortion


@dataclass(frozen=True)
class Head:
    """What is trained.

    Attributes:
        group: The table it belongs to.
        method: A key of ``METHODS``.
        m2: Changes to both M² blocks of the shipped configuration (``"stages"``: which are kept).
        a2: Changes to its alignment.
        other: Changes to the rest of the configuration.
        classes: Generated classes to train on.
        lr: Highest learning rate.
        steps: Steps, four episodes each; 0 is the run's own.
        seeds: How many runs at most.
        domain: Deviation of the domains it is trained in.
        after: Changes to the alignment, or the rule over shots, of the trained ``FIRST``.
    """

    group: str
    method: str = "a2m2"
    m2: dict[str, Any] = field(default_factory=dict)
    a2: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    classes: int = GENERATED.classes
    lr: float = LITE0.training_config.lr
    steps: int = 0
    seeds: int = 3
    domain: float = 0.15
    after: dict[str, Any] = field(default_factory=dict)


FIRST = "transport"  # what alignments and ablations are compared with
START = {"temperature": 4.0}  # near what fits the training-free head
WHOLE = {"scales": (1,), "cells": (1,)}  # every frame's whole picture: a fifth of the cost
# Learning rates; a run of the last two takes ten minutes, and TRX fourteen gigabytes.
BASELINES = {"protonet": 1e-3, "otam": 1e-3, "trx": 1e-3, "molo": 1e-4}
RATES = (1e-4, 3e-4, 1e-3, 3e-3)  # the rates were chosen from these, on generated classes
SHIPPED: dict[str, Any] = {"steps": 400, "domain": DISTORTION.domain, "seeds": 1}
HEADS: dict[str, Head] = {
    "a2m2": Head("baselines", m2={"reduce": "context"}, a2=START, **SHIPPED),
    **{
        f"a2m2-{name}": Head(
            "baselines", m2={"reduce": "context"}, a2={**START, "alignment": name}, **SHIPPED
        )
        for name in ("diagonal", "bimhm")
    },
    **{name: Head("baselines", name, lr=lr, **SHIPPED) for name, lr in BASELINES.items()},
    **{
        f"{name}, rate {lr:g}": Head("rates", name, lr=lr, **SHIPPED)
        for name in BASELINES
        for lr in RATES
    },
    "transport": Head("alignment", m2=WHOLE),
    **{
        f"{name} alignment": Head("alignment", m2=WHOLE, a2={"alignment": name})
        for name in ("diagonal", "global", "bimhm", "otam")
    },
    "quarters too": Head("m2"),
    "neighbourhoods": Head("m2", m2={**WHOLE, "reduce": "context"}),
    "windows of 1, 2, 4 and all": Head("m2", m2={"scales": (1, 2, 4, 0), "cells": (1,) * 4}),
    "frames alone": Head("m2", m2={**WHOLE, "motion": "none"}),
    "motion alone": Head("m2", m2={**WHOLE, "motion": "branch"}, a2={"weights": (0.0, 1.0) * 2}),
    "14² map alone": Head("m2", m2={**WHOLE, "stages": ("s14",)}),
    "7² map alone": Head("m2", m2={**WHOLE, "stages": ("s7",)}),
    "covariance, no root": Head("m2", m2={**WHOLE, "normalise": "none"}),
    "d = 16": Head("m2", m2={**WHOLE, "dim": 16}),
    "uniform masses": Head("a2", m2=WHOLE, a2={"marginals": "uniform"}),
    "cross reference": Head("a2", m2=WHOLE, a2={"marginals": "cross"}),
    "distinctiveness, p = 1": Head("a2", m2=WHOLE, a2={"power": 1.0}),
    "learned gate": Head("a2", m2=WHOLE, a2={"marginals": "gate"}),
    "no time cost": Head("a2", m2=WHOLE, a2={"time_cost": 0.0}),
    "time cost 1.5": Head("a2", m2=WHOLE, a2={"time_cost": 1.5}),
    "ε = 0.1": Head("a2", m2=WHOLE, a2={"epsilon": 0.1}),
    **{
        f"{count} classes": Head("classes", m2=WHOLE, classes=count, seeds=1)
        for count in (40, 160, 400, 800)
    },
    "exact after training": Head("a2", m2=WHOLE, after={"solver": "exact"}),
    "shots: mean descriptors": Head("a2", m2=WHOLE, after={"shots": "descriptors"}),
    "shots: one set": Head("a2", m2=WHOLE, after={"shots": "pooled"}),
}


class Projected(PairwiseMethod):
    """A method without parameters behind a learned projection of the frame vectors, and a temperature.

    What a first-order head can learn on a frozen backbone: the methods' own papers tune the backbone.
    """

    def __init__(self, inner: Method, channels: int) -> None:
        super().__init__()
        assert isinstance(inner, PairwiseMethod)
        self.inner = inner
        self.config = inner.config
        self.stages = inner.stages
        self.project = nn.Linear(channels, 512)
        nn.init.orthogonal_(self.project.weight)
        self.log_temperature = nn.Parameter(torch.tensor(2.0))

    def encode(self, features: Features) -> Descriptors:
        """The inner method's descriptors of projected vectors."""
        return self.inner.encode(Features(features.maps, self.project(features.pooled.float())))

    def pairs(self, query: Descriptors, support: Descriptors) -> Tensor:
        """The inner method's, by the temperature."""
        return self.log_temperature.exp() * self.inner.pairs(query, support)


def a2m2_config(head: Head) -> A2M2Config:
    """The shipped configuration with the head's changes."""
    changes = dict(head.m2)
    stages = changes.pop("stages", tuple(CONFIG.m2))
    m2 = {stage: replace(CONFIG.m2[stage], **changes) for stage in stages}
    groups = sum(len({n.split("@")[0] for n in block.group_names}) for block in m2.values())
    a2 = replace(CONFIG.a2, **{"weights": (1.0,) * groups, "learn_temperature": True, **head.a2})
    return replace(CONFIG, m2=m2, a2=a2, **head.other)


def built(head: Head, statistics: Features, backbone: Any, seed: int) -> Method:
    """The head before training: A²M² training-free, the others with seeded weights."""
    torch.manual_seed(seed)
    kind, config = METHODS[head.method]
    if head.method != "a2m2":
        made: Method = kind(config.for_backbone(backbone, frames=8))
        return (
            made
            if any(True for _ in made.parameters())
            else Projected(made, backbone.pooled_channels)
        )
    method = A2M2(a2m2_config(head))
    for stage, block in method.blocks.items():
        assert isinstance(block, M2Block)
        set_statistics(block, statistics.maps[stage])
    return method


def after_training(method: Method, head: Head) -> Method:
    """The method with what the head changes after training."""
    assert isinstance(method, A2M2)
    changes = dict(head.after)
    rule = changes.pop("shots", method.config.shots)
    a2 = replace(method.config.a2, **changes)
    made = A2M2(replace(method.config, a2=a2, shots=rule))
    made.load_state_dict(method.weights())
    return made.eval()
