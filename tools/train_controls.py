"""Train the rivals and the ablations of the embedded head under its own budget, and measure all of them.

    python tools/train_controls.py --work lite0 --videos VIDEOS... --out docs/receipts/controls.json

Needs the blocks that ``tools/train_lite0.py --work lite0`` draws. Every head sees the same features, classes
and episodes; each is kept as ``WORK/controls/NAME-SEED.pt`` beside what it answered, so that a
run goes on where it was interrupted. ``--heads A B`` chooses some; without it all are trained.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import train_lite0 as lite0
from build_free_head import CONFIG, set_statistics
from torch import Tensor, nn

from a2m2_zoo import load_model
from a2m2_zoo._files import write_atomically
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.evaluation.draw import Draw, draw_episodes
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.evaluation.warps import instants, looked_at
from a2m2_zoo.features import FeatureCache, default_cache
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import (
    Descriptors,
    Method,
    PairwiseMethod,
    concatenate,
)
from a2m2_zoo.training import TrainingConfig, Validation, train

SHIFT = 0.5  # of the clip, in the misaligned columns
STATISTICS = 240  # generated clips behind projections and centres of an A²M² head


@dataclass(frozen=True)
class Head:
    """What is trained.

    Attributes:
        group: The table it belongs to.
        method: A key of ``METHODS``.
        m2: Changes to both M² blocks of ``BASE`` (``"stages"``: which are kept).
        a2: Changes to its alignment.
        other: Changes to the rest of the configuration.
        classes: Generated classes to train on.
        lr: Highest learning rate.
        steps: Steps, four episodes each; 0 is the run's own.
        after: Changes to the alignment, or the rule over shots, of the trained ``FIRST``.
    """

    group: str
    method: str = "a2m2"
    m2: dict[str, Any] = field(default_factory=dict)
    a2: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] = field(default_factory=dict)
    classes: int = lite0.CLASSES
    lr: float = lite0.CONFIG.lr
    steps: int = 0
    after: dict[str, Any] = field(default_factory=dict)


FIRST = "transport"  # what alignments and ablations are compared with
WHOLE = {"scales": (1,), "cells": (1,)}  # every frame's whole picture: a fifth of the cost
RIVALS = {"protonet": 1e-3, "bimhm": 1e-3, "otam": 1e-3, "trx": 1e-4, "hyrsm": 1e-4, "molo": 1e-4}
HEADS: dict[str, Head] = {
    "a2m2": Head("rivals", steps=400),
    "a2m2-diagonal": Head("rivals", a2={"alignment": "diagonal"}, steps=400),
    "a2m2-bimhm": Head("rivals", a2={"alignment": "bimhm"}, steps=400),
    **{name: Head("rivals", name, lr=lr, steps=400) for name, lr in RIVALS.items()},
    "transport": Head("alignment", m2=WHOLE),
    **{
        f"{name} alignment": Head("alignment", m2=WHOLE, a2={"alignment": name})
        for name in ("diagonal", "global", "bimhm", "otam")
    },
    "quarters too": Head("m2"),
    "windows of 1, 2, 4 and all": Head("m2", m2={"scales": (1, 2, 4, 0), "cells": (1,) * 4}),
    "frames alone": Head("m2", m2={**WHOLE, "motion": "none"}),
    "motion alone": Head("m2", m2={**WHOLE, "motion": "branch"}, a2={"weights": (0.0, 1.0) * 2}),
    "14² map alone": Head("m2", m2={**WHOLE, "stages": ("s14",)}),
    "7² map alone": Head("m2", m2={**WHOLE, "stages": ("s7",)}),
    "covariance, no root": Head("m2", m2={**WHOLE, "normalise": "none"}),
    "d = 16": Head("m2", m2={**WHOLE, "dim": 16}),
    "uniform masses": Head("a2", m2=WHOLE, a2={"marginals": "uniform"}),
    "cross reference": Head("a2", m2=WHOLE, a2={"marginals": "cross"}),
    "distinctiveness, p = 1": Head("a2", m2=WHOLE, a2={"power": 1.0}),
    "learned gate": Head("a2", m2=WHOLE, a2={"marginals": "gate"}),
    "no time cost": Head("a2", m2=WHOLE, a2={"time_cost": 0.0}),
    "time cost 1.5": Head("a2", m2=WHOLE, a2={"time_cost": 1.5}),
    "ε = 0.1": Head("a2", m2=WHOLE, a2={"epsilon": 0.1}),
    **{
        f"{count} classes": Head("classes", m2=WHOLE, classes=count)
        for count in (40, 160, 400, 800)
    },
    "exact after training": Head("a2", m2=WHOLE, after={"solver": "exact"}),
    "shots: mean descriptors": Head("a2", m2=WHOLE, after={"shots": "descriptors"}),
    "shots: one set": Head("a2", m2=WHOLE, after={"shots": "pooled"}),
}


class Projected(PairwiseMethod):
    """A method without parameters behind a learned projection of the frame vectors, and a temperature.

    What a first-order head can learn on a frozen backbone: the methods' own papers tune the backbone.
    """

    def __init__(self, inner: Method, channels: int) -> None:
        super().__init__()
        assert isinstance(inner, PairwiseMethod)
        self.inner = inner
        self.config = inner.config
        self.stages = inner.stages
        self.project = nn.Linear(channels, 512)
        nn.init.orthogonal_(self.project.weight)
        self.log_temperature = nn.Parameter(torch.tensor(2.0))

    def encode(self, features: Features) -> Descriptors:
        """The inner method's descriptors of projected vectors."""
        return self.inner.encode(Features(features.maps, self.project(features.pooled.float())))

    def pairs(self, query: Descriptors, support: Descriptors) -> Tensor:
        """The inner method's, by the temperature."""
        return self.log_temperature.exp() * self.inner.pairs(query, support)


