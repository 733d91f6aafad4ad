"""Where there is a network: hold every pinned file to its hash, and measure the models computed from them.

    python tools/verify_online.py --out VERIFIED [--data FOLDER_OF_CLASSES ...] [--skip MODEL ...] [--update]

Every file that the manifest pins on the Hub is fetched and its hash compared. Models that are computed on a
backbone with a text tower are asked about three drawn pictures, and their answers held to those in
``tools/known_answers.json``, or printed where it has none of them. On every folder given, every computed
model is measured. VERIFIED then holds ``answers.json``, ``receipts/`` and ``weights_manifest.json`` with
sizes and figures filled in; with ``--update`` they also go where they belong in the tree, to be looked at and
committed, if nothing was wrong. Exit code 0: all is as announced; 1: something is not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from msgspec import to_builtins
from torch.nn import functional

from a2m2_zoo import load_model
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.compare import compare
from a2m2_zoo.hub.fetch import compared, fetch
from a2m2_zoo.hub.manifest import BackboneEntry, Manifest, ModelEntry, read_manifest
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.video import normalise, read_clip

ROOT = Path(__file__).resolve().parent.parent
KNOWN = Path(__file__).with_name("known_answers.json")
PICTURES = ("kick", "squat", "wave")
PROMPTS = ("a drawing of a person", "a photo of a dog", "a photo of a landscape")
TOLERANCE = 2e-3  # of probabilities; other processors round otherwise


def pinned(manifest: Manifest) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Each file on the Hub: whose it is, why it is not as announced, and what was found."""
    entries: list[BackboneEntry | ModelEntry] = [
        *manifest.backbones.values(),
        *manifest.models.values(),
    ]
    for entry in entries:
        if entry.source is None or entry.source.repo_id is None:
            continue
        try:
            path = fetch(entry.source, root=manifest.root, sha256=entry.sha256, name=entry.id)
            compared(path, entry.sha256, source=entry.source, name=entry.id)
            size = path.stat().st_size
            wrong = entry.size not in (None, size)
            said = f"has {size:,} bytes where {entry.size:,} are announced" if wrong else None
            yield entry.id, said, {"size": size}
        except A2M2Error as error:
            yield entry.id, str(error), {}


@torch.inference_mode()
def zero_shot(model: Model) -> dict[str, list[float]]:
    """Picture → probabilities of the prompts, by the cosines of a model's two towers."""
    assert model.text is not None
    texts = functional.normalize(model.text.embed(PROMPTS), dim=-1)
    found = {}
    for name in PICTURES:
        clip = read_clip(draw_named(name, 0, frames=model.preprocess.frames), model.preprocess)
        pixels = normalise(torch.from_numpy(clip.frames)[None], model.preprocess)
        vector = functional.normalize(model.backbone(pixels, stages=[]).pooled[0, 0], dim=-1)
        found[name] = (model.text.scale * texts @ vector).softmax(0).tolist()
    return found


def differences(answers: dict[str, list[float]], known: dict[str, list[float]]) -> list[str]:
    """One line for each picture whose answer is another one."""
    lines = []
    for name, expected in known.items():
        given = answers.get(name, [])
        apart = max((abs(a - b) for a, b in zip(given, expected, strict=False)), default=1.0)
        if len(given) != len(expected) or apart > TOLERANCE:
            lines.append(f"picture {name!r}: {given}; expected {expected}")
    return lines


