"""Accuracy of the embedded models on folders of real clips: 5-way (2-way where there are two classes).

    python benchmarks/accuracy.py ../shared/videos/msr_action3d ../shared/videos/jhmdb

Every clip is encoded once; all models answer the same episodes. Where file names tell the recording, support
and query never come from the same one. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from _folders import opened, parser
from _receipt import publish, receipt
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.protocol import evaluate
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.model import Model

SHOTS = (1, 5, 10, 20)
#: A class that is told by the shape of its pictures; the set is measured without it, too.
GIVEN_AWAY = {"ut_interaction": "point"}


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
    options = parser(__doc__, models=True).parse_args()
    models = [load_model(name) for name in options.models.split(",")]
    rows: list[dict[str, Any]] = []
    for folder in opened(options, models[0]):
        labels, sources = folder.labels, folder.sources
        encoded = [folder.encoded(model.method) for model in models]
        rows += measured(folder.name, models, encoded, labels, sources, options)
        if folder.name in GIVEN_AWAY:
            name = GIVEN_AWAY[folder.name]
            kept = torch.tensor([clip.parent.name != name for clip in folder.clips])
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
