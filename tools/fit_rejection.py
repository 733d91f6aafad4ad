"""Fit the weights of rejection for the embedded models on generated classes and write them.

    python tools/fit_rejection.py --work rejection

Draws clips of classes that no model was trained on or has statistics of, filmed anywhere, and plays open-set
episodes with them: half of the queries are of none of the classes. No real video is used. Half an hour on one
core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from build_free_head import features as features_of
from torch import Tensor

from a2m2_zoo import load_model
from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.openset import open_features
from a2m2_zoo.evaluation.statistics import auroc
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import package_file
from a2m2_zoo.methods.base import as_pairwise, concatenate, encoded_pieces
from a2m2_zoo.recognition.rejection import FEATURES, fit_table_row

MODELS = ("a2m2-lite0", "a2m2-lite0-free", "protonet-lite0")
CLASSES = (range(5200, 5440, 4), 12)  # one of each family of sisters, clips of each
WAYS = {2: 400, 5: 300, 10: 60}  # classes, and as many unknown, and episodes
SHOTS = (1, 2, 5, 10)
SEED = 41


def drawn(work: Path) -> tuple[Features, Tensor]:
    """Features of the generated clips, kept on disk."""
    path = work / "rejection.safetensors"
    if not path.exists():
        drawn_clips, _ = features_of(
            build_backbone("lite").eval(), *CLASSES, style="scene", people=True
        )
        tensors = {
            stage: torch.cat([item.maps[stage] for item in drawn_clips])
            for stage in drawn_clips[0].maps
        }
        tensors["pooled"] = torch.cat([item.pooled for item in drawn_clips])
        people = [item.people for item in drawn_clips if item.people is not None]
        tensors["people"] = torch.cat(people)
        checkpoint.save(path, tensors, kind="features", record={"classes": str(CLASSES[0])})
    maps = checkpoint.load(path, kind="features").tensors
    found = Features(maps, maps.pop("pooled"), maps.pop("people"))
    return found, torch.arange(len(CLASSES[0])).repeat_interleave(CLASSES[1])


def fitted(name: str, found: Features, labels: Tensor) -> dict[str, Any]:
    """The entry of one model."""
    model = load_model(name)
    method = as_pairwise(model.method)
    assert method is not None
    with torch.inference_mode():
        descriptors = concatenate([*encoded_pieces(method, found)])
    table = {}
    for shot in SHOTS:
        rows, truth = [], []
        for way, episodes in WAYS.items():
            form = EpisodeForm(way=way, shot=shot, query=2, episodes=episodes, seed=SEED)
            features, known = open_features(method, descriptors, labels, form)
            rows.append(features)
            truth.append(known)
        table[shot] = fit_table_row(torch.cat(rows), torch.cat(truth))
        weights = torch.tensor(table[shot], dtype=torch.float64)
        for way, x, y in zip(WAYS, rows, truth, strict=True):
            area = auroc((x @ weights[1:]).numpy(), y.bool().numpy())
            print(f"{name}, {way}-way {shot}-shot: AUROC {area:.3f} of those fitted to", flush=True)
    return {"id": name, "weights_hash": model.weights_hash, "weights": table}


def main() -> None:
    """Draw, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("rejection"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    found, labels = drawn(options.work)
    facts = {"features": FEATURES, "models": [fitted(name, found, labels) for name in MODELS]}
    path = package_file("weights/rejection.json").resolve()
    write_atomically(path, lambda scratch: scratch.write_text(json.dumps(facts, indent=1) + "\n"))


if __name__ == "__main__":
    main()
