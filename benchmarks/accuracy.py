"""Accuracy of the embedded models on folders of real clips: 5-way (2-way where there are two classes).

    python benchmarks/accuracy.py ../shared/videos/msr_action3d ../shared/videos/jhmdb

Every clip is encoded once; all models answer the same episodes. Where file names tell the recording, support
and query never come from the same one. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import torch
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.protocol import evaluate
from a2m2_zoo.features import FeatureCache, default_cache, encode_clips
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.model import Model

SHOTS = (1, 5, 10, 20)
#: What tells the recording in the names of a set's clips.
SOURCES = {"ut_interaction": r"^(set\d)_\d+_(\d+)_"}
#: A class that is told by the shape of its pictures; the set is measured without it, too.
GIVEN_AWAY = {"ut_interaction": "point"}


def cached(folder: Path, model: Model, root: Path) -> tuple[FeatureCache, list[Path], torch.Tensor]:
    """Features of all clips under ``folder`` on disk, the clips, and their labels."""
    classes = class_folders(folder)
    clips = [clip for found in classes.values() for clip in found]
    labels = torch.tensor([i for i, found in enumerate(classes.values()) for _ in found])
    cache = FeatureCache(
        root,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=model.preprocess,
        stages=["s14", "s7"],
        people=model.method.reads_people,
    )
    for clip, reason in cache.fill(clips).items():
        raise SystemExit(f"{clip}: {reason}")
    return cache, clips, labels


def sources_of(name: str, clips: list[Path]) -> Tensor | None:
    """Which recording each clip is of, where the set's file names tell; none stands on both sides."""
    if name not in SOURCES:
        return None
    found = [re.search(SOURCES[name], clip.name) for clip in clips]
    names = ["/".join(match.groups()) for match in found if match]
    if len(names) < len(clips):
        raise SystemExit(f"{name}: a clip's name does not tell its recording")
    return torch.tensor([sorted(set(names)).index(source) for source in names])


def measured(
    name: str,
    models: list[Model],
    encoded: list[dict[str, Tensor]],
    labels: Tensor,
    sources: Tensor | None,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """A row of the receipt for every number of supports and every model."""
    rows: list[dict[str, Any]] = []
    way = min(5, int(labels.max()) + 1)
    for shot in [shot for shot in SHOTS if int(labels.bincount().min()) > shot]:
        form = EpisodeForm(way=way, shot=shot, episodes=options.episodes, seed=options.seed)
        for model, descriptors in zip(models, encoded, strict=True):
            try:
                outcome = evaluate(model, descriptors, labels, form=form, sources=sources)
            except EpisodeError:  # too few recordings for so many supports
                continue
            accuracy, interval = outcome.accuracy
            rows.append(
                {
                    "data": name,
                    "clips": len(labels),
                    "model": model.id,
                    "way": way,
                    "shot": shot,
                    "accuracy": round(accuracy, 2),
                    "interval": round(interval, 2),
                    "calibration_error": round(outcome.calibration_error, 4),
                }
            )
            print(rows[-1], file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--models", default="a2m2-lite0,a2m2-lite0-free,protonet-lite0")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    options = parser.parse_args()
    models = [load_model(name) for name in options.models.split(",")]
    rows: list[dict[str, Any]] = []
    for folder in options.folders:
        cache, clips, labels = cached(folder, models[0], options.cache or default_cache())
        encoded = [encode_clips(model.method, cache.read(clips)) for model in models]
        sources = sources_of(folder.name, clips)
        rows += measured(folder.name, models, encoded, labels, sources, options)
        if folder.name in GIVEN_AWAY:
            name = GIVEN_AWAY[folder.name]
            kept = torch.tensor([clip.parent.name != name for clip in clips])
            fewer = labels[kept].unique(return_inverse=True)[1]
            some = [take(descriptors, kept) for descriptors in encoded]
            apart = None if sources is None else sources[kept]
            title = f"{folder.name} without {name}"
            rows += measured(title, models, some, fewer, apart, options)
    weights = {model.id: model.weights_hash for model in models}
    facts = receipt(episodes=options.episodes, seed=options.seed, weights=weights, results=rows)
    publish(facts, options.out)


if __name__ == "__main__":
    main()
