"""The manifest that ships, a real CLIP with random weights, the real client: from a name to an answer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from clip_maker import write_clip
from hub_server import Hub, Repo
from library_maker import files_of

from a2m2_zoo import classify, load_model
from a2m2_zoo.errors import CheckpointError, FetchError
from a2m2_zoo.hub.manifest import package_file, read_manifest
from a2m2_zoo.synthetic import draw_clip

TRANSFORMERS = {
    "a2m2-dinov2-small": "org/dinov2",
    "a2m2-siglip2-base": "org/siglip",  # the architecture of that repository, too
    "a2m2-vjepa2-vitl": "org/vjepa2",
}

pytestmark = pytest.mark.usefixtures("seen_once", "few")


def test_clip_rn50_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    weights = tmp_path / "clip.safetensors"
    digest = write_clip(weights, "RN50-quickgelu")
    zoo = json.loads(package_file("weights_manifest.json").read_text())
    (backbone,) = (entry for entry in zoo["backbones"] if entry["id"] == "clip-rn50")
    # Everything as it ships but the hash: the true weights cannot be had offline.
    backbone |= {"sha256": digest, "size": weights.stat().st_size}
    zoo["backbones"] = [backbone]
    zoo["models"] = [entry for entry in zoo["models"] if entry["id"] == "a2m2-clip-rn50"]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(zoo))
    source = backbone["source"]
    files = {source["file"]: weights.read_bytes()}
    hub.repos[source["repo_id"]] = Repo({source["commit"]: files}, head=source["commit"])
    weights.unlink()

    with pytest.raises(FetchError, match=r"offline"):
        load_model("a2m2-clip-rn50", manifest=path, offline=True)
    assert hub.count() == 0
    first = load_model("a2m2-clip-rn50", manifest=path, device="cpu")
    assert hub.count("GET") == 1
    before = hub.count()
    again = load_model("a2m2-clip-rn50", manifest=path, device="cpu", offline=True)
    assert again.weights_hash == first.weights_hash
    supports = {name: [draw_clip(3, label, 0)] for label, name in enumerate(("kick", "wave"))}
    answer = classify(draw_clip(3, 0, 1), supports, model=again, text_weight=0.5)
    assert set(answer.probabilities) == {"kick", "wave"}
    assert answer.prompts["kick"] == ("a photo of kick",)
    assert hub.count() == before  # the text tower came out of the file that was fetched


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_from_the_hub(name: str, hub: Hub, tmp_path: Path) -> None:
    """Narrow networks of the same kinds, as their repositories describe them."""
    zoo = json.loads(package_file("weights_manifest.json").read_text())
    zoo["models"] = [entry for entry in zoo["models"] if entry["id"] == name]
    zoo["backbones"] = [b for b in zoo["backbones"] if b["id"] == zoo["models"][0]["backbone"]]
    (backbone,) = zoo["backbones"]
    files, source = files_of(TRANSFORMERS[name]), backbone["source"]
    weights = files[source["file"]]
    backbone |= {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}
    hub.repos[source["repo_id"]] = Repo({source["commit"]: files}, head=source["commit"])
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(zoo))

    first = load_model(name, manifest=path, device="cpu")
    assert (first.id, first.backbone_name) == (name, backbone["id"])
    before = hub.count()
    again = load_model(name, manifest=path, device="cpu", offline=True)
    assert again.weights_hash == first.weights_hash
    clips = {kind: [draw_clip(3, label, 0)] for label, kind in enumerate(("kick", "wave"))}
    assert set(classify(draw_clip(3, 0, 1), clips, model=again).probabilities) == {"kick", "wave"}
    assert hub.count() == before

    backbone["sha256"] = "0" * 64
    path.write_text(json.dumps(zoo))
    with pytest.raises(CheckpointError, match="0000"):
        load_model(name, manifest=path, device="cpu", offline=True)
    backbone["source"]["commit"] = "0" * 40
    path.write_text(json.dumps(zoo))
    with pytest.raises(CheckpointError, match="give one repository and commit"):
        read_manifest(path)
