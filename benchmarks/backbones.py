"""Time per frame of every backbone on one thread, beside timm's, as a JSON receipt.

    python benchmarks/backbones.py [--rounds 5] [--names lite resnet50]

One clip of 8 frames at the backbone's own size, float32; the rounds of all contestants alternate, so
that a busy machine slows them all; median and best of the rounds. timm's EfficientNet-Lite0 (the same
arithmetic, batch normalisation not folded) is timed in the same run where timm can be imported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.backbones.base import channels_last
from a2m2_zoo.backbones.openclip import import_open_clip
from a2m2_zoo.errors import DependencyError

NAMES = ("lite", "resnet50", "tiny", "clip:ViT-B-16", "clip:RN50")
FRAMES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--names", nargs="+", default=NAMES)
    options = parser.parse_args()
    torch.set_num_threads(1)

    contestants: dict[str, Callable[[], object]] = {}
    loading: dict[str, float] = {}
    for name in options.names:
        start = time.perf_counter()
        backbone = build_backbone(name)
        loading[name] = time.perf_counter() - start
        side = backbone.default_preprocess["size"]
        frames = torch.randn(1, FRAMES, 3, side, side)
        contestants[name] = lambda backbone=backbone, frames=frames: backbone(frames)
    contestants |= peers()

    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.inference_mode():
        for run in contestants.values():
            run()
        for _ in range(options.rounds):
            for name, run in contestants.items():
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1000 / FRAMES)
    receipt = {
        "what": "milliseconds per frame, one thread",
        "frames": FRAMES,
        "rounds": options.rounds,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "median_ms": {n: round(statistics.median(t), 2) for n, t in times.items()},
        "best_ms": {n: round(min(t), 2) for n, t in times.items()},
        "build_seconds": {n: round(s, 3) for n, s in loading.items()},
    }
    print(json.dumps(receipt, indent=1))


def peers() -> dict[str, Callable[[], object]]:
    """timm's EfficientNet-Lite0, in both memory layouts, random weights; nothing without timm."""
    try:
        import_open_clip()  # mends torchvision where timm could not be imported otherwise
        import timm
    except (DependencyError, ImportError):
        return {}
    frames = torch.randn(FRAMES, 3, 224, 224)
    last = frames.contiguous(memory_format=torch.channels_last)
    found: dict[str, Callable[[], object]] = {}
    for name in ("tf_efficientnet_lite0", "efficientnet_lite0"):
        plain = timm.create_model(name, num_classes=0, pretrained=False).eval()
        relaid = timm.create_model(name, num_classes=0, pretrained=False).eval()
        relaid = channels_last(relaid)
        found[f"timm {name}"] = lambda net=plain: net(frames)
        found[f"timm {name}, channels last"] = lambda net=relaid: net(last)
    return found


if __name__ == "__main__":
    main()
