from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from a2m2_zoo.backbones import BACKBONES, Backbone, build_backbone
from a2m2_zoo.backbones.base import _pieces, load_weights
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError, ModelNotFoundError

NAMES = [*BACKBONES, "clip:ViT-S-32"]


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return build_backbone(request.param)


def clips(backbone: Backbone, b: int, t: int, seed: int = 1) -> torch.Tensor:
    side = backbone.default_preprocess["size"] if backbone.name.startswith("clip") else 64
    return torch.randn(b, t, 3, side, side, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_contract(backbone: Backbone) -> None:
    features = backbone(clips(backbone, 2, 2))
    assert not backbone.training
    assert list(features.maps) == list(backbone.stages)
    for stage, maps in features.maps.items():
        assert maps.shape[:3] == (2, 2, backbone.stages[stage])
        assert maps.is_contiguous()
        assert maps.isfinite().all()
        assert maps.std() > 0
    assert features.pooled.shape == (2, 2, backbone.pooled_channels)
    assert features.pooled.std() > 0
    facts = backbone.default_preprocess
    assert set(facts) == {"mean", "std", "size", "interpolation"}
    assert len(facts["mean"]) == len(facts["std"]) == 3
    assert all(0 < m < 1 for m in facts["mean"])


@torch.inference_mode()
def test_a_clip_is_bitwise_the_same_whatever_else_is_in_the_batch(backbone: Backbone) -> None:
    both = clips(backbone, 2, 3)
    together, alone = backbone(both), backbone(both[1:])
    assert torch.equal(together.pooled[1:], alone.pooled)
    for stage in backbone.stages:
        assert torch.equal(together.maps[stage][1:], alone.maps[stage])


@torch.inference_mode()
def test_chunks_and_stages_change_nothing_but_what_they_say(backbone: Backbone) -> None:
    frames = clips(backbone, 1, 5)
    whole = backbone(frames, chunk=5)
    pieces = backbone(frames, chunk=2, stages=[])
    assert pieces.maps == {}
    torch.testing.assert_close(pieces.pooled, whole.pooled, rtol=1e-4, atol=1e-4)
    last = list(backbone.stages)[-1]
    only = backbone(frames, chunk=5, stages=[last])
    assert list(only.maps) == [last]
    assert torch.equal(only.maps[last], whole.maps[last])


@torch.inference_mode()
def test_frames_are_not_mixed_up(backbone: Backbone) -> None:
    frames = clips(backbone, 2, 2)
    straight = backbone(frames).pooled
    swapped = backbone(frames.flip(0, 1)).pooled
    torch.testing.assert_close(straight, swapped.flip(0, 1), rtol=1e-4, atol=1e-5)
    gap = (straight[0, 0] - straight[1, 1]).abs().max()
    assert gap > 10 * (straight - swapped.flip(0, 1)).abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.inference_mode()
def test_precision_is_the_network_s(dtype: torch.dtype) -> None:
    network = build_backbone("tiny")
    frames = torch.randn(1, 2, 3, 32, 32)
    reference = network(frames).pooled
    features = network.to(dtype=dtype)(frames)
    assert features.pooled.dtype == features.maps["s7"].dtype == dtype
    tolerance = 1e-6 if dtype == torch.float64 else 0.05
    torch.testing.assert_close(features.pooled.float(), reference, rtol=tolerance, atol=tolerance)


def test_gradients_reach_every_weight_and_the_frames() -> None:
    for name in ("tiny", "lite", "resnet50"):
        network = build_backbone(name)
        frames = torch.randn(1, 2, 3, 64, 64, requires_grad=True)
        features = network(frames)
        (features.pooled.sum() + sum(m.sum() for m in features.maps.values())).backward()
        assert frames.grad is not None
        assert frames.grad.abs().sum() > 0
        assert all(p.grad is not None for p in network.parameters()), name


def test_gradcheck_on_tiny() -> None:
    network = build_backbone("tiny").double()
    frames = torch.randn(1, 1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(x).pooled, (frames,), fast_mode=True)


def test_training_mode_takes_batch_statistics_over_everything() -> None:
    torch.manual_seed(0)
    network = build_backbone("resnet50").train()
    frames = torch.randn(2, 3, 3, 32, 32) + torch.arange(2.0).reshape(2, 1, 1, 1, 1)
    network(frames)
    conv = torch.nn.functional.conv2d(
        frames.flatten(0, 1), network.get_parameter("conv1.weight"), stride=2, padding=3
    )
    expected = 0.1 * conv.mean((0, 2, 3))
    torch.testing.assert_close(
        network.get_buffer("bn1.running_mean"), expected, rtol=1e-3, atol=1e-5
    )


@given(b=st.integers(1, 5), t=st.integers(1, 9), chunk=st.none() | st.integers(1, 50), cpu=...)
def test_pieces_cover_every_frame_once_in_order(
    b: int, t: int, chunk: int | None, cpu: bool
) -> None:
    pieces = list(_pieces(b, t, chunk=chunk, cpu=cpu))
    assert [i for p in pieces for i in range(p.start, p.stop)] == list(range(b * t))
    if chunk is not None:
        assert max(p.stop - p.start for p in pieces) <= chunk
    elif cpu:
        assert all(p.start // t == (p.stop - 1) // t for p in pieces), "a piece crosses a clip"


@settings(max_examples=20)
@given(b=st.integers(1, 4), t=st.integers(1, 6), keep=st.integers(0, 3))
def test_tiny_is_the_same_in_any_company(b: int, t: int, keep: int) -> None:
    network = build_backbone("tiny")
    frames = torch.randn(b, t, 3, 32, 32, generator=torch.Generator().manual_seed(b * 10 + t))
    with torch.inference_mode():
        one = keep % b
        assert torch.equal(network(frames).pooled[one], network(frames[one : one + 1]).pooled[0])


@pytest.mark.parametrize(
    ("frames", "options", "said"),
    [
        (torch.zeros(2, 3, 32, 32), {}, "(2, 3, 32, 32)"),
        (torch.zeros(1, 2, 4, 32, 32), {}, "(1, 2, 4, 32, 32)"),
        (torch.zeros(0, 2, 3, 32, 32), {}, "(0, 2, 3, 32, 32)"),
        (torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8), {}, "uint8"),
        (torch.zeros(1, 2, 3, 32, 32), {"chunk": 0}, "chunk is 0"),
        (torch.zeros(1, 2, 3, 32, 32), {"stages": ["s99"]}, "no stage 's99'"),
        (torch.zeros(1, 2, 3, 32, 32), {"stages": "s7"}, "give a list"),
    ],
)
def test_bad_input_is_named(frames: torch.Tensor, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        build_backbone("tiny")(frames, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("light", "lite"), ("resnet-50", "resnet50"), ("clip", "clip:RN50"), ("zzz", "known: lite")],
)
def test_unknown_names_point_to_near_ones(name: str, hint: str) -> None:
    with pytest.raises(ModelNotFoundError, match=hint):
        build_backbone(name)


def test_text_is_for_clip_only() -> None:
    with pytest.raises(ArgumentError, match="no text tower"):
        build_backbone("lite", text=True)


def test_weights_from_a_file_and_a_dict(tmp_path: Any) -> None:
    network = build_backbone("tiny")
    state = {key: value + 1 for key, value in network.state_dict().items()}
    save_file(state, tmp_path / "tiny.safetensors")
    frames = torch.randn(1, 1, 3, 32, 32)
    by_dict = build_backbone("tiny", weights=state)
    by_file = build_backbone("tiny", weights=tmp_path / "tiny.safetensors")
    assert torch.equal(by_dict(frames).pooled, by_file(frames).pooled)
    assert not torch.equal(by_dict(frames).pooled, network(frames).pooled)


def test_an_empty_state_dict_is_not_taken_for_none() -> None:
    for name in BACKBONES:
        with pytest.raises(CheckpointError, match="missing"):
            build_backbone(name, weights={})


def test_training_leaves_the_caller_s_state_dict_alone() -> None:
    state = {key: value.clone() for key, value in build_backbone("tiny").state_dict().items()}
    kept = {key: value.clone() for key, value in state.items()}
    network = build_backbone("tiny", weights=state)
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    assert all(torch.equal(state[key], kept[key]) for key in kept)


def test_building_draws_no_random_numbers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_backbone("tiny")
    build_backbone("lite")
    assert torch.equal(torch.rand(1), expected)


def test_misfits_are_counted() -> None:
    state = dict(build_backbone("tiny").state_dict())
    state["extra"] = state.pop("patch.bias")
    state["mix.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as caught:
        load_weights(build_backbone("tiny"), state, source="x")
    assert "1 missing (first: patch.bias)" in str(caught.value)
    assert "1 unknown (first: extra)" in str(caught.value)
    assert "1 of another shape (first: mix.weight)" in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Any) -> None:
    with pytest.raises(CheckpointError, match="no weights file"):
        build_backbone("tiny", weights=tmp_path / "none.safetensors")
    for content in (b"", b"not safetensors at all", b"\x80\x04 pickle"):
        (tmp_path / "bad.safetensors").write_bytes(content)
        with pytest.raises(A2M2Error, match="not a readable safetensors file"):
            build_backbone("tiny", weights=str(tmp_path / "bad.safetensors"))


def test_one_signature_for_all() -> None:
    for name in NAMES:
        assert type(build_backbone(name)).forward is Backbone.forward
    assert list(inspect.signature(Backbone.forward).parameters)[1:] == ["frames", "chunk", "stages"]
