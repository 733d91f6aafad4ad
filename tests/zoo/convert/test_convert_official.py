"""Official checkpoints as files: what is opened, what is refused, what is made of it."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import golden_shapes
from safetensors.torch import load_file
from torch import Tensor

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.resnet import map_keys
from a2m2_zoo.errors import ArgumentError, CheckpointError, SaveError
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.zoo.convert import CONVERTERS, convert, official
from a2m2_zoo.zoo.convert.official import read_official, split_backbone
from a2m2_zoo.zoo.load import load_model

WEIGHTS = {"backbone.0.weight": torch.arange(6.0).reshape(2, 3), "scale": torch.ones(1)}


def trx_state(
    channels: int, *, out: int = 8, positions: int = 3, prefix: str = ""
) -> dict[str, Tensor]:
    """A TRX head for pairs of 2 frames, random, under official names."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "k_linear.weight": (out, 2 * channels),
        "k_linear.bias": (out,),
        "v_linear.weight": (out, 2 * channels),
        "v_linear.bias": (out,),
        "norm_k.weight": (out,),
        "norm_k.bias": (out,),
        "norm_v.weight": (out,),
        "norm_v.bias": (out,),
    }
    state = {k: torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    state["pe.pe"] = 0.1 * pair_positions(positions, channels)[None]
    return {f"{prefix}transformers.0.{key}": value for key, value in state.items()}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound checkpoint of TRX on a backbone of a few thousand weights."""
    monkeypatch.setattr(official, "_architecture", lambda backbone, source: "tiny")
    state = {f"resnet.{k}": v for k, v in build_backbone("tiny").state_dict().items()}
    torch.save(state | trx_state(16), tmp_path / "trx.pt")
    return tmp_path / "trx.pt"


@pytest.mark.parametrize("wrapper", ["", "model_state", "model_state_dict", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "head.", "module.head.", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_every_wrapping_gives_the_same_state(
    tmp_path: Path, wrapper: str, prefix: str, zipped: bool
) -> None:
    state: Any = {prefix + key: value for key, value in WEIGHTS.items()}
    if wrapper:
        state = {"epoch": 3, wrapper: state, "optimizer_state": {"lr": 0.1}, "cfg": "A: 1"}
    torch.save(state, tmp_path / "c.pyth", _use_new_zipfile_serialization=zipped)
    found = read_official(tmp_path / "c.pyth")
    assert list(found) == list(WEIGHTS)
    for key, value in WEIGHTS.items():
        assert torch.equal(found[key], value)


def test_module_is_cut_wherever_it_stands(tmp_path: Path) -> None:
    torch.save(
        {"resnet.module.0.weight": torch.ones(1), "fr_enrich.module.a": torch.ones(1)},
        tmp_path / "c",
    )
    assert list(read_official(tmp_path / "c")) == ["resnet.0.weight", "fr_enrich.a"]


class Hostile:
    """Unpickling it would run a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "below"])
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, how: str) -> None:
    trace, path = tmp_path / "trace", tmp_path / "c.pyth"
    payload: Any = {"model_state": WEIGHTS, "cfg": Hostile(trace)}
    if how == "below":
        payload = {"model_state": {**WEIGHTS, "x": Hostile(trace)}}
    if how == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(CheckpointError, match=r"save the weights alone") as caught:
        read_official(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Hostile(trace)))
    assert trace.exists()  # it would have


