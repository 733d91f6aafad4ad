from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from golden import golden_shapes, golden_tensors, needs_golden, official_state
from torch import Tensor

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.blocks.attention import channel_positions
from a2m2_zoo.methods.molo import MoLo
from a2m2_zoo.zoo.convert.molo import convert_molo

KEYS, TENSORS = "keys_molo_resnet50.json", "molo_golden_1shot.safetensors"

#: Official size → a small one; the widths of the decoder are fixed.
SIZES = {2048: 16, 6144: 48, 256: 6}


def official() -> dict[str, Tensor]:
    """The official head with a 32nd of its channels and random values."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in golden_shapes(KEYS).items():
        if not key.startswith("backbone."):
            small = [SIZES.get(n, n) for n in shape]
            state[key] = torch.randn(small, generator=generator)
    state["pe.pe"] = channel_positions(20, 16)[None]
    return state


@needs_golden(KEYS)
def test_every_official_key_is_used_or_named_as_dropped() -> None:
    state = official()
    found = convert_molo(state, source="x.pyth")
    config = found.config
    assert (config.channels, config.motion_channels, config.hidden) == (16, 6, 16)
    assert (config.frames, config.position_scale, config.position_weight) == (8, 10.0, 1.0)
    method = MoLo(config)
    method.load_state_dict(found.head)  # strict: every key, every shape
    assert len(found.head) + len(found.dropped) == len(state)
    assert {k.split(".")[0] for k in found.dropped} == {
        *("scale", "scale_motion", "pe", "classification_layer", "up1", "up2", "up3", "outc")
    }
    maps = torch.rand(2, 8, 16, 3, 3)
    encoded = method.eval().encode(Features({"layer4": maps}, maps.mean((-2, -1))))
    assert encoded["appearance"].isfinite().all()


@needs_golden(KEYS)
def test_values_land_where_they_belong() -> None:
    state = official()
    head = convert_molo(state, source="x.pyth").head
    assert torch.equal(head["encoders.motion.token"], state["class_token_motion"][0, 0])
    for part, name in (
        ("appearance", "temporal_atte_before"),
        ("motion", "temporal_atte_before_motion"),
    ):
        ours, theirs = f"encoders.{part}", f"{name}.layers.0"
        assert head[f"{ours}.attention.qkv.weight"] is state[f"{theirs}.0.fn.to_qkv.weight"]
        assert head[f"{ours}.feed_forward.net.3.bias"] is state[f"{theirs}.1.net.3.bias"]


@needs_golden(TENSORS)
def test_the_golden_head_gives_the_golden_features() -> None:
    golden = golden_tensors(TENSORS)
    state = official_state(golden)
    found = convert_molo(state, source="golden")
    method = MoLo(replace(found.config, position_scale=2048.0, position_weight=0.02)).eval()
    method.load_state_dict(found.head)
    maps = golden["in.target_feature_maps"].unflatten(0, (-1, 8))
    with torch.no_grad():
        encoded = method.encode(Features({"layer4": maps}, maps.mean((-2, -1))))
    for part, name in (("appearance", "target_features"), ("motion", "target_features_motion")):
        expected = golden[f"eval_k100pos.feat.{name}"]
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(encoded[part], expected, atol=2e-5 * scale, rtol=1e-5)


@needs_golden(KEYS)
def test_other_checkpoints_are_refused_by_name() -> None:
    state = official()
    del state["motion_up.bias"]
    state["context2.weight"] = torch.zeros(1)
    message = r"x\.pyth lacks motion_up\.bias and has the unknown context2\.weight"
    with pytest.raises(CheckpointError, match=message):
        convert_molo(state, source="x.pyth")


@needs_golden(KEYS)
@pytest.mark.parametrize("table", [torch.zeros(1, 20, 16), channel_positions(20, 12)[None]])
def test_other_positions_are_refused(table: Tensor) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pyth has other positions"):
        convert_molo({**official(), "pe.pe": table}, source="x.pyth")


@needs_golden(KEYS)
def test_a_head_without_its_training_parts_converts() -> None:
    found = convert_molo(official(), source="x")
    kept = {k: v for k, v in official().items() if k not in found.dropped}
    assert convert_molo(kept, source="x").dropped == ()
    assert convert_molo(kept, source="x").head.keys() == found.head.keys()
