from __future__ import annotations

import json

import pytest
import torch
from golden import golden_file
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.methods.trx import TRX
from a2m2_zoo.zoo.convert.trx import convert_trx

KEYS = "keys_CNN_TRX_resnet50.json"


def official(*, channels: int = 6, out: int = 5, frames: int = 5) -> dict[str, Tensor]:
    """A small checkpoint with the official names."""
    torch.manual_seed(0)
    state = {}
    for i, cardinality in enumerate((2, 3)):
        sizes = {
            **{f"{part}_linear.weight": (out, cardinality * channels) for part in "kv"},
            **{f"{part}_linear.bias": (out,) for part in "kv"},
            **{f"norm_{part}.{kind}": (out,) for part in "kv" for kind in ("weight", "bias")},
        }
        for name, size in sizes.items():
            state[f"transformers.{i}.{name}"] = torch.randn(size)
        encoding = 0.1 * pair_positions(int(1.5 * frames), channels)
        state[f"transformers.{i}.pe.pe"] = encoding[None]
    return state


def test_every_key_of_the_port_at_its_real_size() -> None:
    listed = json.loads(golden_file(KEYS).read_text())
    state = {}
    for key, (size, kind) in listed.items():
        if key.startswith("backbone."):
            continue
        state[key] = torch.empty(size, dtype=getattr(torch, kind), device="meta")
        if key.endswith("pe.pe"):
            state[key] = 0.1 * pair_positions(*size[1:])[None]
    found = convert_trx(state, source="port")
    config = found.config
    assert (config.channels, config.out, config.frames) == (2048, 1152, 8)
    assert config.cardinalities == (2, 3)
    assert len(found.head) == 10
    assert len(found.dropped) == len(state) - 10
    assert sum(".tuples." in key for key in found.dropped) == 28 + 56
    with torch.device("meta"):
        expected = TRX(config).state_dict()
    assert {k: v.shape for k, v in expected.items()} == {k: v.shape for k, v in found.head.items()}


def test_every_tensor_arrives_where_it_belongs() -> None:
    state = official()
    found = convert_trx(state, source="file")
    TRX(found.config).load_state_dict(found.head)
    assert found.config.frames == 5
    for i, cardinality in enumerate((2, 3)):
        for ours, theirs in {
            "key.weight": "k_linear.weight",
            "key.bias": "k_linear.bias",
            "value.weight": "v_linear.weight",
            "norm.weight": "norm_k.weight",
            "norm.bias": "norm_k.bias",
        }.items():
            taken = found.head[f"transformers.{cardinality}.{ours}"]
            assert torch.equal(taken, state[f"transformers.{i}.{theirs}"])
    assert sorted(found.dropped) == sorted(
        f"transformers.{i}.{part}"
        for i in (0, 1)
        for part in ("pe.pe", "v_linear.bias", "norm_v.weight", "norm_v.bias")
    )


@pytest.mark.parametrize("frames", range(3, 17))
def test_the_number_of_frames_is_read_off_the_encoding(frames: int) -> None:
    assert convert_trx(official(frames=frames), source="file").config.frames == frames


def test_broken_checkpoints_are_refused() -> None:
    state = official()
    for change, message in (
        ({"transformers.1.k_linear.bias": None}, r"lacks transformers\.1\.k_linear"),
        ({"transformers.0.pe.pe": None}, r"lacks transformers\.0\.pe"),
        ({"classifier.weight": torch.zeros(1)}, "has the unknown classifier"),
        ({"transformers.0.pe.pe": torch.zeros(1, 7, 6)}, "position encoding"),
        ({"transformers.0.k_linear.weight": torch.zeros(5, 13)}, "multiple"),
        ({"transformers.1.k_linear.weight": torch.zeros(5, 12)}, "one of each cardinality"),
        ({"transformers.1.k_linear.weight": torch.zeros(4, 18)}, "the same sizes"),
    ):
        broken = {k: v for k, v in (state | change).items() if v is not None}
        with pytest.raises(CheckpointError, match=message):
            convert_trx(broken, source="file")
    with pytest.raises(CheckpointError, match=r"lacks transformers\.0"):
        convert_trx({}, source="file")
