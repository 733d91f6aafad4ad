from __future__ import annotations

import pytest
import torch
from golden import golden_shapes

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.backbones.resnet import ResNet50, map_keys
from a2m2_zoo.errors import CheckpointError


@torch.inference_mode()
def test_equals_timm_with_the_same_weights() -> None:
    import_open_clip()
    timm = pytest.importorskip("timm", reason="timm is not installed")
    torch.manual_seed(0)
    peer = timm.create_model("resnet50", pretrained=False).eval()
    for key, value in peer.state_dict().items():  # nothing at its neutral value
        if "bn" in key or "downsample.1" in key:
            value.copy_(torch.rand_like(value.float()) * 0.5 + 0.5)
    frames = torch.randn(2, 3, 96, 96)
    features = build_backbone("resnet50", weights=peer.state_dict())(frames[None])
    expected = peer.forward_intermediates(frames, indices=[3, 4])[1]
    for maps, reference in zip(features.maps.values(), expected, strict=True):
        torch.testing.assert_close(
            maps[0], reference, rtol=1e-3, atol=1e-3 * float(reference.std())
        )
    pooled = peer.forward_head(expected[1], pre_logits=True)
    torch.testing.assert_close(features.pooled[0], pooled, rtol=1e-3, atol=1e-4)


def test_shapes_at_224() -> None:
    with torch.inference_mode():
        features = build_backbone("resnet50")(torch.zeros(1, 1, 3, 224, 224))
    assert features.maps["layer3"].shape == (1, 1, 1024, 14, 14)
    assert features.maps["layer4"].shape == (1, 1, 2048, 7, 7)


def test_research_checkpoints_load() -> None:
    network = build_backbone("resnet50")
    plain = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    numbers = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    research = {
        "module.head.scale": torch.ones(1),
        "module.head.classification_layer.fc.bias": torch.ones(2),
    }
    for key, value in plain.items():
        first, _, rest = key.partition(".")
        research[f"module.head.backbone.{numbers[first]}.{rest}"] = value
    frames = torch.randn(1, 1, 3, 64, 64)
    with torch.inference_mode():
        again = build_backbone("resnet50", weights=research)
        assert torch.equal(again(frames).pooled, network(frames).pooled)


def test_published_key_listing_maps_onto_ours() -> None:
    shapes = golden_shapes("keys_molo_resnet50.json")
    state = {f"head.{key}": torch.empty(shape, device="meta") for key, shape in shapes.items()}
    mapped = {key: tuple(value.shape) for key, value in map_keys(state).items()}
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in ResNet50().state_dict().items()}
    assert mapped == own


def test_another_resnet_is_refused() -> None:
    state = build_backbone("resnet50").state_dict()
    state["layer3.6.conv1.weight"] = torch.zeros(256, 1024, 1, 1)
    with pytest.raises(CheckpointError, match=r"1 unknown \(first: layer3\.6\.conv1\.weight\)"):
        build_backbone("resnet50", weights=state)