def cut(path: Path, *, zipped: bool) -> None:
    torch.save({"a": torch.ones(10_000)}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.zip": (lambda p: cut(p, zipped=True), "or was cut short"),
    "cut.legacy": (lambda p: cut(p, zipped=False), "or was cut short"),
    "empty": (lambda p: p.write_bytes(b""), "or was cut short"),
    "text": (lambda p: p.write_text("a letter"), "or was cut short"),
    "module": (
        lambda p: torch.save(torch.nn.Linear(2, 2), p),
        "Linear; such a file could run code",
    ),
    "tensor": (lambda p: torch.save(torch.ones(2), p), "holds no state dict"),
    "nothing": (lambda p: torch.save({}, p), "holds no state dict"),
    "numbers": (lambda p: torch.save({"epoch": 3}, p), "'epoch' is int; expected tensors"),
    "keys": (lambda p: torch.save({3: torch.ones(2)}, p), "'3' is Tensor; expected tensors"),
    "wide": (
        lambda p: torch.save({"a": torch.ones(1).expand(10**12)}, p),
        "claims more weights than it holds",
    ),
    "nan": (
        lambda p: torch.save({"a": torch.tensor([1.0, float("nan")])}, p),
        "weights that are not finite, in 'a'",
    ),
    "sparse": (lambda p: torch.save({"a": torch.eye(3).to_sparse()}, p), "unusual tensor 'a'"),
    "meta": (lambda p: torch.save({"a": torch.ones(3, device="meta")}, p), "unusual tensor 'a'"),
    "twice": (
        lambda p: torch.save({"a": torch.ones(1), "module.a": torch.ones(1)}, p),
        "has the key 'a' twice",
    ),
    "folder": (lambda p: p.mkdir(), "Is a directory"),
    "missing": (lambda p: None, "No such file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make, problem = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(CheckpointError, match=problem) as caught:
        read_official(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_larger_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / "c.pt")
    monkeypatch.setattr(official, "MAX_BYTES", 10)
    with pytest.raises(CheckpointError, match="the limit is 10 bytes"):
        read_official(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("name", "architecture", "keys"),
    [
        ("molo_resnet50", "resnet50", 51),
        ("clipfsar_RN50", "clip:RN50-quickgelu", 12),
        ("clipfsar_ViT-B16", "clip:ViT-B-16-quickgelu", 12),
        ("CNN_HyRSM_1shot_resnet50", "resnet50", 17),
        ("CNN_TRX_resnet50", "resnet50", 102),
        ("CNN_OTAM_resnet50", "resnet50", 0),
    ],
)
def test_the_official_keys_are_cut_in_two(name: str, architecture: str, keys: int) -> None:
    shapes = golden_shapes(f"keys_{name}.json")
    state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    parts = split_backbone(state, source="c.pyth")
    assert (parts.prefix, parts.architecture) == ("backbone", architecture)
    assert len(parts.head) == keys
    assert len(parts.head) + len(parts.backbone) == len(state)
    if architecture == "resnet50":
        from a2m2_zoo.backbones.resnet import ResNet50

        with torch.device("meta"):
            own = {key: value.shape for key, value in ResNet50().state_dict().items()}
        assert {k: v.shape for k, v in map_keys(parts.backbone).items()} == own


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"scale": torch.ones(1)}, r"has no backbone\.\* or resnet\.\* weights \(it has scale"),
        ({"backbone.stem.weight": torch.ones(1)}, "a backbone that is not known"),
    ],
)
def test_a_state_without_a_known_backbone(state: dict[str, Tensor], problem: str) -> None:
    with pytest.raises(CheckpointError, match=problem):
        split_backbone(state, source="c.pyth")


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_row_of_the_table_is_there(name: str) -> None:
    module, function = CONVERTERS[name]
    found = getattr(importlib.import_module(f"a2m2_zoo.zoo.convert.{module}"), function)
    assert list(inspect.signature(found).parameters)[:2] == ["state", "source"]
    assert name in METHODS


def test_a_converted_model_is_the_official_one(small: Path, tmp_path: Path) -> None:
    made = convert("trx", small, out=tmp_path / "model")
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "backbone.safetensors",
        "model.safetensors",
    ]
    assert (made.id, made.architecture) == ("model", "tiny")
    model = load_model(made.folder)
    assert model.id == "model"
    assert model.method_name == "trx"
    assert model.backbone_hash == made.sha256["backbone.safetensors"]
    spec = model.preprocess
    assert (spec.frames, spec.crop, spec.mean, spec.std) == (2, "center", (0.0,) * 3, (1.0,) * 3)
    weights = model.method.state_dict()
    raw = torch.load(small, weights_only=True)
    for ours, theirs in (("key", "k_linear"), ("value", "v_linear"), ("norm", "norm_k")):
        official_weight = raw[f"transformers.0.{theirs}.weight"]
        assert torch.equal(weights[f"transformers.2.{ours}.weight"], official_weight)
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, raw[f"resnet.{key}"])


