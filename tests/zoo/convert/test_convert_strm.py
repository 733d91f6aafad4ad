from __future__ import annotations

import pytest
import torch
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.blocks.attention import pair_positions
from a2m2_zoo.methods.strm import STRM, STRMConfig
from a2m2_zoo.zoo.convert.strm import convert_strm

LAYERS = {
    "patches.query": "attn_pat.query_proj",
    "patches.key": "attn_pat.key_proj",
    "patches.value": "attn_pat.value_conv",
    "patches.mlp.0": "attn_pat.Bot_MLP.inp_fc",
    "patches.mlp.2": "attn_pat.Bot_MLP.hid_fc",
    "patches.mlp.4": "attn_pat.Bot_MLP.out_fc",
    "frames.time.0": "fr_enrich.Tok_MLP.inp_fc",
    "frames.time.2": "fr_enrich.Tok_MLP.out_fc",
    "frames.mlp.0": "fr_enrich.Bot_MLP.inp_fc",
    "frames.mlp.2": "fr_enrich.Bot_MLP.out_fc",
    "transformers.2.key": "transformers.0.k_linear",
    "transformers.2.value": "transformers.0.v_linear",
    "transformers.2.norm": "transformers.0.norm_k",
}
CONFIG = STRMConfig(channels=6, out=5, frames=4, grid=3, aux_weight=0.0)


def official() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our state dict, and the official checkpoint of the same model."""
    torch.manual_seed(0)
    ours = {k: torch.randn_like(v) for k, v in STRM(CONFIG).state_dict().items()}
    theirs = {}
    for key, tensor in ours.items():
        layer, kind = key.rsplit(".", 1)
        theirs["attn_pat.gamma" if kind == "gamma" else f"{LAYERS[layer]}.{kind}"] = tensor
    for name, length in (("attn_pat", 13), ("fr_enrich", 6), ("transformers.0", 6)):
        theirs[f"{name}.pe.pe"] = 0.1 * pair_positions(length, 6)[None]
    for name in ("v_linear.bias", "norm_v.weight", "norm_v.bias"):
        theirs[f"transformers.0.{name}"] = torch.randn(5)
    return ours, theirs


@pytest.mark.parametrize("parallel", [False, True])
def test_every_tensor_arrives_where_it_belongs(parallel: bool) -> None:
    ours, theirs = official()
    if parallel:
        for part in ("attn_pat", "fr_enrich"):
            theirs = {k.replace(f"{part}.", f"{part}.module."): v for k, v in theirs.items()}
    found = convert_strm(theirs, source="file")
    assert found.config == CONFIG
    STRM(found.config).load_state_dict(found.head)
    assert found.head.keys() == ours.keys()
    for key, tensor in ours.items():
        assert torch.equal(found.head[key], tensor), key
    assert len(found.dropped) == len(theirs) - len(ours) == 6


def test_broken_checkpoints_are_refused() -> None:
    _, state = official()
    for change, message in (
        ({"attn_pat.gamma": None}, "lacks attn_pat.gamma"),
        ({"transformers.0.norm_k.bias": None}, "lacks transformers.0.norm_k.bias"),
        ({"new.weight": torch.zeros(1)}, "has the unknown new.weight"),
        ({"fr_enrich.Tok_MLP.inp_fc.weight": torch.zeros(8, 8)}, r"mixes \(8, 8\) frames"),
        ({"attn_pat.pe.pe": 0.1 * pair_positions(12, 6)[None]}, "encodes 8 patches"),
        ({"attn_pat.pe.pe": torch.zeros(1, 13, 6)}, "position encoding"),
    ):
        broken = {k: v for k, v in (state | change).items() if v is not None}
        with pytest.raises(CheckpointError, match=message):
            convert_strm(broken, source="file")
