"""Headers of checkpoints that promise what is not there, or ask for more than there is."""

from __future__ import annotations

import copy
import json
import os
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from makers_files import forged, raw_safetensors, within

from a2m2_zoo import load_model
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.start import read_settings
from a2m2_zoo.zoo.heads import read_head

LONG = 1000 if os.environ.get("A2M2_LONG") else 0
BIG = 10**9
DEEP: Any = json.loads("[" * 50 + "]" * 50)
NASTY: list[Any] = [
    *(BIG, -1, 0, 10**17, 65_536, 1e9, 1e-300, -0.5, 0.3, 1e30),
    *(True, None, "", "x", "x" * 100_000, [], {}, [BIG], [1] * 10_000, [[1]], {"a": 1}, DEEP),
]


def header(**tensor: Any) -> dict[str, Any]:
    return {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **tensor}}


SOUND = raw_safetensors(header(), b"\0" * 8)
BROKEN = {
    "nothing": b"",
    "a length alone": SOUND[:8],
    "cut short": SOUND[:-1],
    "too long": SOUND + b"\0",
    "a header of an exabyte": b"\xff" * 7 + b"\x0f" + SOUND[8:],
    "a negative length": b"\xff" * 8 + SOUND[8:],
    "no object": raw_safetensors(b"[1, 2]"),
    "no json": raw_safetensors(b"{{{{"),
    "no text": raw_safetensors(b"\xff\xfe\xff\xfe"),
    "nested": raw_safetensors(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "float8": raw_safetensors(header(dtype="F8_E4M3", shape=[8]), b"\0" * 8),
    "complex": raw_safetensors(header(dtype="C64", shape=[1]), b"\0" * 8),
    "a type that is none": raw_safetensors(header(dtype=7), b"\0" * 8),
    "a shape of 2**60": raw_safetensors(header(shape=[2**60]), b"\0" * 8),
    "a shape that overflows": raw_safetensors(header(shape=[2**33, 2**33]), b"\0" * 8),
    "a negative shape": raw_safetensors(header(shape=[-2]), b"\0" * 8),
    "a shape of floats": raw_safetensors(header(shape=[2.0]), b"\0" * 8),
    "100 dimensions": raw_safetensors(header(shape=[2, *[1] * 99]), b"\0" * 8),
    "a place outside": raw_safetensors(header(data_offsets=[8, 16]), b"\0" * 8),
    "a place backwards": raw_safetensors(header(data_offsets=[8, 0]), b"\0" * 8),
    "a place of 400 digits": raw_safetensors(header(data_offsets=[0, 10**400]), b"\0" * 8),
    "infinity": raw_safetensors(header(shape=[float("inf")]), b"\0" * 8),
    "overlapping": raw_safetensors({**header(), "u": header()["t"]}, b"\0" * 8),
    "metadata of numbers": raw_safetensors({**header(), "__metadata__": {"a": 1}}, b"\0" * 8),
    "metadata of lists": raw_safetensors({**header(), "__metadata__": []}, b"\0" * 8),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_headers_are_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(BROKEN[name])
    for read in (
        lambda: checkpoint.load(path, kind="model"),
        lambda: checkpoint.read_tensors(path, sha256=None),
    ):
        with within(5), pytest.raises(CheckpointError, match="not a safetensors file") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_the_sound_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(SOUND)
    found = checkpoint.read_tensors(tmp_path / "m.safetensors", sha256=None)
    assert found["t"].tolist() == [0, 0]


def base() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    model = load_model("a2m2-lite0")
    return model.record(), model.method.weights()


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a record where a value stands."""
    inside = value.items() if isinstance(value, dict) else ()
    return [at, *(place for key, part in inside for place in places(part, (*at, key)))]


def put(record: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(record)
    inner: Any = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def test_no_value_of_a_models_record_is_believed() -> None:
    record, tensors = base()
    every = [(place, value) for place in places(record) if place for value in NASTY]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for place, value in random.Random(0).sample(every, LONG or 80):
        with within(8):
            try:
                read_head(put(record, place, value), tensors, "m.safetensors")
            except CheckpointError as error:
                refused += 1
                shown = str(error)
                if "\n" in shown or len(shown) > 1500:
                    pytest.fail(f"{place} = {value!r:.60}: {shown:.300}", pytrace=False)
    assert refused > (LONG or 80) / 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10  # KiB


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("config", "frames"), BIG),
        (("config", "m2", "s7", "cells"), [1, BIG]),
        (("config", "m2", "s7", "cells"), [1, 10_000]),
        (("config", "m2", "s7", "scales"), [0] * 100_000),
        (("config", "m2", "s7", "dim"), 16_384),
        (("config", "m2", "s7", "channels"), 16_384),
        (("config", "m2", "s7", "iterations"), BIG),
        (("config", "a2", "iterations"), BIG),
        (("config", "m2"), [1]),
        (("config", "a2"), "x"),
        (("config", "pool"), "x"),
        (("preprocess", "frames"), 4096),
        (("preprocess", "size"), 4096),
        (("scales", "1"), 1e300),
        (("scales", "1"), "1"),
        (("scales",), {"9" * 30: 1.0}),
        (("scales",), {"x": 1.0}),
        (("method",), ["a2m2"]),
        (("id",), "x" * 10_000),
    ],
)
def test_what_would_hang_or_fill_the_memory_is_refused(place: tuple[str, ...], value: Any) -> None:
    record, tensors = base()
    changed = put(record, place, value)
    if place == ("preprocess", "size"):
        changed["preprocess"]["resize"] = value
    with within(5), pytest.raises(CheckpointError) as caught:
        read_head(changed, tensors, "m.safetensors")
    assert len(str(caught.value)) < 800


def test_a_head_larger_than_its_file_is_never_built() -> None:
    """Weights are compared by shape before there is memory for them."""
    record, tensors = base()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("trx", "strm", "molo", "clip-fsar", "hyrsm"):
        size = {"channels": 16_384}
        config = METHODS[name][1](**size).to_dict()
        with within(10), pytest.raises(CheckpointError, match="it is another model's"):
            read_head({**record, "method": name, "config": config}, tensors, "m.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 << 10


def test_weights_that_are_no_numbers_are_refused_whoever_vouches_for_them(tmp_path: Path) -> None:
    record, tensors = base()
    name = next(n for n, t in tensors.items() if t.is_floating_point() and t.numel() > 1)
    tensors = {**tensors, name: tensors[name].clone()}
    tensors[name].view(-1)[0] = float("nan")
    path = forged(tmp_path / "m.safetensors", record, tensors, kind="model")
    for call in (
        lambda: load_model(path),
        lambda: load_model(path, sha256=checkpoint.hashlib.sha256(path.read_bytes()).hexdigest()),
        lambda: checkpoint.read_tensors(path, sha256=None),
    ):
        with pytest.raises(CheckpointError, match="not finite"):
            call()
    whole = {**tensors, name: torch.zeros(tensors[name].shape, dtype=torch.int64)}
    with pytest.raises(CheckpointError, match="has the wrong type of"):
        load_model(forged(path, record, whole, kind="model"))


SETTINGS = [
    "lr=" + "[" * 5000,
    "lr=" + "[" * 5000 + "]" * 5000,
    "lr=NaN",
    "lr=Infinity",
    "lr=1e999",
    "steps=1" + "0" * 400,
    "seed=" + "9" * 30,
    "method.m2=5",
    "method.a2=[1]",
    "method.m2.s7=x",
    "method.m2.s7.cells=[1,1000000000]",
    "method.frames=1000000000",
    "way=1000000000",
    "validate_episodes=1000000000",
    "validate_shots=[" + "1," * 10_000 + "1]",
    "precision=" + "x" * 100_000,
    "betas={}",
    "x" * 100_000,
    "=",
    "way",
]


@pytest.mark.parametrize("pair", SETTINGS, ids=lambda pair: f"{pair[:20]}-{len(pair)}")
def test_settings_out_of_all_bounds_are_one_short_line(pair: str) -> None:
    base_config = base()[0]["config"]

    def use() -> None:
        given = read_settings([pair])
        own = {k.removeprefix("method."): v for k, v in given.items() if k.startswith("method.")}
        TrainingConfig.from_dict({k: v for k, v in given.items() if not k.startswith("method.")})
        for name, value in own.items():
            build_method("a2m2", put(base_config, tuple(name.split(".")), value))

    with within(8), pytest.raises(ArgumentError) as caught:
        use()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_every_field_of_every_configuration_has_bounds() -> None:
    """Whatever a field is set to: a configuration, or one short line; never a hang, never another error."""
    chance = random.Random(1)
    kinds = [TrainingConfig, *(config for name, (_, config) in METHODS.items() if name != "a2m2")]
    for kind in kinds:
        for name in kind().to_dict():
            for value in chance.sample(NASTY, 2):
                with within(5):
                    try:
                        kind.from_dict({name: value})
                    except A2M2Error as error:
                        shown = str(error)
                    else:
                        shown = ""
                if len(shown) > 1200:
                    pytest.fail(f"{kind.__name__}.{name}: {shown:.300}", pytrace=False)