def test_the_port_in_molos_code_has_molos_pixels(small: Path, tmp_path: Path) -> None:
    state = torch.load(small, weights_only=True)
    state = {f"head.{key.replace('resnet.', 'backbone.')}": v for key, v in state.items()}
    torch.save({"model_state": state}, tmp_path / "c.pyth")
    spec = load_model(convert("trx", tmp_path / "c.pyth", out=tmp_path / "m").folder).preprocess
    assert (spec.crop, spec.resize, spec.mean) == ("stretch-center", 256, (0.45,) * 3)


def test_settings_reach_the_configuration(small: Path, tmp_path: Path) -> None:
    made = convert("trx", small, out=tmp_path / "m", name="mine", settings={"dropout": 0.3})
    assert made.config["dropout"] == 0.3
    model = load_model(made.folder)
    assert (model.id, model.method.config.dropout) == ("mine", 0.3)
    with pytest.raises(ArgumentError, match="has no depth; its fields are"):
        convert("trx", small, out=tmp_path / "n", settings={"depth": 2})
    with pytest.raises(CheckpointError, match=r"trx\.pt does not fit TRX: \d of another shape"):
        convert("trx", small, out=tmp_path / "n", settings={"out": 9})
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop("transformers.0.k_linear.bias"), "lacks transformers.0.k_linear.bias"),
        (lambda s: s.update(extra=torch.ones(1)), "has the unknown extra"),
        (lambda s: s.pop("resnet.mix.bias"), r"1 missing \(first: mix.bias\)"),
        (lambda s: s.update({"resnet.x": torch.ones(1)}), r"1 unknown \(first: x\)"),
    ],
)
def test_missing_and_surplus_keys_are_named_and_nothing_is_written(
    small: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], object], problem: str
) -> None:
    state = torch.load(small, weights_only=True)
    change(state)
    torch.save(state, small)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=problem):
        convert("trx", small, out=tmp_path / "m")
    assert sorted(tmp_path.iterdir()) == before


def test_a_head_that_does_not_fit_its_backbone_is_found_out(small: Path, tmp_path: Path) -> None:
    state = torch.load(small, weights_only=True)
    torch.save({k: v for k, v in state.items() if k.startswith("resnet")} | trx_state(12), small)
    with pytest.raises(CheckpointError, match=r"the head of trx\.pt does not fit its backbone: "):
        convert("trx", small, out=tmp_path / "m")


def test_refusals(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"nothing converts 'hyrsm\+'; did you mean hyrsm"):
        convert("hyrsm+", small, out=tmp_path / "m")
    with pytest.raises(CheckpointError, match="stands on tiny, which the official clip-fsar never"):
        convert("clip-fsar", small, out=tmp_path / "m")
    with pytest.raises(SaveError, match="exists; give a new folder"):
        convert("trx", small, out=tmp_path)
    with pytest.raises(SaveError, match="cannot write"):
        convert("trx", small, out=tmp_path / "none" / "m")
    (tmp_path / "m").mkdir()
    assert convert("trx", small, out=tmp_path / "m").folder == tmp_path / "m"


def test_a_full_disk_leaves_nothing_behind(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SaveError, match="No space left on device"):
        convert("trx", small, out=tmp_path / "m")
    assert sorted(tmp_path.iterdir()) == before


def test_converting_twice_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    one = convert("trx", small, out=tmp_path / "a", name="x")
    two = convert("trx", small, out=tmp_path / "b", name="x")
    assert one.sha256 == two.sha256
    assert (
        load_file(tmp_path / "a" / "model.safetensors").keys()
        == load_file(tmp_path / "b" / "model.safetensors").keys()
    )
