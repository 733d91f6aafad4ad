"""tools/verify_online.py against the loopback Hub, with a small real CLIP in place of the large ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from clip_maker import register, write_clip
from hub_server import COMMIT, Hub, Repo
from library_maker import files_of

from a2m2_zoo.hub.manifest import package_file, read_manifest
from a2m2_zoo.synthetic import ClipFormat, write_dataset
from a2m2_zoo.zoo import computed
from a2m2_zoo.zoo.training_free import Amounts

pytestmark = pytest.mark.usefixtures("seen_once")
SOURCE = {"repo_id": "org/small", "commit": COMMIT, "file": "open_clip_model.safetensors"}


@pytest.fixture
def zoo(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest of one computed model, its backbone on the Hub."""
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "tools")
    monkeypatch.setattr(computed, "Amounts", lambda: Amounts(1, 2, 2, 4))
    monkeypatch.setenv("A2M2_CACHE", str(tmp_path / "cache"))
    register()
    weights = tmp_path / "clip.safetensors"
    digest = write_clip(weights)
    hub.repos["org/small"] = Repo({COMMIT: {str(SOURCE["file"]): weights.read_bytes()}})
    own = json.loads(package_file("weights_manifest.json").read_text())
    (backbone,) = (e for e in own["backbones"] if e["id"] == "clip-vit-b-16")
    (model,) = (e for e in own["models"] if e["id"] == "a2m2-clip-vit-b-16")
    entry = {"architecture": "clip:small-vit", "source": SOURCE, "sha256": digest, "size": None}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"schema": 2, "backbones": [backbone | entry], "models": [model]}))
    return path


def run(zoo: Path, out: Path, *more: Any) -> int:
    import verify_online

    words = ["--manifest", zoo, "--out", out, "--way", 2, "--episodes", 20, *more]
    return verify_online.main([str(word) for word in words])


def test_all_is_as_announced(
    zoo: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "clips", tmp_path / "verified"
    write_dataset(data, classes=2, clips=2, style="stick", form=ClipFormat(size=64, frames=8))
    assert run(zoo, out, "--data", data) == 0
    said = capsys.readouterr().out
    assert "clip-vit-b-16: as announced" in said
    assert "no known answers; it says" in said
    answers = json.loads((out / "answers.json").read_text())
    (seen,) = answers.values()
    assert len(seen) == 3
    assert all(sum(chances) == pytest.approx(1) for chances in seen.values())
    made = read_manifest(out / "weights_manifest.json")
    assert made.backbones["clip-vit-b-16"].size == (tmp_path / "clip.safetensors").stat().st_size
    (figure,) = made.models["a2m2-clip-vit-b-16"].metrics
    (receipt,) = (out / "receipts").iterdir()
    assert figure.receipt.endswith(receipt.name)  # type: ignore[union-attr]
    (result,) = json.loads(receipt.read_text())["results"]
    assert figure.accuracy == pytest.approx(result["accuracy"], abs=1e-4)

    known = tmp_path / "known.json"
    known.write_text(json.dumps(answers))
    assert run(zoo, tmp_path / "again", "--known", known) == 0
    answers["a2m2-clip-vit-b-16"]["kick"][0] += 0.1
    known.write_text(json.dumps(answers))
    assert run(zoo, tmp_path / "other", "--known", known) == 1
    assert "NOT AS ANNOUNCED a2m2-clip-vit-b-16: picture 'kick'" in capsys.readouterr().err


def test_a_file_that_was_replaced_is_named(
    zoo: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repos["org/small"] = Repo({COMMIT: {str(SOURCE["file"]): b"something else"}})
    assert run(zoo, tmp_path / "verified") == 1
    said = capsys.readouterr()
    assert "NOT AS ANNOUNCED clip-vit-b-16" in said.err
    assert "was announced" in said.err
    assert json.loads((tmp_path / "verified" / "answers.json").read_text()) == {}


def test_what_was_found_goes_into_the_tree_if_nothing_is_wrong(
    zoo: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a transformers model, too; one that is skipped keeps its files checked."""
    import verify_online

    found = json.loads(zoo.read_text())
    own = json.loads(package_file("weights_manifest.json").read_text())
    (model,) = (e for e in own["models"] if e["id"] == "a2m2-dinov2-small")
    (backbone,) = (e for e in own["backbones"] if e["id"] == model["backbone"])
    files, source = files_of("org/dinov2"), backbone["source"]
    weights = files[source["file"]]
    backbone |= {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}
    hub.repos[source["repo_id"]] = Repo({source["commit"]: files}, head=source["commit"])
    found["backbones"].append(backbone)
    found["models"].append(model)
    zoo.write_text(json.dumps(found))
    tree = tmp_path / "tree"
    for folder in ("a2m2_zoo", "docs/receipts", "tools"):
        (tree / folder).mkdir(parents=True)
    monkeypatch.setattr(verify_online, "ROOT", tree)
    data = tmp_path / "clips"
    write_dataset(data, classes=2, clips=2, style="stick", form=ClipFormat(size=64, frames=8))

    more = ("--update", "--data", data, "--skip", "a2m2-clip-vit-b-16")
    assert run(zoo, tmp_path / "one", *more) == 0
    made = read_manifest(tree / "weights_manifest.json")
    assert made.backbones["clip-vit-b-16"].size == (tmp_path / "clip.safetensors").stat().st_size
    assert not made.models["a2m2-clip-vit-b-16"].metrics
    (figure,) = made.models[model["id"]].metrics
    assert (tree / str(figure.receipt)).exists()  # type: ignore[union-attr]
    assert (tree / "a2m2_zoo" / "weights_manifest.json").read_bytes() == (
        tree / "weights_manifest.json"
    ).read_bytes()
    assert json.loads((tree / "tools" / "known_answers.json").read_text()) == {}

    (tree / "weights_manifest.json").write_text("as it was")
    backbone["sha256"] = "0" * 64
    zoo.write_text(json.dumps(found))
    assert run(zoo, tmp_path / "two", *more) == 1
    assert (tree / "weights_manifest.json").read_text() == "as it was"
