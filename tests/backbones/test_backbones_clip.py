from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from golden import golden_shapes

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.clip import ClipBackbone, map_keys
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import ArgumentError, CheckpointError, DependencyError, ModelNotFoundError


def reference(name: str) -> Any:
    """open_clip's own model with random weights."""
    torch.manual_seed(1)
    return import_open_clip().create_model(name, pretrained=None, pretrained_text=False).eval()


@torch.inference_mode()
def test_vit_equals_open_clip() -> None:
    model = reference("ViT-S-32")
    torch.nn.init.normal_(model.visual.ln_post.weight)
    network = build_backbone("clip:ViT-S-32", weights=model.state_dict())
    frames = torch.randn(2, 3, 224, 224)
    features = network(frames[None], chunk=2)
    torch.testing.assert_close(features.pooled[0], model.encode_image(frames), rtol=1e-4, atol=1e-5)
    model.visual.output_tokens = True
    tokens = model.visual(frames)[1]  # open_clip's patch tokens, behind ln_post
    maps = features.maps["tokens"][0]
    torch.testing.assert_close(maps.flatten(2).mT, tokens, rtol=1e-4, atol=1e-4)
    assert network.stages == {"tokens": maps.shape[1]}


@torch.inference_mode()
def test_resnet_equals_open_clip() -> None:
    model = reference("RN50")
    network = build_backbone("clip:RN50", weights=model.visual.state_dict())  # the bare tower
    frames = torch.randn(1, 3, 224, 224)
    features = network(frames[None])
    layer3 = model.visual.layer3(
        model.visual.layer2(model.visual.layer1(model.visual.stem(frames)))
    )
    layer4 = model.visual.layer4(layer3)
    torch.testing.assert_close(features.maps["layer3"][0], layer3, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.maps["layer4"][0], layer4, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(features.pooled[0], model.encode_image(frames), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_text_equals_open_clip() -> None:
    model = reference("ViT-S-32")
    official = model.state_dict() | {"input_resolution": torch.tensor(224)}
    network = build_backbone("clip:ViT-S-32", weights=official, text=True)
    assert isinstance(network, ClipBackbone)
    prompts = ["a photo of archery", "a photo of juggling"]
    tokens = import_open_clip().tokenize(prompts)
    torch.testing.assert_close(network.encode_text(prompts), model.encode_text(tokens))
    assert network.encode_text(prompts).shape == (2, network.pooled_channels)
    again = build_backbone("clip:ViT-S-32", weights=network.state_dict(), text=True)
    assert isinstance(again, ClipBackbone)
    assert torch.equal(again.encode_text(prompts), network.encode_text(prompts))
    for bad in ("one string", []):
        with pytest.raises(ArgumentError, match="give a list"):
            network.encode_text(bad)


def test_without_text_there_is_no_text_tower() -> None:
    with_text, without = (
        sum(p.numel() for p in build_backbone("clip:ViT-S-32", text=text).parameters())
        for text in (True, False)
    )
    assert without < with_text * 0.5
    network = build_backbone("clip:ViT-S-32")
    assert isinstance(network, ClipBackbone)
    assert all(key.startswith("visual.") for key in network.state_dict())
    with pytest.raises(ArgumentError, match="text=True"):
        network.encode_text(["a photo"])


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("coca_ViT-B-32", {"tokens": 768}),  # attention pool: ln_post has another width
        ("xlm-roberta-base-ViT-B-32", {"tokens": 768}),  # its text tower lives on the Hub
        ("PE-Core-T-16-384", {"tokens": 192}),  # towers of timm: transformer and convnet
        ("MobileCLIP2-S0", {"tokens": 512}),
    ],
)
@torch.inference_mode()
def test_other_towers(name: str, stages: dict[str, int]) -> None:
    network = build_backbone(f"clip:{name}")
    side = network.default_preprocess["size"]
    features = network(torch.randn(1, 1, 3, side, side))
    assert network.stages == {k: v.shape[2] for k, v in features.maps.items()} == stages
    assert features.pooled.shape == (1, 1, network.pooled_channels)


def test_a_tower_without_maps_gives_its_pooled_vector() -> None:
    network = build_backbone("clip:MobileCLIP2-S0")
    assert isinstance(network, ClipBackbone)
    side = network.default_preprocess["size"]
    frames = torch.randn(1, 1, 3, side, side)
    with torch.inference_mode():
        expected = network(frames).pooled
        network.stages = {}
        features = network(frames)
    assert features.maps == {}
    torch.testing.assert_close(features.pooled, expected)


def test_building_logs_nothing_and_installs_no_handler(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    build_backbone("clip:ViT-S-32")
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers


@pytest.mark.parametrize("name", ["ViT-B16", "hf-hub:org/model", "local-dir:here", ""])
def test_unknown_towers(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="open_clip"):
        build_backbone(f"clip:{name}")


def test_slashes_are_taken_as_open_clip_takes_them() -> None:
    assert build_backbone("clip:ViT-S/32").name == "clip:ViT-S-32"


def test_wrong_size_is_named() -> None:
    with pytest.raises(ArgumentError, match="64 × 64 pixels; clip:ViT-S-32 takes 224 × 224"):
        build_backbone("clip:ViT-S-32")(torch.zeros(1, 1, 3, 64, 64))


def test_text_towers_from_the_hub_are_refused() -> None:
    for name in ("ViT-B-16-SigLIP", "xlm-roberta-base-ViT-B-32"):
        with pytest.raises(ArgumentError, match="not part of open_clip"):
            build_backbone(f"clip:{name}", text=True)


def test_misfitting_weights_are_refused() -> None:
    state = build_backbone("clip:ViT-S-32").state_dict()
    with pytest.raises(CheckpointError, match="clip:ViT-S-16"):
        build_backbone("clip:ViT-S-16", weights=state)


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16"])
def test_published_key_listings_map_onto_ours(name: str) -> None:
    shapes = golden_shapes(f"keys_clipfsar_{name.replace('B-16', 'B16')}.json")
    state = {f"head.{key}": torch.empty(shape, device="meta") for key, shape in shapes.items()}
    mapped = {key: tuple(value.shape) for key, value in map_keys(state).items()}
    own = build_backbone(f"clip:{name}").state_dict()
    assert mapped == {key: tuple(value.shape) for key, value in own.items()}


def test_an_open_clip_without_feature_maps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    open_clip = import_open_clip()

    class Old(torch.nn.Module):
        def __init__(self, **_: Any) -> None:
            super().__init__()
            self.visual = torch.nn.Identity()

    monkeypatch.setattr(open_clip, "CustomTextCLIP", Old)
    with pytest.raises(DependencyError, match=r"open_clip_torch>=2\.32"):
        build_backbone("clip:ViT-S-32")
