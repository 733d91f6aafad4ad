"""Backbones of other libraries against the libraries' own forward pass, in a small variant of each."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
import torch
from clip_maker import reference, register
from library_maker import REPOSITORIES, files_of, network, whole
from safetensors.torch import load, save

from a2m2_zoo.backbones import Backbone, Features, build_backbone
from a2m2_zoo.backbones.openclip import import_library
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError, ModelNotFoundError
from a2m2_zoo.methods.a2m2 import A2M2Config
from a2m2_zoo.methods.molo import MoLoConfig
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.methods.strm import STRMConfig

IMAGES = [
    "timm:resnet10t",
    "timm:mobilenetv3_small_050",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
]
TORCHVISION = [
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:resnet18",
    "torchvision:mobilenet_v3_small",
]
close = torch.testing.assert_close


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def side(backbone: Backbone) -> int:
    return backbone.default_preprocess["size"]


def given(repository: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Configuration and weights of a repository of transformers, from its files."""
    files, facts = files_of(repository), REPOSITORIES[repository]
    config = {
        "model": json.loads(files["config.json"]),
        "preprocess": json.loads(files[facts.file]),
    }
    return config, load(files["model.safetensors"])


def built(repository: str) -> Backbone:
    config, weights = given(repository)
    return build_backbone(f"hf:{repository}", config=config, weights=weights)


@torch.inference_mode()
def both(backbone: Backbone, frames: torch.Tensor) -> tuple[Features, Features]:
    """What it gives, and what it gives after its weights went through a file in its own names."""
    state = load(save({k: v.contiguous() for k, v in backbone.state_dict().items()}))
    config = json.loads(json.dumps(backbone.config)) if backbone.config else None
    again = build_backbone(backbone.name, weights=state, config=config)
    assert again.default_preprocess == backbone.default_preprocess
    same(deepcopy(backbone)(frames), backbone(frames))  # as exports take it
    return backbone(frames), again(frames)


