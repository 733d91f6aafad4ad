"""What every method must keep, whatever it computes: the checks that other people's methods are held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Method, PairwiseMethod, split, take
from a2m2_zoo.methods.blocks import A2Config, M2Config
from a2m2_zoo.methods.ridge_rule import RidgeRule
from a2m2_zoo.testing import METHOD_CHECKS
from a2m2_zoo.testing.methods import check_losses, check_own, drawn_features

FRAMES = 8
NAMES = sorted(METHODS)
BACKBONE = build_backbone("tiny")

#: Parameters that a configuration's losses rightly do not reach.
ALLOWED_IDLE = {"clip-fsar": {"scale"}}  # scales the texts, and there are none here


def build(name: str) -> Method:
    config = METHODS[name][1]
    torch.manual_seed(0)
    if config is A2M2Config:
        stages = BACKBONE.stages.items()
        m2 = {s: M2Config(channels=c, dim=4, scales=(1, 0)) for s, c in stages}
        return build_method(name, A2M2Config(m2=m2, a2=A2Config(groups="scale")).to_dict()).eval()
    made = config.for_backbone(BACKBONE, frames=FRAMES)
    return build_method(name, made.to_dict()).eval()


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_the_contract(name: str, check: Callable[..., None]) -> None:
    if check is check_own and name == "otam":
        pytest.skip(
            "otam: a soft minimum over paths, a clip may be nearer to another than to itself"
        )
    extra = {"idle": ALLOWED_IDLE.get(name, set())} if check is check_losses else {}
    check(partial(build, name), BACKBONE, **extra)


@pytest.mark.parametrize("centring", [0.0, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_ridge_regression_asks_the_same_pairs(name: str, centring: float) -> None:
    method = build(name)
    if not isinstance(method, PairwiseMethod):
        pytest.skip(f"{name} compares a query with classes")
    if centring:
        if not isinstance(method, A2M2):
            pytest.skip(f"{name} has no centring")
        method = A2M2(replace(method.config, centring=centring)).eval()
    with torch.inference_mode():
        clips = dict(method.encode(drawn_features(BACKBONE, 6)))
        support = split(take(clips, slice(2, 6)), 1)
        against = method.against(support)
        for query in (split(take(clips, slice(i, i + 1)), 1) for i in range(2)):
            assert against(query).equal(method.pairs(query, support))
            assert against(query).equal(RidgeRule(method).against(support)(query))
