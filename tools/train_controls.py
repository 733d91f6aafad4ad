"""Train the baselines and the ablations of the embedded head under its own budget, and measure all of them.

    python tools/train_controls.py --work lite0 --videos VIDEOS... --out docs/receipts/controls.json

Takes the blocks that ``tools/train_lite0.py --work lite0`` draws, or draws them. Every head sees the same
features, classes and episodes; each is kept as ``WORK/controls/NAME-SEED.safetensors`` beside what it
answered, so that a run goes on where it was interrupted. ``--heads A B`` chooses some, and the others' rows
in an earlier receipt stay; without it all are trained.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from control_heads import (
    DISTORTION,
    FIRST,
    GENERATED,
    HEADS,
    LITE0,
    after_training,
    built,
)
from torch import Tensor

from a2m2_zoo import __version__, load_model
from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.draws import Draw, draw_episodes, labelled
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.evaluation.statistics import mean_interval
from a2m2_zoo.evaluation.warps import instants, looked_at
from a2m2_zoo.features import FeatureCache, default_cache
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import (
    Descriptors,
    Method,
    concatenate,
)
from a2m2_zoo.training import TrainingConfig, Validation, train
from a2m2_zoo.training.drawing import Drawer, all_blocks, drawn, judged
from a2m2_zoo.training.generated import Drawn, class_name
from a2m2_zoo.training.generated import episodes as episodes_of

GROUPS = tuple(dict.fromkeys(head.group for head in HEADS.values()))
SHIFT = 0.5  # of the clip, in the misaligned columns
STATISTICS = 240  # generated clips behind projections and centres of an A²M² head


@dataclass
class Data:
    """What every job needs, made once before the workers are forked."""

    backbone: Any
    generated: Drawn
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
    steps = head.steps or options.steps
    config: TrainingConfig = replace(
        LITE0.training_config, steps=steps, lr=head.lr, seed=seed, validate_every=0
    )
    distortion = replace(DISTORTION, domain=head.domain)
    source = episodes_of(first_classes(head.classes), GENERATED, config, distortion)
    started = time.perf_counter()
    if head.after:
        first = stem_of(FIRST, seed, options)
        held = checkpoint.load(first.parent / f"{first.name}.safetensors", kind="head")
        method.load_state_dict(held.tensors)
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
    weights = {key: value.contiguous() for key, value in method.weights().items()}
    file = stem.parent / f"{stem.name}.safetensors"
    checkpoint.save(file, weights, kind="head", record={"head": name})
    facts = {"generated": result.best_accuracy, "seconds": seconds, "steps": steps, "lr": head.lr}
    if head.group == "rates":  # chosen on generated classes alone
        return kept_answers(stem, None, facts)
    aligned = options.baselines if head.group == "baselines" else 0
    return kept_answers(stem, method.eval(), facts, aligned=aligned)


def first_classes(count: int) -> Drawn:
    """The generated clips of the first classes."""
    drawn = DATA.generated
    if count == GENERATED.classes:
        return drawn
    kept, found = drawn.labels < count, drawn.features
    maps = {stage: value[kept] for stage, value in found.maps.items()}
    return Drawn(Features(maps, found.pooled[kept]), drawn.labels[kept], drawn.inside[kept])


def run_apart(jobs: list[tuple[str, int]], workers: int) -> Iterator[tuple[str, int, int | None]]:
    """Jobs in processes of their own, which give back their memory; each with its exit code when it ends."""
    context = multiprocessing.get_context("fork")  # the features are shared, not copied
    waiting = list(jobs)
    running: dict[int, tuple[tuple[str, int], Any]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            one = waiting.pop(0)
            process = context.Process(target=job, args=one)
            process.start()
            running[process.sentinel] = one, process
        for sentinel in connection.wait(list(running)):
            assert isinstance(sentinel, int)
            one, process = running.pop(sentinel)
            process.join()
            yield *one, process.exitcode


def kept_answers(
    stem: Path, method: Method | None, facts: dict[str, Any], *, aligned: int = 0
) -> str:
    """Measure on the real sets, if a method is given, and write beside the weights."""
    answers = {} if method is None else measured(method, aligned=aligned)
    saved: dict[str, Any] = {**answers, "facts": np.array(json.dumps(facts))}
    buffer = io.BytesIO()
    np.savez(buffer, **saved)
    write_atomically(
        stem.parent / f"{stem.name}.npz", lambda path: path.write_bytes(buffer.getvalue())
    )
    return stem.name


@torch.inference_mode()
def measured(method: Method, *, aligned: int = 0) -> dict[str, np.ndarray]:
    """Share of right answers in each episode of each set: aligned, and queries half a clip late or early.

    ``aligned`` episodes for the former, where it is given.
    """
    found, most = {}, DATA.options.episodes
    for name, (clips, labels) in DATA.real.items():
        at = instants(8, len(labels), kind="shift", amount=SHIFT, seed=0)
        parts = [part for one in (clips, looked_at(clips, at)) for part in pieces(one)]
        both: Descriptors = concatenate([method.encode(part) for part in parts])
        for shot, episodes in ((1, most), (5, most // 2)):
            way = min(5, int(labels.max()) + 1)
            for condition, count in (("aligned", aligned or episodes), ("shifted", episodes)):
                draw = draw_episodes(labels, EpisodeForm(way=way, shot=shot, episodes=count))
                if condition == "shifted":
                    draw = replace(draw, query=draw.query + len(labels))
                found[f"{name}/{shot}/{condition}"] = right(method, both, draw)
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
    model = load_model(str(LITE0.start))
    drawer = Drawer(options.work, model.backbone, model.backbone_hash, model.preprocess)
    drawer.fill(all_blocks(GENERATED), workers=2, tell=lambda *_: None)
    generated, held = drawn(drawer, GENERATED), judged(drawer, GENERATED)[0]
    found = generated.features
    chosen = torch.linspace(0, len(generated.labels) - 1, STATISTICS).long()
    statistics = Features(
        {stage: maps[chosen].float() for stage, maps in found.maps.items()},
        found.pooled[chosen].float(),
    )

    def validation(classes: int) -> Validation:
        known = tuple(class_name(label) for label in range(classes))
        return replace(held, training_names=known)

    real = {}
    for folder in options.videos:
        clips, labels = labelled(class_folders(folder))
        cache = FeatureCache(
            options.cache or default_cache(),
            backbone=model.backbone,
            backbone_hash=model.backbone_hash,
            preprocess=model.preprocess,
            stages=["s14", "s7"],
            people=model.method.reads_people,
        )
        for clip, reason in cache.fill(clips).items():
            raise SystemExit(f"{clip}: {reason}")
        parts = list(cache.read(clips))
        maps = {stage: torch.cat([part.maps[stage] for part in parts]) for stage in parts[0].maps}
        real[folder.name] = (Features(maps, torch.cat([part.pooled for part in parts])), labels)
    return Data(model.backbone, generated, statistics, validation, real, options)


def rows(names: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per head, set, shots and condition: mean over seeds, and the paired difference to the first."""
    made = []
    for group in dict.fromkeys(HEADS[name].group for name in names):
        if group == "rates":
            continue
        members = [name for name in names if HEADS[name].group == group]
        first = members[0] if group == "baselines" else FIRST
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
    """The seeds a head is trained with."""
    return range(min(HEADS[name].seeds, options.seeds))


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
    parser.add_argument(
        "--baselines", type=int, default=10_000, help="aligned episodes of the baselines"
    )
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
    failed = False
    for name, seed, code in run_apart(jobs, options.workers):
        failed |= bool(code)
        print(name, seed, f"failed ({code})" if code else "", file=sys.stderr, flush=True)
    if failed:
        parser.exit(1, "what is done is kept; run the same command again\n")
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
    if options.out and options.out.exists():
        receipt = joined(json.loads(options.out.read_text()), receipt)
    text = json.dumps(receipt, indent=1, ensure_ascii=False) + "\n"
    if options.out:
        write_atomically(options.out, lambda path: path.write_text(text))
    else:
        print(text)


def joined(held: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """The receipt, with what an earlier one holds of heads that were not chosen now."""

    def place(row: dict[str, Any]) -> tuple[str, str]:
        return row["group"], row["head"]

    again = {place(row) for row in made["results"]}
    old = [row for row in held["results"] if place(row) not in again and row["head"] in HEADS]
    known = {(head.group, name): at for at, (name, head) in enumerate(HEADS.items())}
    # A group's reference comes first, also where it belongs to another group.
    results = sorted(
        [*old, *made["results"]],
        key=lambda row: (GROUPS.index(row["group"]), known.get(place(row), -1)),
    )
    kept = set(HEADS) - {head for _, head in again}
    runs = {run: facts for run, facts in held["runs"].items() if run.rpartition(",")[0] in kept}
    return {**made, "results": results, "runs": {**runs, **made["runs"]}}


if __name__ == "__main__":
    main()