def measured(model: Model, data: Path, protocol: Protocol, receipts: Path) -> list[dict[str, Any]]:
    """Write a model's receipt on a folder, and give the figures for its entry."""
    found = compare(
        model, class_folders(data), methods=[model.method_name], protocol=protocol, name=data.name
    )
    file = receipts / f"{model.id}-{data.name}.json"
    file.write_text(found.to_json() + "\n", encoding="utf-8")
    return [
        {
            "kind": "measured",
            "data": data.name,
            "way": found.way,
            "shot": result.shot,
            "episodes": found.episodes,
            "seed": found.seed,
            "accuracy": round(result.accuracy, 4),
            "interval": round(result.interval, 4),
            "receipt": f"docs/receipts/{file.name}",
        }
        for result in found.results
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Do all of it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="a new folder for what was found")
    parser.add_argument("--data", type=Path, action="append", default=[], help="class folders")
    parser.add_argument("--manifest", type=Path, help="another manifest than the package's")
    parser.add_argument("--known", type=Path, default=KNOWN, help="answers to hold others to")
    parser.add_argument(
        "--skip", action="append", default=[], help="a model whose files are checked, no more"
    )
    parser.add_argument("--update", action="store_true", help="write what was found into the tree")
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--way", type=int, default=5)
    given = parser.parse_args(argv)
    manifest = read_manifest(given.manifest)
    receipts = given.out / "receipts"
    receipts.mkdir(parents=True)
    faults: list[str] = []
    facts: dict[str, dict[str, Any]] = {}
    for name, fault, found in pinned(manifest):
        print(f"{name}: {fault or 'as announced'}", flush=True)
        facts[name] = found
        faults += [f"{name}: {fault}"] if fault else []
    known = json.loads(given.known.read_text()) if given.known.exists() else {}
    answers: dict[str, dict[str, list[float]]] = {}
    figures: dict[str, list[dict[str, Any]]] = {}
    protocol = Protocol(way=given.way, shots=(1,), episodes=given.episodes)
    for entry in manifest.models.values():
        if entry.status != "computed" or not facts.get(entry.backbone, {"size": 0}):
            continue
        if entry.id in given.skip:
            print(f"{entry.id}: not computed, as was asked for")
            continue
        try:
            model = load_model(entry.id, device="cpu", manifest=given.manifest)
            if model.text is not None:
                answers[entry.id] = zero_shot(model)
                lines = differences(answers[entry.id], known.get(entry.id, {}))
                faults += [f"{entry.id}: {line}" for line in lines]
                if entry.id not in known:
                    print(f"{entry.id}: no known answers; it says {answers[entry.id]}")
            for data in given.data:
                made = measured(model, data, protocol, receipts)
                figures.setdefault(entry.id, []).extend(made)
        except A2M2Error as error:
            faults.append(f"{entry.id}: {error}")
    (given.out / "answers.json").write_text(json.dumps(answers, indent=1) + "\n")
    _write(manifest, facts, figures, given.out / "weights_manifest.json")
    for fault in faults:
        print(f"NOT AS ANNOUNCED {fault}", file=sys.stderr)
    if given.update and not faults:
        update(given.out, known, ROOT)
    return int(bool(faults))


def update(out: Path, known: dict[str, Any], root: Path) -> None:
    """Put what was found where it belongs: manifests, receipts, and the answers of models that had none."""
    for place in ("weights_manifest.json", "a2m2_zoo/weights_manifest.json"):
        shutil.copy(out / "weights_manifest.json", root / place)
    for receipt in sorted((out / "receipts").iterdir()):
        shutil.copy(receipt, root / "docs" / "receipts")
    answers = {**json.loads((out / "answers.json").read_text()), **known}
    text = json.dumps(answers, indent=1, sort_keys=True) + "\n"
    (root / "tools" / KNOWN.name).write_text(text)


def _write(
    manifest: Manifest,
    facts: dict[str, dict[str, Any]],
    figures: dict[str, list[dict[str, Any]]],
    path: Path,
) -> None:
    """The manifest with what was found; a figure takes the place of one on the same data."""
    lists: dict[str, Any] = {"schema": 2}
    for key, entries in (("backbones", manifest.backbones), ("models", manifest.models)):
        lists[key] = []
        for entry in entries.values():
            values = to_builtins(entry)
            if values.get("config", 0) is None:
                del values["config"]
            if values["source"] is not None:
                values["source"] = {k: v for k, v in values["source"].items() if v is not None}
                values["size"] = facts.get(entry.id, {}).get("size", values["size"])
            new = figures.get(entry.id, [])
            if new:
                there = {(metric["data"], metric["shot"]) for metric in new}
                kept = [m for m in values["metrics"] if (m["data"], m["shot"]) not in there]
                values["metrics"] = kept + new
            lists[key].append(values)
    path.write_text(json.dumps(lists, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