def a2m2_config(head: Head) -> A2M2Config:
    """``BASE`` with the head's changes."""
    changes = dict(head.m2)
    stages = changes.pop("stages", tuple(CONFIG.m2))
    m2 = {stage: replace(CONFIG.m2[stage], **changes) for stage in stages}
    groups = sum(len({n.split("@")[0] for n in block.group_names}) for block in m2.values())
    a2 = replace(CONFIG.a2, **{"weights": (1.0,) * groups, "learn_temperature": True, **head.a2})
    return replace(CONFIG, m2=m2, a2=a2, **head.other)


def built(head: Head, statistics: Features, backbone: Any, seed: int) -> Method:
    """The head before training: A²M² training-free, the others with seeded weights."""
    torch.manual_seed(seed)
    kind, config = METHODS[head.method]
    if head.method != "a2m2":
        made: Method = kind(config.for_backbone(backbone, frames=8))
        return (
            made
            if any(True for _ in made.parameters())
            else Projected(made, backbone.pooled_channels)
        )
    method = A2M2(a2m2_config(head))
    for stage, block in method.blocks.items():
        set_statistics(block, statistics.maps[stage])
    return method


def after_training(method: Method, head: Head) -> Method:
    """The method with what the head changes after training."""
    assert isinstance(method, A2M2)
    changes = dict(head.after)
    rule = changes.pop("shots", method.config.shots)
    a2 = replace(method.config.a2, **changes)
    made = A2M2(replace(method.config, a2=a2, shots=rule))
    made.load_state_dict(method.weights())
    return made.eval()


@dataclass
class Data:
    """What every job needs, made once before the workers are forked."""

    backbone: Any
    generated: tuple[Features, Tensor, Tensor]
    statistics: Features
    validation: Callable[[int], Validation]
    real: dict[str, tuple[Features, Tensor]]
    options: argparse.Namespace


DATA: Data


