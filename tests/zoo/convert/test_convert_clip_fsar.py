from __future__ import annotations

import pytest
import torch
from golden import golden_shapes
from torch import Tensor

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.methods.clip_fsar import ClipFSAR, ClipFSARConfig
from a2m2_zoo.zoo.convert.clip_fsar import convert_clip_fsar


def listed(name: str) -> dict[str, Tensor]:
    """Tensors without content, of the official names and sizes."""
    return {
        key: torch.empty(shape, device="meta")
        for key, shape in golden_shapes(name).items()
        if not key.startswith("backbone.")
    }


def invented(*, depth: int, channels: int = 16, hidden: int = 12) -> dict[str, Tensor]:
    state = {"scale": torch.randn(1)}
    for i in range(depth):
        head, feed = f"context2.layers.{i}.0.", f"context2.layers.{i}.1.net."
        for part in "qkv":
            state[f"{head}fn.to_{part}.weight"] = torch.randn(channels, channels)
        state |= {
            f"{head}norm.weight": torch.randn(channels),
            f"{head}norm.bias": torch.randn(channels),
            f"{head}fn.to_out.0.weight": torch.randn(channels, channels),
            f"{head}fn.to_out.0.bias": torch.randn(channels),
            f"{feed}0.weight": torch.randn(hidden, channels),
            f"{feed}0.bias": torch.randn(hidden),
            f"{feed}3.weight": torch.randn(channels, hidden),
            f"{feed}3.bias": torch.randn(channels),
        }
    return state


@pytest.mark.parametrize(("tower", "channels"), [("RN50", 1024), ("ViT-B16", 512)])
def test_official_sizes_fit(tower: str, channels: int) -> None:
    found = convert_clip_fsar(listed(f"keys_clipfsar_{tower}.json"), source="x")
    assert found.config == ClipFSARConfig(channels=channels)
    assert found.dropped == ()
    with torch.device("meta"):
        method = ClipFSAR(found.config)
    method.load_state_dict(found.head, assign=True)


def test_every_tensor_finds_its_place_at_any_depth() -> None:
    state = invented(depth=2)
    found = convert_clip_fsar(state, source="x")
    assert found.config == ClipFSARConfig(channels=16, hidden=12, depth=2)
    method = ClipFSAR(found.config)
    method.load_state_dict(found.head)
    second = method.context[1]
    parts = [state[f"context2.layers.1.0.fn.to_{part}.weight"] for part in "qkv"]
    assert torch.equal(second[0].qkv.weight, torch.cat(parts))
    assert torch.equal(second[0].out.bias, state["context2.layers.1.0.fn.to_out.0.bias"])
    assert torch.equal(second[1].net[3].weight, state["context2.layers.1.1.net.3.weight"])
    assert torch.equal(method.scale, state["scale"])


def test_missing_and_foreign_keys_are_named() -> None:
    state = invented(depth=1)
    del state["context2.layers.0.0.fn.to_k.weight"]
    state["up1.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"file\.pth lacks .*to_k.*unknown up1\.weight"):
        convert_clip_fsar(state, source="file.pth")
    with pytest.raises(CheckpointError, match=r"empty\.pth lacks .*scale"):
        convert_clip_fsar({}, source="empty.pth")
