"""Accuracy of the embedded models on folders of real clips: 5-way (2-way where there are two classes).

    python benchmarks/accuracy.py ../shared/videos/msr_action3d ../shared/videos/jhmdb

Every clip is encoded once; all models answer the same episodes. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from _receipt import publish, receipt
from rich.console import Console
from rich.progress import track

from a2m2_zoo import load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.evaluation.protocol import evaluate
from a2m2_zoo.methods.base import concatenate
from a2m2_zoo.model import Model
from a2m2_zoo.video import read_clips


def encode(folder: Path, models: list[Model]) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
    """Descriptors of all clips under ``folder`` for every model, and their labels."""
    classes = class_folders(folder)
    sources = [clip for clips in classes.values() for clip in clips]
    labels = torch.tensor([i for i, clips in enumerate(classes.values()) for _ in clips])
    parts: list[list[dict[str, torch.Tensor]]] = [[] for _ in models]
    reading = track(
        read_clips(sources, models[0].preprocess, workers=1),
        total=len(sources),
        description=folder.name,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    for clip in reading:
        if isinstance(clip, A2M2Error):
            raise clip
        for model, found in zip(models, parts, strict=True):
            found.append(model.encode([clip]))
    return [concatenate(list(found)) for found in parts], labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--models", default="a2m2-lite0,protonet-lite0")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    options = parser.parse_args()
    models = [load_model(name) for name in options.models.split(",")]
    rows: list[dict[str, Any]] = []
    for folder in options.folders:
        encoded, labels = encode(folder, models)
        way = min(5, int(labels.max()) + 1)
        for shot in (1, 5):
            for model, descriptors in zip(models, encoded, strict=True):
                outcome = evaluate(
                    model,
                    descriptors,
                    labels,
                    way=way,
                    shot=shot,
                    episodes=options.episodes,
                    seed=options.seed,
                )
                accuracy, interval = outcome.accuracy
                rows.append(
                    {
                        "data": folder.name,
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
    weights = {model.id: model.weights_hash for model in models}
    facts = receipt(episodes=options.episodes, seed=options.seed, weights=weights, results=rows)
    publish(facts, options.out)


if __name__ == "__main__":
    main()
