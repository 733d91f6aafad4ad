"""Training on cached features: episodes a second of a step, forward, backward and update.

    python benchmarks/training.py

5-way 1-shot with 5 queries a class, features of the embedded backbone's shapes. Prints a JSON receipt: A²M²
with the configuration that is shipped, with one quarter of the picture for each step, with linear
projections, of whole pictures alone, and MoLo as the peer. All of them twice: four episodes of 30 clips each,
and twelve that are dealt from 48 clips.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from _receipt import publish, receipt

from a2m2_zoo import load_model
from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import Method
from a2m2_zoo.training import EpisodeSource, FeatureSource, TrainingConfig
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.schedule import LossScale, Optimiser, trainable
from a2m2_zoo.training.shared_clips import dealt, draws
from a2m2_zoo.training.step import Stepper

CLASSES, CLIPS, WAY, SHOT, QUERY = 20, 8, 5, 1, 5
CLIPS_OF_EPISODES = {
    "own clips": {"batch": 4},
    "shared clips": {"batch": 12, "deals": 12, "pool": 8},
}


def methods() -> dict[str, Method]:
    """The heads that are timed."""
    backbone = build_backbone("lite")
    config = load_model("a2m2-lite0").method.config
    linear = {stage: replace(m2, reduce="linear") for stage, m2 in config.m2.items()}
    whole = {stage: replace(m2, scales=(1,), cells=(1,)) for stage, m2 in config.m2.items()}
    molo, settings = METHODS["molo"]
    return {
        "a2m2, one quarter a step": A2M2(replace(config, one_cell=True)),
        "a2m2": A2M2(config),
        "a2m2, linear projections": A2M2(replace(config, m2=linear)),
        "a2m2, whole pictures alone": A2M2(replace(config, m2=whole)),
        "molo": molo(settings.for_backbone(backbone, frames=8)),
    }


def source(config: TrainingConfig) -> EpisodeSource:
    """Random features: a step takes as long on these as on any others."""
    draw = torch.Generator().manual_seed(0)
    count = CLASSES * CLIPS
    maps = {
        stage: torch.rand(count, 8, channels, 7, 7, generator=draw).half()
        for stage, channels in (("s14", 112), ("s7", 320))
    }
    features = Features(maps, torch.rand(count, 8, 1280, generator=draw).half())
    labels = torch.arange(CLASSES).repeat_interleave(CLIPS)
    return dealt(FeatureSource(features, labels, draws(config)), config)


def timed(method: Method, *, sizes: dict[str, Any], steps: int) -> float:
    """Median episodes a second over the steps."""
    config = TrainingConfig(way=WAY, shot=SHOT, query=QUERY, steps=steps + 1, warmup=1, **sizes)
    episodes = source(config)
    method.prepare_training(classes=episodes.classes)
    parameters = trainable(method.train(), None)
    stepper = Stepper(
        method,
        None,
        list(parameters.values()),
        Optimiser(parameters, config),
        LossScale(1.0),
        config,
        Ranks(),
        torch.device("cpu"),
    )
    seconds = []
    for step in range(steps + 1):
        start = time.perf_counter()
        stepper.take(step, [(step, episodes.batch(step))], stop=False)
        seconds.append(time.perf_counter() - start)
    return config.batch / median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    speed = {
        kind: {
            name: timed(method, sizes=sizes, steps=options.steps)
            for name, method in methods().items()
        }
        for kind, sizes in CLIPS_OF_EPISODES.items()
    }
    publish(
        receipt(
            episode={"way": WAY, "shot": SHOT, "query": QUERY},
            clips=CLIPS_OF_EPISODES,
            steps=options.steps,
            episodes_per_second={
                kind: {name: round(value, 2) for name, value in found.items()}
                for kind, found in speed.items()
            },
            ratio_to_molo={
                kind: {name: round(value / found["molo"], 2) for name, value in found.items()}
                for kind, found in speed.items()
            },
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
