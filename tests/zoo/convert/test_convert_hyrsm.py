from __future__ import annotations

import pytest
import torch
from golden import golden_shapes
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.hyrsm import HyRSM, HyRSMConfig, HyRSMPlusPlus, HyRSMPlusPlusConfig
from a2m2_zoo.zoo.convert.hyrsm import convert_hyrsm, convert_hyrsm_plus_plus

DROPPED = ("classification_layer.bias", "classification_layer.weight", "pe.pe")


def listed(name: str) -> dict[str, list[int]]:
    return {k: shape for k, shape in golden_shapes(name).items() if not k.startswith("backbone.")}


def invented(d: int = 16) -> dict[str, Tensor]:
    shapes = {
        "pe.pe": (1, 20, d),
        "temporal_atte_before.norm.weight": (d,),
        "temporal_atte_before.norm.bias": (d,),
        "temporal_atte_before.fn.to_qkv.weight": (3 * d, d),
        "temporal_atte_before.fn.to_out.0.weight": (d, d),
        "temporal_atte_before.fn.to_out.0.bias": (d,),
        "temporal_atte.w_qs.weight": (d, d),
        "temporal_atte.w_ks.weight": (d, d),
        "temporal_atte.w_vs.weight": (d, d),
        "temporal_atte.layer_norm.weight": (d,),
        "temporal_atte.layer_norm.bias": (d,),
        "temporal_atte.fc.weight": (d, d),
        "temporal_atte.fc.bias": (d,),
        "layer2.0.weight": (d, 2 * d, 1),
        "layer2.0.bias": (d,),
        "classification_layer.weight": (5, d),
        "classification_layer.bias": (5,),
    }
    return {key: torch.randn(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize("kind", ["1shot", "5shot", "plusplus_1shot"])
def test_official_sizes_fit(kind: str) -> None:
    shapes = listed(f"keys_CNN_HyRSM_{kind}_resnet50.json")
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    plus = kind.startswith("plusplus")
    found = (convert_hyrsm_plus_plus if plus else convert_hyrsm)(state, source="x")
    assert found.config == (HyRSMPlusPlusConfig if plus else HyRSMConfig)(channels=2048)
    assert found.dropped == DROPPED
    with torch.device("meta"):
        method = HyRSMPlusPlus(found.config) if plus else HyRSM(found.config)
    method.load_state_dict(found.head, assign=True)


def test_every_tensor_finds_its_place() -> None:
    state = invented()
    found = convert_hyrsm(state, source="x")
    method = HyRSM(found.config)
    method.load_state_dict(found.head)
    assert torch.equal(method.fuse.weight, state["layer2.0.weight"][:, :, 0])
    assert torch.equal(method.relation.k.weight, state["temporal_atte.w_ks.weight"])
    assert torch.equal(method.relation.norm.bias, state["temporal_atte.layer_norm.bias"])
    assert torch.equal(method.temporal.out.bias, state["temporal_atte_before.fn.to_out.0.bias"])
    used = sum(tensor.numel() for key, tensor in state.items() if key not in DROPPED)
    assert sum(p.numel() for p in method.parameters()) == used


def test_what_only_training_needs_may_be_absent() -> None:
    state = {key: tensor for key, tensor in invented().items() if key not in DROPPED}
    assert convert_hyrsm_plus_plus(state, source="x").dropped == ()


def test_missing_and_foreign_keys_are_named() -> None:
    state = invented()
    del state["temporal_atte.fc.bias"]
    state["up1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"file\.pth lacks .*fc\.bias.*unknown up1\.weight"):
        convert_hyrsm(state, source="file.pth")
