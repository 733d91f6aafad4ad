"""Time of the standard protocol from cached features, and A²M² against a plain loop over pairs with POT.

    python benchmarks/episodes.py ../shared/videos/msr_action3d --cache CACHE

Every method scores the same 10,000 5-way 1-shot episodes. Then a few episodes are scored by a loop over pairs
with ``ot.emd2`` on torch tensors, and by the package with the exact solver: same scores, times in one run.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import ot
import torch
from _receipt import publish, receipt
from torch import Tensor
from torch.nn import functional

from a2m2_zoo import load_model
from a2m2_zoo.data.draws import draw_episodes, labelled
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.baselines import build_baseline
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.features import FeatureCache, default_cache, encode_clips
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import take


def exact(method: A2M2) -> A2M2:
    """The same head with the exact solver."""
    a2 = dataclasses.replace(method.config.a2, solver="exact")
    made = A2M2(dataclasses.replace(method.config, a2=a2))
    made.load_state_dict(method.weights())
    return made.eval()


def loop_over_pairs(method: A2M2, query: dict[str, Tensor], support: dict[str, Tensor]) -> Tensor:
    """Scores of one episode, pair by pair, as one would write it with POT.

    What belongs to one clip alone, unit vectors and masses, is made once per clip, not once per pair.
    """
    config, layout = method.config, method.layout
    supports = support["moments"]
    common = supports.mean(0) * len(supports) / (len(supports) + config.centring)
    sides = [side["moments"] - common for side in (query, support)]
    times = torch.tensor(layout.times)[:, 0]
    parts = layout.partition(config.a2.groups)
    scores = config.pool * query["pooled"] @ support["pooled"].T
    groups = zip(method.align.weights, parts.index, parts.share, parts.mask, strict=True)
    for weight, index, share, mask in groups:
        at, root = index[mask], share[mask][..., None]
        x, y = ((functional.normalize(side[:, at], dim=-1) * root).flatten(-2) for side in sides)
        a, b = (distinct(side @ side.mT, power=config.a2.power) for side in (x, y))
        centre = times[at[:, 0]]
        lag = config.a2.time_cost * (centre[:, None] - centre).abs()
        for i, j in product(range(len(x)), range(len(y))):
            similarity = x[i] @ y[j].T
            plan = ot.emd2(a[i], b[j], 1 - similarity + lag, return_matrix=True)[1]["G"]
            scores[i, j] += weight * (plan * similarity).sum()
    scaled: Tensor = method.align.temperature * scores
    return scaled


def distinct(own: Tensor, *, power: float) -> Tensor:
    """Masses of the candidates of clips from the similarities within each."""
    itself = own.diagonal(dim1=-2, dim2=-1)
    mass = (itself - (own.sum(-1) - itself) / max(own.shape[-1] - 1, 1)).clamp_min(1e-3) ** power
    return mass / mass.sum(-1, keepdim=True)


def against_pot(method: A2M2, descriptors: dict[str, Tensor], labels: Tensor) -> dict[str, Any]:
    """Both ways on the same episodes, alternating, on one thread."""
    solved = exact(method)
    draw = draw_episodes(labels, EpisodeForm(episodes=64))
    ours, loop, worst = [], [], 0.0
    for _ in range(5):
        start = time.perf_counter()
        logits = score_draw(solved, descriptors, draw, workers=1)
        ours.append((time.perf_counter() - start) / len(draw))
        torch.set_num_threads(1)
        start = time.perf_counter()
        with torch.inference_mode():
            plain = [
                loop_over_pairs(
                    method, take(descriptors, draw.query[e]), take(descriptors, draw.support[e])
                )
                for e in range(4)
            ]
        loop.append((time.perf_counter() - start) / len(plain))
        worst = max(worst, (torch.stack(plain) - logits[: len(plain)]).abs().max().item())
    return {
        "ms_per_episode": round(1000 * median(ours), 3),
        "ms_per_episode_loop_with_pot": round(1000 * median(loop), 3),
        "ratio": round(median(loop) / median(ours), 1),
        "largest_difference_of_scores": float(f"{worst:.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--methods", default="protonet,bimhm,otam,a2m2,deepemd,molo,trx")
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--shot", type=int, default=1)
    parser.add_argument("--out")
    options = parser.parse_args()
    model = load_model("a2m2-lite0")
    classes = class_folders(options.data)
    clips, labels = labelled(classes)
    baselines = [build_baseline(name, model) for name in options.methods.split(",")]
    cache = FeatureCache(
        options.cache or default_cache(),
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=model.preprocess,
        stages=sorted({stage for baseline in baselines for stage in baseline.method.stages}),
        people=any(baseline.method.reads_people for baseline in baselines),
    )
    cache.fill(clips)
    draw = draw_episodes(labels, EpisodeForm(shot=options.shot, episodes=options.episodes))
    rows = []
    pot: dict[str, Any] = {}
    for baseline in baselines:
        start = time.perf_counter()
        descriptors = encode_clips(baseline.method, cache.read(clips))
        encoded = time.perf_counter()
        logits = score_draw(baseline.method, descriptors, draw)
        done = time.perf_counter()
        right = (logits.argmax(-1) == draw.truth).double().mean().item()
        rows.append(
            {
                "method": baseline.name,
                "status": baseline.status,
                "encode_s": round(encoded - start, 2),
                "score_s": round(done - encoded, 2),
                "total_s": round(done - start, 2),
                "accuracy": round(100 * right, 2),
            }
        )
        if isinstance(baseline.method, A2M2):
            pot = against_pot(baseline.method, descriptors, labels)
    publish(
        receipt(
            data=options.data.name,
            clips=len(clips),
            episodes=options.episodes,
            shot=options.shot,
            methods=rows,
            a2m2_exact_against_pot=pot,
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