def same(one: Features, other: Features) -> None:
    """Equal but for the last bits, which on some processors follow where in memory the weights lie."""
    assert list(one.maps) == list(other.maps)
    close(one.pooled, other.pooled, atol=1e-5, rtol=1e-5)
    for stage, maps in one.maps.items():
        close(maps, other.maps[stage], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_timm(name: str) -> None:
    own = network(name)
    backbone = build_backbone(name, weights=own.state_dict())
    frames = pixels(1, 2, 3, side(backbone), side(backbone))
    found, again = both(backbone, frames)
    same(found, again)
    with torch.inference_mode():
        last = own.forward_features(frames[0])
        close(found.pooled[0], own.forward_head(last, pre_logits=True), atol=1e-5, rtol=1e-5)
        if last.ndim == 3:  # a class token before the patches
            last = last[:, 1:].mT.unflatten(2, found.maps[next(iter(found.maps))].shape[-2:])
        close(found.maps[list(found.maps)[-1]][0], last, atol=1e-5, rtol=1e-5)
        logits = own.get_classifier()(found.pooled[0])
        close(logits, own(frames[0]), atol=1e-5, rtol=1e-4)
    assert [maps.shape[2] for maps in found.maps.values()] == list(backbone.stages.values())
    assert len(found.maps) == 2


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str) -> None:
    own = network(name)
    backbone = build_backbone(name, weights=own.state_dict())
    frames = pixels(1, 2, 3, side(backbone), side(backbone))
    found, again = both(backbone, frames)
    same(found, again)
    linear = [part for part in own.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.inference_mode():
        close(linear(found.pooled[0]), own(frames[0]), atol=1e-5, rtol=1e-4)
    assert len(found.maps) == 2


def test_torchvision_on_videos() -> None:
    own = network("torchvision:r3d_18")
    backbone = build_backbone("torchvision:r3d_18", weights=own.state_dict())
    frames = pixels(1, backbone.clip_frames, 3, side(backbone) // 2, side(backbone) // 2)
    with torch.inference_mode():
        found = backbone(frames)
        x = own.layer3(own.layer2(own.layer1(own.stem(frames.transpose(1, 2)))))
        deepest = own.layer4(x)
        logits = own.fc(own.avgpool(deepest).flatten(1))
        halved = (x[:, :, ::2] + x[:, :, 1::2]) / 2  # as many time steps as the last map
        close(own.fc(found.pooled.mean(1)), logits, atol=1e-5, rtol=1e-4)
    close(found.maps["layer4"].transpose(1, 2), deepest, atol=1e-5, rtol=1e-5)
    close(found.maps["layer3"].transpose(1, 2), halved, atol=1e-5, rtol=1e-5)
    assert found.pooled.shape[1] == backbone.steps(16) == 2


@pytest.mark.parametrize("name", ["small-vit", "small-rn"])
def test_open_clip(name: str) -> None:
    own = reference(name)
    backbone = build_backbone(f"open_clip:{name}", weights=own.state_dict())
    plain = build_backbone(f"clip:{name}", weights=own.state_dict())
    frames = pixels(1, 2, 3, side(backbone), side(backbone))
    found, again = both(backbone, frames)
    same(found, again)
    with torch.inference_mode():
        close(found.pooled[0], own.encode_image(frames[0]), atol=1e-5, rtol=1e-5)
        last = list(found.maps)[-1]
        assert torch.equal(found.maps[last], plain(frames).maps[last])
        if name == "small-vit":
            assert list(found.maps) == ["middle", "tokens"]
            seen = own.visual.forward_intermediates(
                frames[0], indices=[0], normalize_intermediates=True
            )
            close(found.maps["middle"][0], seen["image_intermediates"][0], atol=1e-5, rtol=1e-5)


def as_tokens(maps: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) back to (n, h·w, c)."""
    return maps.flatten(2).mT


@pytest.mark.parametrize("name", [n for n in REPOSITORIES if n not in ("org/siglip2",)])
def test_transformers(name: str) -> None:
    backbone, own = built(name), whole(name)
    if "For" in type(own).__name__:
        own = getattr(own, own.base_model_prefix)
    own = getattr(own, "vision_model", own)
    t = backbone.clip_frames if backbone.mixes_frames else 2
    frames = pixels(2, t, 3, side(backbone), side(backbone))
    found, again = both(backbone, frames)
    same(found, again)
    steps = backbone.steps(t)
    with torch.inference_mode():
        flat = frames.flatten(0, 1) if not backbone.mixes_frames or name == "org/xclip" else frames
        extra = {"skip_predictor": True} if name == "org/vjepa2" else {}
        seen = own(flat, output_hidden_states=True, **extra)
    middle, last = list(found.maps.values())
    assert middle.shape[:2] == last.shape[:2] == found.pooled.shape[:2] == (2, steps)
    if name == "org/dinov3-convnext":
        close(last.flatten(0, 1), seen.hidden_states[-1], atol=1e-5, rtol=1e-5)
        close(middle.flatten(0, 1), seen.hidden_states[-2], atol=1e-5, rtol=1e-5)
        close(found.pooled.flatten(0, 1), seen.pooler_output, atol=1e-5, rtol=1e-5)
        return
    hidden = {2: middle, 4: last}
    for at, maps in hidden.items():
        theirs = seen.last_hidden_state if at == 4 else seen.hidden_states[at]
        ours = as_tokens(maps.flatten(0, 1))
        if steps != t or name == "org/videomae":
            ours = ours.unflatten(0, (2, steps)).flatten(1, 2)
        elif name == "org/timesformer":
            ours = ours.unflatten(0, (2, steps)).transpose(1, 2).flatten(1, 2)
        close(ours, theirs[:, -ours.shape[1] :], atol=1e-5, rtol=1e-5)
    pooled = getattr(seen, "pooler_output", None)
    pooled = last.mean((-2, -1)) if pooled is None else pooled.unflatten(0, (2, steps))
    close(found.pooled, pooled, atol=1e-5, rtol=1e-5)


def test_siglip2_of_patches() -> None:
    """Against the library's own way from pictures to patches."""
    library = import_library("transformers")
    backbone, own = built("org/siglip2"), whole("org/siglip2").vision_model
    frames = torch.rand(1, 2, 3, 64, 64)
    processor = library.Siglip2ImageProcessor(
        patch_size=16, max_num_patches=16, do_resize=False, do_rescale=False,
        image_mean=[0, 0, 0], image_std=[1, 1, 1],
    )  # fmt: skip
    patches = processor(list(frames[0]), return_tensors="pt")
    with torch.inference_mode():
        found = backbone(frames)
        seen = own(
            pixel_values=patches["pixel_values"],
            pixel_attention_mask=patches["pixel_attention_mask"],
            spatial_shapes=patches["spatial_shapes"],
        )
    ours = as_tokens(found.maps["block4"][0])
    close(ours, seen.last_hidden_state, atol=1e-5, rtol=1e-5)
    close(found.pooled[0], seen.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["org/videomae", "org/timesformer", "org/vjepa2", "org/xclip"])
def test_places_and_times_are_where_they_were(name: str) -> None:
    """A change in a corner of one frame changes the maps most there and then."""
    backbone = built(name)
    t, size = backbone.clip_frames, side(backbone)
    frames = pixels(1, t, 3, size, size)
    changed = frames.clone()
    changed[:, 2, :, -16:, :16] += 5
    with torch.inference_mode():
        before, after = backbone(frames).maps["block2"], backbone(changed).maps["block2"]
    moved = (after - before).norm(dim=2)[0]
    at = divmod(int(moved.argmax()), moved[0].numel())
    assert at[0] == 2 * backbone.steps(t) // t
    assert divmod(at[1], moved.shape[-1]) == (moved.shape[-2] - 1, 0)


@pytest.mark.parametrize("name", ["org/videomae", "org/vjepa2"])
def test_frames_that_a_network_does_not_take(name: str) -> None:
    backbone = built(name)
    with pytest.raises(ArgumentError, match="clips have 7 frames"):
        backbone(pixels(1, 7, 3, 64, 64))
    if name == "org/vjepa2":
        assert backbone(pixels(1, 4, 3, 64, 64)).pooled.shape[1] == 2
    with pytest.raises(ArgumentError, match="64 × 64 only"):
        backbone(pixels(1, 8, 3, 32, 32))


@torch.inference_mode()
def test_a_clip_of_mixed_frames_is_the_same_in_any_company() -> None:
    backbone = built("org/videomae")
    clips = pixels(3, 8, 3, 64, 64)
    together, alone = backbone(clips), backbone(clips[1:2])
    assert torch.equal(together.pooled[1:2], alone.pooled)
    assert torch.equal(together.maps["block4"][1:2], alone.maps["block4"])
    close(backbone(clips, chunk=16).pooled, together.pooled, atol=1e-5, rtol=1e-5)
    close(backbone.at_once(clips).pooled, together.pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("timm:resnet10", ModelNotFoundError, "did you mean timm:resnet10t"),
        ("timm:resnet10t.none", ModelNotFoundError, "did you mean timm:resnet10t.c3_in1k"),
        ("timm:hf-hub:org/name", ModelNotFoundError, "has no model"),
        ("torchvision:resnet_18", ModelNotFoundError, "torchvision:resnet18"),
        ("open_clip:ViT-B-33", ModelNotFoundError, "ViT-B-32"),
        ("open_clip:ViT-B-32/none", ModelNotFoundError, "it has: openai, "),
        ("hf:org/name", ArgumentError, "described by its configuration"),
    ],
)
def test_names_that_there_are_not(name: str, kind: type[A2M2Error], said: str) -> None:
    register()
    with pytest.raises(kind, match=said) as caught:
        build_backbone(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "bert"}, "type 'bert', which is not read here"),
        ({"model_type": ["dinov2"]}, "which is not read here"),
        ({"hidden_size": "wide"}, "describes no network"),
        ({"hidden_act": "../../evil"}, "describes no network"),
        ({"num_hidden_layers": 10**6}, "at most 1000"),
        ({"num_hidden_layers": 1000}, "far more weights than it holds"),
        ({"hidden_size": 64}, "of another shape"),
        ({"num_hidden_layers": 5}, "missing"),
        ({"preprocess": {}}, "no mean, std and size"),
        ({"preprocess": {"image_mean": [0] * 3, "image_std": [1] * 3}}, "and size"),
    ],
)
def test_configurations_are_hostile_until_checked(changes: dict[str, Any], said: str) -> None:
    config, weights = given("org/dinov2")
    own = changes.pop("preprocess", config["preprocess"])
    config = {"model": {**config["model"], **changes}, "preprocess": own}
    with pytest.raises(CheckpointError, match=said) as caught:
        build_backbone("hf:org/dinov2", config=config, weights=weights)
    assert "\n" not in str(caught.value)


