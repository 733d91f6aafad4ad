"""Towers that start empty and take their weights from a file without a second copy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from clip_maker import reference, register, write_clip

from a2m2_zoo.backbones import build_backbone, build_text, needed_keys
from a2m2_zoo.backbones.clip import ClipBackbone
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPTS = ["a photo of archery", "a photo of a person who juggles seven balls"]


@pytest.mark.parametrize("name", ["small-vit", "small-rn", "small-coca"])
@torch.inference_mode()
def test_both_towers_from_one_file_equal_open_clip(name: str, tmp_path: Path) -> None:
    model = reference(name)
    file = tmp_path / "clip.safetensors"
    digest = write_clip(file, name)

    def part(*, text: bool) -> dict[str, torch.Tensor]:
        return checkpoint.read_tensors(
            file, sha256=digest, keep=lambda keys: needed_keys(f"clip:{name}", keys, text=text)
        )

    image = build_backbone(f"clip:{name}", weights=part(text=False), adopt=True)
    side = image.default_preprocess["size"]
    frames = torch.randn(2, 3, side, side)
    expected = model.encode_image(frames, normalize=False)
    torch.testing.assert_close(image(frames[None]).pooled[0], expected, rtol=1e-4, atol=1e-5)
    text = build_text(f"clip:{name}", weights=part(text=True), adopt=True)
    tokens = import_open_clip().get_tokenizer(name)(PROMPTS)
    torch.testing.assert_close(
        text.encode_text(PROMPTS), model.encode_text(tokens, normalize=False)
    )
    assert text.scale == pytest.approx(float(model.logit_scale.detach().exp()))
    whole = build_backbone(f"clip:{name}", weights=model.state_dict(), text=True)
    assert isinstance(whole, ClipBackbone)
    torch.testing.assert_close(text.encode_text(PROMPTS), whole.encode_text(PROMPTS))


def test_a_file_is_shared_out_between_the_towers() -> None:
    keys = [*reference("small-vit").state_dict(), "input_resolution"]
    image = needed_keys("clip:small-vit", keys)
    text = needed_keys("clip:small-vit", keys, text=True)
    assert all(key.startswith("visual.") for key in image)
    assert "logit_scale" in text
    assert sorted([*image, *text, "input_resolution"]) == sorted(keys)
    assert needed_keys("lite", ["a", "b"]) == ["a", "b"]
    own = [f"head.backbone.{key}" for key in image]
    assert needed_keys("clip:small-vit", [*own, "head.scale"]) == own


def storages(module: torch.nn.Module) -> set[int]:
    return {value.data_ptr() for value in module.state_dict().values()}


def test_adopted_tensors_are_the_network_s_own_and_others_are_copied() -> None:
    state = {k: v.detach().clone() for k, v in reference("small-vit").state_dict().items()}
    visual = {v.data_ptr() for k, v in state.items() if k.startswith("visual.")}
    assert storages(build_backbone("clip:small-vit", weights=state, adopt=True)) == visual
    assert not storages(build_backbone("clip:small-vit", weights=state)) & visual
    text = {v.data_ptr() for k, v in state.items() if not k.startswith("visual.")}
    assert storages(build_text("clip:small-vit", weights=state, adopt=True)) == text


def test_half_precision_is_widened() -> None:
    state = {k: v.half() for k, v in reference("small-vit").state_dict().items()}
    network = build_backbone("clip:small-vit", weights=state, adopt=True)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_filling_a_tower_draws_no_random_number_and_leaves_nothing_empty() -> None:
    state = reference("small-vit").state_dict()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    whole = build_backbone("clip:small-vit", weights=state, text=True)
    text = build_text("clip:small-vit", weights=state)
    assert torch.equal(torch.rand(1), expected)
    for module in (whole, text):
        assert not any(t.is_meta for t in (*module.parameters(), *module.buffers()))
    mask = text.text.attn_mask
    assert torch.equal(mask, reference("small-vit").attn_mask)


def test_an_unknown_buffer_beside_the_weights_is_built_the_ordinary_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_clip = import_open_clip()
    register()

    class Later(open_clip.CustomTextCLIP):  # type: ignore[misc, name-defined]
        def __init__(self, **facts: Any) -> None:
            super().__init__(**facts)
            self.visual.register_buffer("table", torch.arange(3.0), persistent=False)

    monkeypatch.setattr(open_clip, "CustomTextCLIP", Later)
    network = build_backbone("clip:small-vit", weights=reference("small-vit").state_dict())
    assert isinstance(network, ClipBackbone)
    assert network.visual.table.tolist() == [0, 1, 2]


def test_a_tower_of_timm_with_tables_of_its_own_is_filled() -> None:
    name = "clip:PE-Core-T-16-384"  # rotary positions, stored in no file
    torch.manual_seed(0)
    first = build_backbone(name)
    again = build_backbone(name, weights=first.state_dict(), adopt=True)
    frames = torch.randn(1, 1, 3, 384, 384)
    with torch.inference_mode():
        assert torch.equal(first(frames).pooled, again(frames).pooled)


def test_refusals() -> None:
    state = dict(reference("small-vit").state_dict())
    visual = {k: v for k, v in state.items() if k.startswith("visual.")}
    with pytest.raises(ArgumentError, match="have no text tower"):
        build_text("clip:small-vit", weights=visual)
    with pytest.raises(ArgumentError, match="lite has no text tower"):
        build_text("lite", weights=state)
    with pytest.raises(ArgumentError, match="not part of open_clip"):
        build_text("clip:ViT-B-16-SigLIP", weights=state)
    state.pop("logit_scale")
    with pytest.raises(CheckpointError, match=r"1 missing \(first: text.logit_scale\)"):
        build_text("clip:small-vit", weights=state)


def test_prompts_are_embedded_without_a_log_or_a_handler(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        build_text("clip:small-vit", weights=reference("small-vit").state_dict()).encode_text(
            PROMPTS
        )
    assert caplog.records == []


WATCHED = """
import resource, sys, torch
import safetensors.torch
from a2m2_zoo.hub import checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensors = checkpoint.read_tensors(sys.argv[1], sha256=sys.argv[2])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
def test_reading_a_large_file_needs_little_more_than_its_tensors(tmp_path: Path) -> None:
    tensors = {f"t{i}": torch.ones(1 << 20) for i in range(48)}  # 192 MiB
    file = tmp_path / "large.safetensors"
    digest = checkpoint.save(file, tensors, kind="backbone", record={})
    size = file.stat().st_size
    command = [sys.executable, "-c", WATCHED, str(file), digest]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 1.3 * size
