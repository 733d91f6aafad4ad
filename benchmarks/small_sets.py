"""What training on a small own set is worth: the recipe `small` against the shipped head with the same clips.

    python benchmarks/small_sets.py ../shared/videos/msr_action3d ../shared/videos/jhmdb

Ten classes of a folder are taken for somebody's own, twenty clips of each. The recipe is run on them as
`a2m2 train` runs it, holding out classes and holding out clips. Both heads, the shipped one and the trained
one, then answer the same episodes: of the folder's other classes, and of the ten classes' other clips with
the twenty as supports. Prints a JSON receipt, and goes on
with one that was begun.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.backbones.onnx_run import with_runtime
from a2m2_zoo.data.draws import Draw, draw_episodes, labelled
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.data.plans import EpisodeForm, uniform
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.evaluation.statistics import class_interval, mean_interval, paired_p_value
from a2m2_zoo.features import FeatureCache, default_cache, encode_clips
from a2m2_zoo.methods.base import Method
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.recipes import recipe
from a2m2_zoo.training.session import Session
from a2m2_zoo.training.small import RECIPE, WAYS, divided, fitted
from a2m2_zoo.training.start import Start, from_recipe
from a2m2_zoo.video import Limits

CLASSES, CLIPS = 10, 20
SHOTS = (1, 5)

Clips = Mapping[str, Sequence[Path]]


def mixed(items: Sequence[Any], seed: int) -> list[Any]:
    """In an order that the seed decides."""
    return [items[i] for i in np.argsort(uniform(seed, len(items)), kind="stable")]


def taken(folder: Path, seed: int, others: int) -> tuple[Clips, Clips, Clips]:
    """Somebody's own clips, the other clips of their classes, and clips of the other classes."""
    classes = class_folders(folder)
    names = mixed(sorted(name for name, clips in classes.items() if len(clips) > CLIPS), seed)
    own = {name: mixed(classes[name], seed) for name in names[:CLASSES]}
    rest = {name: mixed(clips, seed)[:others] for name, clips in classes.items() if name not in own}
    return (
        {name: clips[:CLIPS] for name, clips in own.items()},
        {name: clips[CLIPS : CLIPS + others] for name, clips in own.items()},
        rest,
    )