def test_what_a_configuration_says_of_code_and_kernels_is_left_out() -> None:
    config, weights = given("org/dinov2")
    config["model"] |= {
        "auto_map": {"AutoModel": "evil.Evil"},
        "_attn_implementation": "org/kernels",
        "attn_implementation": "org/kernels",
        "quantization_config": {"quant_method": "evil"},
    }
    backbone = build_backbone("hf:org/dinov2", config=config, weights=weights)
    assert backbone.config is not None
    assert not {"auto_map", "_attn_implementation", "attn_implementation"} & set(
        backbone.config["model"]
    )
    assert not backbone.config["model"].get("quantization_config")
    with torch.inference_mode():
        same(backbone(pixels(1, 1, 3, 56, 56)), built("org/dinov2")(pixels(1, 1, 3, 56, 56)))


def test_stages_of_torchvision_are_named_as_its_parts() -> None:
    backbone = build_backbone("torchvision:mobilenet_v3_small")
    assert backbone.stages == {"features_8": 48, "features": 576}
    assert backbone.pooled_channels == 1024


def test_a_backbone_without_maps_has_a_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose maps timm cannot give: methods that read them say so, others take the vector."""
    own = network("timm:test_resnet")
    monkeypatch.delattr(type(own), "forward_intermediates")
    backbone = build_backbone("timm:test_resnet", weights=own.state_dict())
    assert backbone.stages == {}
    frames = pixels(2, 3, 3, side(backbone), side(backbone))
    found, again = both(backbone, frames)
    same(found, again)
    assert found.maps == {}
    assert found.pooled.shape == (2, 3, backbone.pooled_channels)
    with torch.inference_mode():
        logits = own.get_classifier()(found.pooled.flatten(0, 1))
        close(logits, own(frames.flatten(0, 1)), atol=1e-5, rtol=1e-4)

    for kind in (A2M2Config, MoLoConfig, STRMConfig):
        with pytest.raises(ArgumentError, match=r"reads (feature )?maps") as caught:
            kind.for_backbone(backbone, frames=3)
        assert backbone.name in str(caught.value)
        assert "\n" not in str(caught.value)
    protonet = ProtoNet(ProtoNetConfig.for_backbone(backbone, frames=3))
    assert protonet.encode(found)["mean"].shape == (2, backbone.pooled_channels)
