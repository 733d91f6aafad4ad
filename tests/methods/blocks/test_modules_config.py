import json

import pytest

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks import A2Config, M2Config

CONFIGS = [
    M2Config(channels=8),
    M2Config(channels=8, reduce="context", ratio=3),
    M2Config(
        channels=3,
        dim=8,
        reduce="mlp",
        ratio=4,
        norm="batch",
        grid=7,
        scales=(0, 0, 1),
        cells=(1, 2, 1),
        overlap=True,
        motion="half",
        lag=2,
        normalise="log",
    ),
    A2Config(),
    A2Config(alignment="otam", groups="scale", weights=(0.25, 0.75), solver="exact", rounding=True),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_json_and_back(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *[("m2", n, v) for n in ("channels", "dim", "ratio", "iterations") for v in (0, 1.5, True)],
        *[("m2", n, v) for n in ("grid", "lag") for v in (-1, "1")],
        ("m2", "scales", ()),
        ("m2", "scales", (-1,)),
        ("m2", "scales", 4),
        ("m2", "cells", (1,)),
        ("m2", "cells", (0, 1, 1, 1)),
        ("m2", "overlap", 1),
        *[("m2", n, "x") for n in ("reduce", "norm", "motion", "normalise", "normaliser")],
        *[
            ("a2", n, "x")
            for n in ("alignment", "groups", "marginals", "gate_start", "epsilon_rule", "solver")
        ],
        *[("a2", n, v) for n in ("epsilon", "temperature", "softening") for v in (0, -1.0, None)],
        *[("a2", n, float("nan")) for n in ("epsilon", "power", "time_cost")],
        ("a2", "epsilon", float("inf")),
        ("a2", "power", -0.1),
        ("a2", "time_cost", -0.1),
        *[("a2", n, "yes") for n in ("rounding", "learn_temperature", "learn_weights")],
        *[("a2", n, 0) for n in ("iterations", "budget")],
        ("a2", "weights", ("1",)),
        ("a2", "weights", (float("nan"),)),
    ],
)
def test_every_field_refuses_by_name(kind, name, value):
    base = {"channels": 8} if kind == "m2" else {}
    with pytest.raises(ArgumentError) as caught:
        (M2Config if kind == "m2" else A2Config).from_dict(base | {name: value})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_and_missing_keys_are_named():
    with pytest.raises(ArgumentError, match=r"no dims, scale; its fields are channels, dim"):
        M2Config.from_dict({"channels": 8, "dims": 3, "scale": 1})
    with pytest.raises(ArgumentError, match="channels"):
        M2Config.from_dict({})


def test_dim_must_divide_into_its_parts():
    M2Config(channels=8, dim=4, motion="half", lag=1)
    with pytest.raises(ArgumentError, match="dim is 6"):
        M2Config(channels=8, dim=6, motion="half", lag=1)


def test_group_names():
    config = M2Config(channels=8, scales=(0, 0, 2, 0), cells=(1, 2, 1, 1))
    names = ("clip", "clip@2x2", "2", "clip#2")
    assert config.group_names == tuple(f"{b}/{n}" for b in ("frames", "motion") for n in names)