def trained(own: Clips, *, by: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """The recipe's run: what it found, the settings, and both heads."""
    split = divided(own, by=by, seed=seed)
    start = opened(
        {**fitted(split, {"seed": seed}, recipe(RECIPE).training_config.to_dict())}, options
    )
    shipped = load_model("a2m2-lite0", device="cpu").method
    with tempfile.TemporaryDirectory() as out:
        session = Session(
            start,
            split,
            Path(out) / "run",
            options.cache,
            videos=False,
            half=False,
            workers=None,
            limits=Limits(),
            complain=lambda line: print(line, file=sys.stderr),
            tell=lambda label, done, total: None,
        )
        found = session.run(
            Ranks(), name="run", resume=False, progress=lambda row: None, tensorboard=False
        )
    assert found.verdict is not None
    return {
        "heads": (shipped, start.finished()),
        "way": start.config.way,
        "step": found.best_step,
        "steps": found.step,
        "training_seconds": round(found.seconds, 1),
        "verdict": found.verdict.to_dict(),
        "kept": "trained" if found.kept else "start",
    }


def opened(settings: dict[str, Any], options: argparse.Namespace) -> Start:
    """The recipe's start, on the runtime asked for."""
    from dataclasses import replace

    start = from_recipe(RECIPE, weights=None, settings=settings)
    return replace(start, backbone=with_runtime(start.backbone, options.runtime))


def cache_of(start: Start, options: argparse.Namespace) -> FeatureCache:
    """Where the features are, as the run keeps them."""
    return FeatureCache(
        options.cache,
        backbone=start.backbone,
        backbone_hash=start.backbone_file.sha256,
        preprocess=start.preprocess,
        stages=start.method.stages,
        people=start.reads_people,
    )


def difference(
    heads: Sequence[Method],
    cache: FeatureCache,
    clips: Sequence[Path],
    draw: Draw,
    *,
    by_clip: bool,
) -> dict[str, Any]:
    """Accuracy of both heads on a draw, and the paired difference over episodes, or over the clips asked."""
    hits = []
    for head in heads:
        held = encode_clips(head, cache.read(clips))
        with torch.inference_mode():
            hits.append((score_draw(head, held, draw).argmax(-1) == draw.truth).double().numpy())
    rates = [100 * right.mean(1) for right in hits]
    row: dict[str, Any] = {
        name: round(float(rate.mean()), 2)
        for name, rate in zip(("start", "trained"), rates, strict=True)
    }
    paired = rates[1] - rates[0]
    wide = None
    if by_clip:
        places = draw.query.flatten().numpy()
        gain = np.bincount(places, 100 * (hits[1] - hits[0]).ravel())
        times = np.bincount(places)
        paired = gain[times > 0] / times[times > 0]
        row["clips"] = len(paired)
    else:
        count = int(draw.classes.max()) + 1
        wide = class_interval(paired, draw.classes.numpy(), count=count)
    mean, half = mean_interval(paired)
    row |= {"difference": round(mean, 2), "interval": round(half, 2)}
    row["class_interval"] = None if wide is None else round(wide, 2)
    return {**row, "p_value": round(paired_p_value(paired), 4)}


def measured(
    heads: Sequence[Method], cache: FeatureCache, parts: tuple[Clips, Clips, Clips], *, options: Any
) -> list[dict[str, Any]]:
    """Both heads on the other classes, and on the same classes' other clips."""
    own, more, rest = parts
    rows: list[dict[str, Any]] = []
    clips, labels = labelled(rest)
    way = min(5, len(rest))
    for shot in SHOTS:
        form = EpisodeForm(way=way, shot=shot, episodes=options.episodes, seed=options.seed)
        found = difference(heads, cache, clips, draw_episodes(labels, form), by_clip=False)
        rows.append({"on": "other classes", "way": way, "shot": shot, **found})
    both = {name: [*own[name], *more[name]] for name in own}
    clips, labels = labelled(both)
    asked = torch.cat([torch.arange(len(both[name])) >= len(own[name]) for name in own])
    for shot in (*SHOTS, CLIPS):
        count = max(50, options.episodes // (2 * shot))
        form = EpisodeForm(way=len(own), shot=shot, query=2, episodes=count, seed=options.seed)
        draw = (
            all_asked(labels, asked) if shot == CLIPS else draw_episodes(labels, form, asked=asked)
        )
        found = difference(heads, cache, clips, draw, by_clip=True)
        rows.append({"on": "other clips", "way": len(own), "shot": shot, **found})
    return rows


def all_asked(labels: Tensor, asked: Tensor) -> Draw:
    """One episode: all own clips as supports, and of every class as many other clips as each has."""
    count = int(labels.max()) + 1
    fewest = int(labels[asked].bincount().amin())
    places = torch.arange(len(labels))
    query = torch.cat([places[asked & (labels == c)][:fewest] for c in range(count)])
    support = places[~asked]
    return Draw(
        torch.arange(count)[None],
        support[None],
        query[None],
        labels[support],
        labels[query],
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=2, help="choices of the ten classes")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--others", type=int, default=16, help="clips of each class to test on")
    parser.add_argument("--runtime", default="torch")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    options = parser.parse_args()
    facts = {
        "model": "a2m2-lite0",
        "recipe": RECIPE,
        "settings": recipe(RECIPE).training_config.to_dict(),
        "classes": CLASSES,
        "clips": CLIPS,
        "others": options.others,
        **{name: getattr(options, name) for name in ("runtime", "episodes", "seed")},
    }
    runs, rows = before(options.out)
    for folder in options.folders:
        for seed in range(options.seeds):
            parts = taken(folder, seed, options.others)
            cache = cache_of(opened({}, options), options)
            clips = [clip for part in parts for some in part.values() for clip in some]
            for clip, reason in cache.fill(clips).items():
                raise SystemExit(f"{clip}: {reason}")
            for by in WAYS:
                where = {"data": folder.name, "seed": seed, "by": by}
                if any(all(run[k] == v for k, v in where.items()) for run in runs):
                    continue
                run = trained(parts[0], by=by, seed=seed, options=options)
                heads = run.pop("heads")
                runs.append({**where, "classes": sorted(parts[0]), **run})
                rows += [{**where, **row} for row in measured(heads, cache, parts, options=options)]
                publish(receipt(**facts, runs=runs, results=rows), options.out)


def before(out: str | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Runs and rows of a receipt that was begun: what is there is not done again."""
    if out is None or not Path(out).exists():
        return [], []
    found = json.loads(Path(out).read_text())
    return found["runs"], found["results"]


if __name__ == "__main__":
    main()