def job(name: str, seed: int) -> str:
    """Train a head and measure it, unless that was done before."""
    torch.set_num_threads(1)
    head, options = HEADS[name], DATA.options
    stem = stem_of(name, seed, options)
    if (stem.parent / f"{stem.name}.npz").exists():
        return stem.name
    method = built(head, DATA.statistics, DATA.backbone, seed)
    found, labels, inside = DATA.generated
    if head.classes < lite0.CLASSES:
        kept = labels < head.classes
        found = Features({k: v[kept] for k, v in found.maps.items()}, found.pooled[kept])
        labels, inside = labels[kept], inside[kept]
    source = lite0.source(
        found,
        labels,
        inside,
        classes=head.classes,
        seed=lite0.SEED + seed,
    )
    steps = head.steps or options.steps
    config: TrainingConfig = replace(
        lite0.CONFIG, steps=steps, lr=head.lr, seed=seed, validate_every=0, validate_episodes=200
    )
    started = time.perf_counter()
    if head.after:
        held = torch.load(stem.with_name(f"{FIRST}-{seed}.pt"), weights_only=True)
        method.load_state_dict(held)
        return kept_answers(stem, after_training(method, head), {})
    result = train(
        method,
        source,
        config=config,
        out=stem,
        validation=DATA.validation(head.classes),
        resume=True,
    )
    seconds = time.perf_counter() - started
    buffer = io.BytesIO()
    torch.save(method.weights(), buffer)
    write_atomically(
        stem.parent / f"{stem.name}.pt", lambda path: path.write_bytes(buffer.getvalue())
    )
    facts = {"generated": result.best_accuracy, "seconds": seconds, "steps": steps}
    return kept_answers(stem, method.eval(), facts)


def kept_answers(stem: Path, method: Method, facts: dict[str, Any]) -> str:
    """Measure and write beside the weights."""
    saved: dict[str, Any] = {**measured(method), "facts": np.array(json.dumps(facts))}
    buffer = io.BytesIO()
    np.savez(buffer, **saved)
    write_atomically(
        stem.parent / f"{stem.name}.npz", lambda path: path.write_bytes(buffer.getvalue())
    )
    return stem.name


