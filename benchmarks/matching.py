"""How fast M² and A² are on one CPU thread; prints a JSON receipt.

    python benchmarks/matching.py [--pairs 25 1000] [--output matching.json]

Three questions: one query of a 5-way 1-shot episode from feature maps to scores (maps of two
stages of a Lite0 backbone); the Newton–Schulz root against eigenvalues; batched transport against a
loop over pairs that calls POT's exact solver on torch tensors.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Features
from a2m2_zoo.methods.base import take
from a2m2_zoo.methods.blocks import (
    A2Config,
    A2Module,
    Candidates,
    M2Block,
    M2Config,
    join_candidates,
)
from a2m2_zoo.ops.roots import newton_schulz_sqrt
from a2m2_zoo.ops.transport import exact_plan, sinkhorn


def milliseconds(call: Callable[[], object], *, seconds: float = 1.0) -> dict[str, float]:
    """Median and 95th percentile of repeated calls, after two that do not count."""
    call(), call()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return {
        "median_ms": round(statistics.median(times), 3),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 3),
        "calls": len(times),
    }


def episode(scales: tuple[int, ...], groups: str) -> dict[str, object]:
    """Encode 6 clips of 8 frames and match 1 query with 5 supports."""
    torch.manual_seed(0)
    late = M2Block(M2Config(channels=320, scales=scales)).eval()
    early = M2Block(M2Config(channels=112, scales=scales, grid=7)).eval()
    maps = torch.rand(6, 8, 320, 7, 7), torch.rand(6, 8, 112, 14, 14)

    def encode() -> Candidates:
        return join_candidates([late(maps[0]), early(maps[1])], names=("late", "early"))

    clips = encode()
    a2 = A2Module(A2Config(groups=groups), groups=clips.layout.groups(groups))
    query, support = (
        Candidates(clips.descriptors[part], clips.layout) for part in (slice(1), slice(1, 6))
    )
    return {
        "scales": scales,
        "groups": groups,
        "candidates": len(clips.layout),
        "encode": milliseconds(encode),
        "match": milliseconds(lambda: a2.scores(query, support)),
        "both": milliseconds(lambda: (encode(), a2.scores(query, support))),
    }


def shipped() -> dict[str, object]:
    """The same from the embedded model: encode 6 clips from maps, score 1 query against 5 supports."""
    method = load_model("a2m2-lite0").method
    torch.manual_seed(0)
    maps = {"s14": torch.rand(6, 8, 112, 14, 14), "s7": torch.rand(6, 8, 320, 7, 7)}
    features = Features(maps, torch.rand(6, 8, 1280))
    clips = method.encode(features)
    query, support = take(clips, torch.tensor([[0]])), take(clips, torch.arange(1, 6)[None])
    labels = torch.arange(5)

    def score() -> torch.Tensor:
        return method.score(query, support, labels=labels, way=5)

    return {
        "candidates": clips["moments"].shape[1],
        "encode": milliseconds(lambda: method.encode(features)),
        "score": milliseconds(score),
        "both": milliseconds(lambda: (method.encode(features), score())),
    }


def roots(count: int, size: int) -> dict[str, object]:
    """Newton–Schulz against a batched eigendecomposition."""
    x = torch.randn(count, size, 49)
    a = x @ x.mT / 49
    values, vectors = torch.linalg.eigh(a.double())
    root = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.mT
    receipt: dict[str, object] = {"matrices": count, "size": size}
    for normaliser in ("trace", "frobenius"):
        for k in (3, 6, 8):
            got = newton_schulz_sqrt(a, iterations=k, normaliser=normaliser)
            error = (got - root).norm(dim=(1, 2)) / root.norm(dim=(1, 2))
            receipt[f"{normaliser}_{k}"] = milliseconds(
                lambda k=k, n=normaliser: newton_schulz_sqrt(a, iterations=k, normaliser=n)
            ) | {"relative_error": float(f"{error.mean().item():.2g}")}
    receipt["eigh"] = milliseconds(lambda: torch.linalg.eigh(a))
    return receipt


def transport(pairs: int, size: int) -> dict[str, object]:
    """The same problems by batched Sinkhorn, by a loop over POT, and by our exact solver."""
    import ot

    cost = torch.rand(pairs, size, size) / 20
    a, b = torch.rand(2, pairs, size).softmax(-1)

    def loop() -> torch.Tensor:
        return torch.stack([ot.emd2(a[i], b[i], cost[i]) for i in range(pairs)])

    exact = (exact_plan(cost, a, b) * cost).sum((-2, -1))
    soft = (sinkhorn(cost, a, b) * cost).sum((-2, -1))
    batched, looped = milliseconds(lambda: sinkhorn(cost, a, b)), milliseconds(loop)
    return {
        "pairs": pairs,
        "size": size,
        "sinkhorn_batched_40_iterations": batched,
        "pot_emd2_loop_torch": looped,
        "exact_plan": milliseconds(lambda: exact_plan(cost, a, b)),
        "speed_up_over_loop": round(looped["median_ms"] / batched["median_ms"], 1),
        "mean_cost": {
            "exact": round(exact.mean().item(), 6),
            "sinkhorn": round(soft.mean().item(), 6),
            "loop": round(loop().mean().item(), 6),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[5, 25, 1000])
    parser.add_argument("--output", type=Path, help="also write the receipt to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        receipt = {
            "benchmark": "matching",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
            "episode_5_way_1_shot_one_query": [
                episode(scales, groups)
                for scales in ((1, 0), (1, 2, 4, 0))
                for groups in ("joint", "scale")
            ],
            "embedded_model": shipped(),
            "roots": roots(174, 32),
            "transport": [transport(pairs, 15) for pairs in options.pairs],
        }
    text = json.dumps(receipt, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
