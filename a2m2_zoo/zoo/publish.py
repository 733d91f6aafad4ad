"""A checkpoint to the Hugging Face Hub: checked, described, uploaded in one commit, read back."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from a2m2_zoo._utils.bounded_json import MAX_BYTES, read
from a2m2_zoo._utils.files import read_regular
from a2m2_zoo.data.benchmarks import benchmark as known_benchmark
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub import checkpoint as files
from a2m2_zoo.hub import preview
from a2m2_zoo.hub.card import Base, Facts, known_license, model_card, plain
from a2m2_zoo.hub.manifest import read_manifest
from a2m2_zoo.hub.methods import METHODS
from a2m2_zoo.hub.publish import (
    CARD,
    CONFIG,
    MODEL,
    Bundle,
    check_repository,
    digest,
    receipt_name,
    upload,
)
from a2m2_zoo.hub.receipts import Figure, read_figures
from a2m2_zoo.hub.source import Source
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.zoo.load import load_model

_PENDING = "0" * 40


@dataclass(frozen=True)
class Description:
    """What only the publisher knows of a model.

    Attributes:
        license: Of the head, as the Hub calls it, such as ``apache-2.0``.
        data: What the head was made from, and its terms; known for a model of the manifest.
        datasets: The same as ids of the Hub, where it has them.
        benchmark: The benchmark whose training classes it learned from.
        trained_with: The command that made it.
        metrics: Receipts of measurements with exactly these weights, see ``read_figures``.
    """

    license: str
    data: str | None = None
    datasets: Sequence[str] = ()
    benchmark: str | None = None
    trained_with: str | None = None
    metrics: Sequence[Path] = ()


@dataclass(frozen=True)
class Published:
    """What was published, or in a dry run would be.

    Attributes:
        repo_id: ``org/name``.
        commit: Of the files, read back; None in a dry run.
        url: Where people see it; None in a dry run.
        name: What ``load_model`` takes; None in a dry run.
        sha256: File → hash.
        manifest: The lists ``backbones`` and ``models`` to add to a manifest's.
        difference: In a dry run, how the files differ from what is on the Hub.
        notes: What the Hub had to say.
    """

    repo_id: str
    commit: str | None
    url: str | None
    name: str | None
    sha256: dict[str, str]
    manifest: dict[str, Any]
    difference: str = ""
    notes: tuple[str, ...] = ()


def publish(
    checkpoint: Path,
    repo_id: str,
    description: Description,
    *,
    dry_run: Path | None = None,
    private: bool = False,
    message: str | None = None,
) -> Published:
    """Publish a checkpoint.

    The model is loaded first, as strictly as for use. The repository then gets a card, the checkpoint, a
    readable copy of its header, its backbone's file if that lies beside it, and the receipts.

    Args:
        checkpoint: A file, or a folder with a ``model.safetensors``.
        repo_id: ``org/name``; made where it is missing.
        description: What the checkpoint does not say of itself.
        dry_run: Write the files to this new folder and compare them with the Hub; upload nothing.
        private: Whether a new repository is private.
        message: Of the commit.

    Raises:
        ArgumentError: The repository's name, the licence, the benchmark or a receipt is refused, or the card
            lacks ``data``.
        CheckpointError: The checkpoint does not load.
        PublishError: It failed on the way; the message says what is on the Hub.
        SaveError: The folder of a dry run cannot be written.
    """
    check_repository(repo_id)
    spdx = known_license(description.license)
    if description.benchmark is not None:
        known_benchmark(description.benchmark)
    for dataset in description.datasets:
        check_repository(dataset)
    file = checkpoint / MODEL if checkpoint.is_dir() else checkpoint
    found = files.load(file, kind="model")
    model = load_model(file, device="cpu", sha256=found.sha256)
    hashes = {
        found.sha256,
        found.plain_sha256,
    }  # of files from before there was a hash in them, too
    known = [e for e in read_manifest().models.values() if e.sha256 in hashes]
    data = plain(description.data or (known[0].data if known else ""))
    if not data:
        raise ArgumentError(
            "the card must say what the model was made from, and on which terms; give data (--data TEXT)"
        )
    receipts = {receipt_name(i): path for i, path in enumerate(description.metrics)}
    figures = tuple(
        figure
        for name, path in receipts.items()
        for figure in read_figures(
            path, weights_hash=model.weights_hash, method=model.method_name, name=name
        )
    )
    facts = Facts(
        repo_id=repo_id,
        method=model.method_name,
        origin=model.origin,
        base=_base(model, spdx),
        license=spdx,
        data=data,
        datasets=tuple(description.datasets),
        benchmark=description.benchmark,
        frames=model.preprocess.frames,
        size=model.preprocess.size,
        training=_training(file.parent, model),
        figures=figures,
    )
    bundle = _bundle(repo_id, facts, file, found, model, receipts)
    if dry_run is not None:
        preview.write_folder(bundle, dry_run)
        entry = _entries(bundle, facts, model, description, _PENDING)
        return Published(
            repo_id, None, None, None, dict(bundle.sha256), entry, preview.difference(bundle)
        )
    made = upload(bundle, private=private, message=message)
    return Published(
        repo_id=repo_id,
        commit=made.commit,
        url=made.url,
        name=f"hf-hub:{repo_id}@{made.commit}",
        sha256=dict(bundle.sha256),
        manifest=_entries(bundle, facts, model, description, made.commit),
        notes=made.notes,
    )


def _base(model: Model, license_: str) -> Base:
    """The backbone, as the card says it."""
    if model.backbone_file is not None:
        origin = "its weights came with the checkpoint and are published under the same licence"
        return Base(model.backbone_name, license_, origin, file=model.backbone_file)
    entry = read_manifest().backbones[model.backbone_name]
    repo = None if entry.source is None else entry.source.repo_id
    return Base(entry.id, entry.license, entry.origin, repo_id=repo)


def _bundle(
    repo_id: str,
    facts: Facts,
    file: Path,
    found: files.Checkpoint,
    model: Model,
    receipts: dict[str, Path],
) -> Bundle:
    header = {"library_name": "a2m2_zoo", "sha256": found.sha256, "record": found.record}
    config = json.dumps(header, indent=1, sort_keys=True, allow_nan=False) + "\n"
    content: dict[str, bytes | Path] = {
        CARD: model_card(facts).encode(),
        CONFIG: config.encode(),
        **{name: read_regular(path, most=MAX_BYTES) for name, path in receipts.items()},
        MODEL: file,
    }
    hashes = {MODEL: found.sha256}
    if model.backbone_file is not None:
        content[model.backbone_file] = file.parent / model.backbone_file
        hashes[model.backbone_file] = model.backbone_hash
    digests = {name: hashes.get(name) or digest(data) for name, data in content.items()}
    return Bundle(repo_id, content, digests)


def _training(folder: Path, model: Model) -> tuple[tuple[str, str], ...]:
    """Settings from the run's receipt, if it lies beside the checkpoint and is about such a model."""
    try:
        raw = read(folder / "receipt.json")
        config, data, result = raw["config"], raw["data"], raw["result"]
        own = model.method.config.to_dict()
        if raw["method_config"] != own or data["backbone"] not in (None, model.backbone_hash):
            return ()
        rows = {
            "recipe": data["recipe"],
            "training classes": data["train"]["classes"],
            "training clips": data["train"]["clips"],
            "episodes": f"{config['way']}-way {config['shot']}-shot, {config['query']} queries per class",
            "steps": f"{result['step']}, the best at {result['best_step']}",
            "optimiser": f"{config['optimiser']}, learning rate {config['lr']:g}",
            "seed": config["seed"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple((name, plain(str(value))) for name, value in rows.items() if value is not None)


def _entries(
    bundle: Bundle, facts: Facts, model: Model, description: Description, commit: str
) -> dict[str, Any]:
    """What a manifest says of the published model, and of its backbone if that is published too."""
    name = re.sub(r"[^a-z0-9.-]+", "-", bundle.repo_id.partition("/")[2].lower()).strip("-.")
    backbones = []
    backbone = model.backbone_name
    if model.backbone_file is not None:
        backbone = f"{name}-backbone"[-96:].lstrip("-.")
        backbones.append(
            {
                "id": backbone,
                "architecture": model.backbone_name,
                **_located(bundle, model.backbone_file, commit),
                "license": facts.license,
                "origin": f"published with {bundle.repo_id}",
                **({"config": dict(config)} if (config := model.backbone.config) else {}),
            }
        )
    entry = {
        "id": name,
        "status": "released",
        "summary": f"{METHODS.get(facts.method, (facts.method,))[0]} on {facts.base.name}, {facts.origin}",
        "method": facts.method,
        "benchmark": facts.benchmark,
        "backbone": backbone,
        **_located(bundle, MODEL, commit),
        "license": facts.license,
        "data": facts.data,
        "config": model.method.config.to_dict(),
        "preprocess": model.preprocess.to_dict(),
        "metrics": [_metric(figure, bundle.repo_id, commit) for figure in facts.figures],
        "trained_with": plain(description.trained_with or "") or None,
    }
    return {"backbones": backbones, "models": [entry]}


def _located(bundle: Bundle, file: str, commit: str) -> dict[str, Any]:
    source = Source(file, bundle.repo_id, commit)
    return {"source": to_builtins(source), "sha256": bundle.sha256[file], "size": bundle.size(file)}


def _metric(figure: Figure, repo_id: str, commit: str) -> dict[str, Any]:
    return {
        "kind": "measured",
        **{key: getattr(figure, key) for key in ("way", "shot", "accuracy", "interval")},
        **{key: getattr(figure, key) for key in ("episodes", "seed")},
        "data": plain(figure.data),
        "receipt": f"hf-hub:{repo_id}@{commit}/{figure.receipt}",
    }