@torch.inference_mode()
def measured(method: Method) -> dict[str, np.ndarray]:
    """Share of right answers in each episode of each set: aligned, and queries half a clip late or early."""
    found, most = {}, DATA.options.episodes
    for name, (clips, labels) in DATA.real.items():
        at = instants(8, len(labels), kind="shift", amount=SHIFT, seed=0)
        parts = [part for one in (clips, looked_at(clips, at)) for part in pieces(one)]
        both: Descriptors = concatenate([method.encode(part) for part in parts])
        for shot, episodes in ((1, most), (5, most // 2)):
            draw = draw_episodes(
                labels, way=min(5, int(labels.max()) + 1), shot=shot, episodes=episodes, seed=0
            )
            late = replace(draw, query=draw.query + len(labels))
            for condition, episode in (("aligned", draw), ("shifted", late)):
                found[f"{name}/{shot}/{condition}"] = right(method, both, episode)
    return found


def pieces(clips: Features) -> Iterator[Features]:
    """A few clips at a time."""
    for start in range(0, len(clips.pooled), 16):
        some = slice(start, start + 16)
        maps = {stage: value[some].float() for stage, value in clips.maps.items()}
        yield Features(maps, clips.pooled[some].float())


def right(method: Method, descriptors: Descriptors, draw: Draw) -> np.ndarray:
    """(E,) share of right answers."""
    answers = score_draw(method, descriptors, draw, workers=1).argmax(-1)
    return (answers == draw.truth).double().mean(1).numpy()


def prepared(options: argparse.Namespace) -> Data:
    """Generated features from the blocks, held-out ones, and features of the real sets."""
    model = load_model(lite0.START)
    generated = lite0.drawn(options.work, model.preprocess, workers=2)
    chosen = torch.linspace(0, len(generated[1]) - 1, STATISTICS).long()
    statistics = Features(
        {stage: maps[chosen].float() for stage, maps in generated[0].maps.items()},
        generated[0].pooled[chosen].float(),
    )
    held, held_labels = lite0.held_out(options.work, model.backbone)

    def validation(classes: int) -> Validation:
        names = [f"generated {index}" for index in lite0.VALIDATION[0]]
        known = [f"generated {index}" for index in range(classes)]
        return Validation.of_features(held, held_labels, names=names, training_names=known)

    real = {}
    for folder in options.videos:
        classes = class_folders(folder)
        clips = [clip for found in classes.values() for clip in found]
        cache = FeatureCache(
            options.cache or default_cache(),
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=["s14", "s7"],
        )
        for clip, reason in cache.fill(clips).items():
            raise SystemExit(f"{clip}: {reason}")
        labels = torch.tensor([i for i, found in enumerate(classes.values()) for _ in found])
        parts = list(cache.read(clips))
        maps = {stage: torch.cat([part.maps[stage] for part in parts]) for stage in parts[0].maps}
        real[folder.name] = (Features(maps, torch.cat([part.pooled for part in parts])), labels)
    return Data(model.backbone, generated, statistics, validation, real, options)


def rows(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per head, set, shots and condition: mean over seeds, and the paired difference to the first."""
    made = []
    for group in dict.fromkeys(HEADS[name].group for name in names):
        members = [name for name in names if HEADS[name].group == group]
        first = members[0] if group == "rivals" else FIRST
        for name in dict.fromkeys([first, *members]):
            runs = {seed: loaded(name, seed, options) for seed in seeds_of(name, options)}
            against = {seed: loaded(first, seed, options) for seed in runs}
            for key in runs[0]:
                if key == "facts":
                    continue
                values = 100 * np.mean([run[key] for run in runs.values()], axis=0)
                other = 100 * np.mean([run[key] for run in against.values()], axis=0)
                data, shot, condition = key.split("/")
                over_seeds = np.std([100 * run[key].mean() for run in runs.values()])
                made.append(
                    {
                        "group": group,
                        "head": name,
                        "data": data,
                        "shot": int(shot),
                        "condition": condition,
                        "episodes": len(values),
                        "seeds": len(runs),
                        "accuracy": round(mean_interval(values)[0], 2),
                        "interval": round(mean_interval(values)[1], 2),
                        "deviation_over_seeds": round(float(over_seeds), 2),
                        "reference": first,
                        "difference": round(mean_interval(values - other)[0], 2),
                        "difference_interval": round(mean_interval(values - other)[1], 2),
                    }
                )
    return made


def seeds_of(name: str, options: argparse.Namespace) -> range:
    """Rivals are trained once, ablations with several seeds."""
    return range(1 if HEADS[name].group in ("rivals", "classes") else options.seeds)


def loaded(name: str, seed: int, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """What a head answered."""
    stem = stem_of(name, seed, options)
    with np.load(stem.parent / f"{stem.name}.npz") as held:
        return dict(held)


def stem_of(name: str, seed: int, options: argparse.Namespace) -> Path:
    """Where a run's files are."""
    plain = "".join(letter if letter.isalnum() else "_" for letter in name)
    stem: Path = options.work / "controls" / f"{plain}-{seed}"
    return stem


def main() -> None:
    """Train what is missing, measure it, write the receipt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("lite0"))
    parser.add_argument("--videos", type=Path, nargs="+", required=True)
    parser.add_argument("--heads", nargs="+", default=list(HEADS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--episodes", type=int, default=2000, help="half as many with five shots")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = options.heads
    if unknown := set(names) - set(HEADS):
        parser.error(f"unknown heads {sorted(unknown)}; known: {'; '.join(HEADS)}")
    global DATA
    DATA = prepared(options)
    (options.work / "controls").mkdir(exist_ok=True)
    jobs = [(name, seed) for name in names for seed in seeds_of(name, options)]
    jobs.sort(key=lambda one: one[1])  # every head once before any a second time
    context = multiprocessing.get_context("fork")  # the features are shared, not copied
    with context.Pool(options.workers, maxtasksperchild=1) as pool:
        for done in [pool.apply_async(job, one) for one in jobs]:
            print(done.get(), file=sys.stderr, flush=True)
    from a2m2_zoo import __version__

    receipt = {
        "a2m2_zoo": __version__,
        "torch": torch.__version__,
        "steps": options.steps,
        "shift": SHIFT,
        "results": rows(names, options),
        "runs": {
            f"{name}, seed {seed}": json.loads(str(loaded(name, seed, options)["facts"]))
            for name, seed in jobs
            if not HEADS[name].after
        },
    }
    text = json.dumps(receipt, indent=1, ensure_ascii=False) + "\n"
    if options.out:
        write_atomically(options.out, lambda path: path.write_text(text))
    else:
        print(text)


if __name__ == "__main__":
    main()
