"""Weights that a repository holds in several files: the model of one file, and every index that lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import COMMIT, Fault, Hub, Repo
from library_maker import files_of, hf_name
from safetensors.torch import load, save

from a2m2_zoo import load_model
from a2m2_zoo.cli import main
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.zoo import shards
from a2m2_zoo.zoo.any_backbone import find_backbone

NAME = "org/dinov2"
INDEX = "model.safetensors.index.json"

Files = dict[str, bytes]


pytestmark = pytest.mark.usefixtures("seen_once")


@pytest.fixture(autouse=True)
def few(few: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here each test has a cache of its own."""
    monkeypatch.setenv("A2M2_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sharded() -> Files:
    """As transformers writes it where a file may hold no more than 40 kB."""
    files = dict(files_of(NAME, max_shard_size="40KB"))
    assert "model.safetensors" not in files
    assert len([name for name in files if name.endswith(".safetensors")]) > 2
    return files


def parts(files: Files) -> list[str]:
    return sorted(name for name in files if name.endswith(".safetensors"))


def test_several_files_are_the_model_of_one(hub: Hub, sharded: Files, tmp_path: Path) -> None:
    hub.repos["org/one"] = Repo({COMMIT: files_of(NAME)}, head=COMMIT)
    hub.repos["org/several"] = Repo({COMMIT: sharded}, head=COMMIT)
    assert main(["models", "pull", hf_name("org/several")]) == 0
    hub.repos.pop("org/several")
    asked = hub.count()
    one = load_model(hf_name("org/one"), device="cpu", pose=False).backbone
    asked_by_one = hub.count()
    model = load_model(hf_name("org/several"), device="cpu", pose=False, offline=True)
    assert hub.count() == asked_by_one > asked
    frames = torch.rand(1, 2, 3, 56, 56)
    with torch.inference_mode():
        assert torch.equal(model.backbone(frames).pooled, one(frames).pooled)
    (kept,) = (tmp_path / "cache" / "weights").iterdir()
    assert model.backbone_hash in kept.name

    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved" / "model.safetensors")
    again = load_model(tmp_path / "saved", device="cpu", offline=True)
    assert again.backbone_hash == model.backbone_hash

    kept.write_bytes(kept.read_bytes()[:-1] + b"!")  # damaged: joined again
    found = find_backbone(hf_name("org/several"), offline=True)
    assert found.sha256 == model.backbone_hash
    assert found.build().pooled_channels == model.backbone.pooled_channels


def hostile(change: Callable[[dict[str, Any], Files], object], files: Files) -> Files:
    """The repository with another index, or other files."""
    made, index = dict(files), json.loads(files[INDEX])
    change(index, made)
    made[INDEX] = json.dumps(index).encode()
    return made


def points(file: object) -> Callable[[dict[str, Any], Files], object]:
    def change(index: dict[str, Any], _: Files) -> None:
        places = index["weight_map"]
        places[next(iter(places))] = file

    return change


def wrong_shard(index: dict[str, Any], files: Files) -> None:
    """A tensor lies in another file than the index says."""
    places = index["weight_map"]
    name = next(iter(places))
    places[name] = next(file for file in parts(files) if file != places[name])


def twice(index: dict[str, Any], files: Files) -> None:
    """A tensor lies in two files, with other numbers in the second."""
    first, second = parts(files)[:2]
    name, value = next(iter(load(files[first]).items()))
    files[second] = save({**load(files[second]), name: value + 1})


def short(index: dict[str, Any], files: Files) -> None:
    """A tensor that the index names is nowhere."""
    file = parts(files)[0]
    held = load(files[file])
    held.pop(next(iter(held)))
    files[file] = save(held)


CASES: dict[str, tuple[Callable[[dict[str, Any], Files], object], str]] = {
    "above": (points("../x.safetensors"), "expected the plain name"),
    "folder": (points("a/x.safetensors"), "expected the plain name"),
    "root": (points("/etc/x.safetensors"), "expected the plain name"),
    "backslash": (points("..\\x.safetensors"), "expected the plain name"),
    "pickle": (points("pytorch_model.bin"), "expected the plain name"),
    "number": (points(3), "expected the plain name"),
    "list": (points(["x.safetensors"]), "expected the plain name"),
    "missing": (lambda index, files: files.pop(parts(files)[0]), "cannot fetch 'model-00001-of"),
    "no map": (lambda index, files: index.pop("weight_map"), "is no index"),
    "a list": (lambda index, files: index.update(weight_map=[]), "is no index"),
    "empty": (lambda index, files: index.update(weight_map={}), "names 0 files"),
    "many": (
        lambda index, files: index["weight_map"].update({f"t{i}": f"{i}.safetensors" for i in range(200)}),
        "expected 1 to 128",
    ),
    "wrong shard": (wrong_shard, "against what its index says"),
    "twice": (twice, "also holds"),
    "short": (short, "lacks"),
    "no tensors": (
        lambda index, files: files.update({parts(files)[0]: b"\x80\x04."}), "is not a safetensors file"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_index_that_lies_is_one_line(
    case: str, hub: Hub, sharded: Files, tmp_path: Path
) -> None:
    change, said = CASES[case]
    hub.repos["org/bad"] = Repo({COMMIT: hostile(change, sharded)}, head=COMMIT)
    with pytest.raises(A2M2Error, match=said) as caught:
        find_backbone(hf_name("org/bad"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "cache" / "weights").exists()


def test_what_is_no_json_and_what_is_too_much(
    hub: Hub, sharded: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["org/text"] = Repo({COMMIT: {**sharded, INDEX: b"{"}}, head=COMMIT)
    with pytest.raises(A2M2Error, match="is no index"):
        find_backbone(hf_name("org/text"))
    monkeypatch.setattr(shards, "MAX_WEIGHTS", 50_000)
    hub.repos["org/large"] = Repo({COMMIT: sharded}, head=COMMIT)
    with pytest.raises(A2M2Error, match="more than 50,000 bytes"):
        find_backbone(hf_name("org/large"))


def test_a_shard_that_is_not_what_was_announced(hub: Hub, sharded: Files) -> None:
    hub.repos["org/flip"] = Repo({COMMIT: sharded}, head=COMMIT)
    name = hf_name("org/flip")
    for file in ("config.json", "preprocessor_config.json", INDEX):  # at hand before the fault
        from a2m2_zoo.hub.fetch import fetch
        from a2m2_zoo.hub.source import Source

        fetch(Source(file, "org/flip", COMMIT), root=Path())
    hub.faults.append(Fault(flip=True))
    with pytest.raises(A2M2Error, match="announced"):
        find_backbone(name)


def test_a_hash_that_was_given_is_that_of_the_one_file(hub: Hub, sharded: Files) -> None:
    hub.repos["org/several"] = Repo({COMMIT: sharded}, head=COMMIT)
    digest = find_backbone(hf_name("org/several")).sha256
    assert find_backbone(hf_name("org/several"), sha256=digest).build().stages
    with pytest.raises(A2M2Error, match="where " + "0" * 64):
        find_backbone(hf_name("org/several"), sha256="0" * 64).build()
