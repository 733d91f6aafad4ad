"""`a2m2 models pull` and `verify` on files of the package and of a hub on loopback."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import COMMIT, Fault, Hub, Repo, environment

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.cli import main
from a2m2_zoo.errors import (
    ArgumentError,
    CheckpointError,
    FetchError,
    ModelNotFoundError,
    SaveError,
    WeightsNotReleased,
)
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import file_sha256
from a2m2_zoo.hub.manifest import read_manifest
from a2m2_zoo.methods import build_method
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import Preprocess
from a2m2_zoo.zoo import computed as free
from a2m2_zoo.zoo.load import load_model
from a2m2_zoo.zoo.pull import fetch_missing, pull, verify

MINE = f"hf-hub:org/name@{COMMIT}"


def head(path: Path, backbone: Any) -> bytes:
    """A head of prototypes, as published."""
    record = {
        "id": "mine",
        "method": "protonet",
        "backbone": backbone,
        "config": build_method("protonet", {}).config.to_dict(),
        "preprocess": Preprocess(size=32, resize=32).to_dict(),
        "scales": {"1": 1.5},
    }
    checkpoint.save(path, {}, kind="model", record=record)
    return path.read_bytes()


def tiny(path: Path) -> bytes:
    """A backbone with weights of its own."""
    weights = {k: v + 1 for k, v in build_backbone("tiny").state_dict().items()}
    checkpoint.save(path, weights, kind="backbone", record={"architecture": "tiny"})
    return path.read_bytes()


@pytest.fixture
def published(hub: Hub, tmp_path: Path) -> Path:
    """A repository with a head and its backbone, and a manifest that lists them; its path."""
    made = tmp_path / "made"
    made.mkdir()
    backbone_file = tiny(made / "backbone.safetensors")
    digest = file_sha256(made / "backbone.safetensors")
    beside = {"architecture": "tiny", "file": "backbone.safetensors", "sha256": digest}
    files = {
        "model.safetensors": head(made / "m.safetensors", beside),
        "backbone.safetensors": backbone_file,
    }
    listed = {"listed.safetensors": head(made / "l.safetensors", "tiny-backbone")}
    hub.repos["org/name"] = Repo({COMMIT: {**files, **listed}}, head=COMMIT)
    place = {"repo_id": "org/name", "commit": COMMIT}
    shared = {"license": "mit", "config": {}, "preprocess": {}, "metrics": [], "trained_with": None}
    backbone = {
        "id": "tiny-backbone",
        "architecture": "tiny",
        "source": {**place, "file": "backbone.safetensors"},
        "sha256": digest,
        "size": len(backbone_file),
        "license": "mit",
        "origin": "a test",
    }
    model = {
        "id": "mine",
        "status": "released",
        "summary": "a test",
        "method": "protonet",
        "benchmark": None,
        "backbone": "tiny-backbone",
        "source": {**place, "file": "listed.safetensors"},
        "sha256": file_sha256(made / "l.safetensors"),
        "size": len(listed["listed.safetensors"]),
        "data": "none",
        **shared,
    }
    computed = {**model, "id": "free", "status": "computed", "method": "a2m2"}
    computed |= {"source": None, "sha256": None, "size": None}
    manifest = {"schema": 2, "backbones": [backbone], "models": [model, computed]}
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path / "listed" / "manifest.json"


def call(*words: str) -> int:
    """The exit code of the command."""
    return main(["models", *words])


def same(one: Model, other: Model) -> bool:
    """Whether both compute the same."""
    clip = torch.rand(1, 2, 3, 32, 32)
    with torch.inference_mode():
        maps = [m.backbone(clip, stages=m.method.stages) for m in (one, other)]
    equal = torch.equal(maps[0].pooled, maps[1].pooled)
    states = [m.method.state_dict() for m in (one, other)]
    return equal and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0] | states[1]
    )


def damage(path: Path) -> None:
    """Flip one bit where the file really lies."""
    path = path.resolve()
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(bytes([*data[:-1], data[-1] ^ 1]))


def test_embedded_models_are_here(hub: Hub) -> None:
    listed = read_manifest()
    files = {file.role: file for file in pull("a2m2-lite0")}
    assert files["head"].sha256 == listed.models["a2m2-lite0"].sha256
    assert files["backbone"].sha256 == listed.backbones["efficientnet-lite0"].sha256
    assert all(file.state == "ok" and file.path and file.path.is_file() for file in files.values())
    assert hub.count() == 0


def test_released_models_are_fetched_once(hub: Hub, published: Path) -> None:
    files = pull("mine", manifest=published)
    assert [file.role for file in files] == ["head", "backbone"]
    assert hub.count("GET") == 2
    before = hub.count()
    assert pull("mine", manifest=published, offline=True) == files
    assert [file.state for file in verify(["mine"], manifest=published)] == ["ok", "ok"]
    model = load_model("mine", manifest=published, offline=True)
    assert (model.id, model.backbone_name) == ("mine", "tiny-backbone")
    assert hub.count() == before
    pull("mine", manifest=published, force=True)
    assert hub.count("GET") == 4


def test_a_backbone_alone(hub: Hub, published: Path, tmp_path: Path) -> None:
    (file,) = pull("tiny-backbone", manifest=published)
    assert (file.role, file.state, hub.count("GET")) == ("backbone", "ok", 1)
    with pytest.raises(ArgumentError, match="'tiny-backbone' is a backbone and no model"):
        pull("tiny-backbone", to=tmp_path / "out", manifest=published)


def test_names_of_the_hub_bring_what_lies_beside(hub: Hub, published: Path, tmp_path: Path) -> None:
    files = pull(MINE)
    assert [Path(file.source).name for file in files] == [
        "model.safetensors",
        "backbone.safetensors",
    ]
    assert [file.state for file in verify([MINE])] == ["ok", "ok"]
    damage(load_path(files, "head"))
    states = {file.role: file.state for file in verify([MINE])}
    assert states == {"head": "damaged"}, "its record is not trusted for more"
    with pytest.raises(FetchError, match=f"--force.*{COMMIT}"):
        pull(MINE)
    assert {file.state for file in pull(MINE, force=True)} == {"ok"}


def load_path(files: list[Any], role: str) -> Path:
    (path,) = [file.path for file in files if file.role == role]
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize("name", ["a2m2-lite0", "mine", MINE])
def test_a_folder_that_stands_alone(name: str, hub: Hub, published: Path, tmp_path: Path) -> None:
    manifest = published if name == "mine" else None
    files = pull(name, to=tmp_path / "out", manifest=manifest)
    original = load_model(name, manifest=manifest)
    # Elsewhere: another folder, no cache, no network, the package's own manifest.
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "hf", ignore_errors=True)
    before = hub.count()
    model = load_model(moved, offline=True)
    assert same(model, original)
    assert (model.id, model.scales, model.origin) == (original.id, original.scales, original.origin)
    assert hub.count() == before
    assert {str(f.path) for f in files} == {str(tmp_path / "out" / p.name) for p in moved.iterdir()}
    for file in files:
        assert file.path is not None
        assert file.sha256 == file_sha256(moved / file.path.name)
        assert file.size == (moved / file.path.name).stat().st_size
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_what_already_stands_alone_is_copied_as_it_is(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    pull(MINE, to=tmp_path / "out")
    assert load_model(tmp_path / "out").weights_hash == load_model(MINE).weights_hash
    for name in ("model.safetensors", "backbone.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == hub.repos["org/name"].files[COMMIT][name]


def test_computed_heads_go_into_the_folder(
    hub: Hub, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2M2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(free, "Amounts", partial(free.Amounts, 4, 2, 2, 4))
    small = Preprocess(frames=4, size=64, resize=64)
    monkeypatch.setattr(free, "own_preprocess", lambda backbone: small)
    (file,) = pull("free", manifest=published)
    assert file.role == "backbone"
    reported: list[tuple[int, int]] = []
    pull("free", to=tmp_path / "out", manifest=published, progress=lambda *n: reported.append(n))
    assert reported[-1] == (12, 12)
    shutil.rmtree(tmp_path / "hf")
    alone = load_model(tmp_path / "out", offline=True)
    assert alone.id == "free"
    assert alone.origin == "training-free"
    assert len(alone.method.state_dict()) > 2


def test_the_folder_appears_complete_or_not_at_all(
    hub: Hub, published: Path, tmp_path: Path, naps: list[float]
) -> None:
    out = tmp_path / "out"
    hub.faults = [Fault("HEAD", status=503)] * 50
    with pytest.raises(FetchError, match=r"failed \(503\)"):
        pull("mine", to=out, manifest=published)
    hub.faults.clear()
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    before = hub.count()
    with pytest.raises(SaveError, match="exists; give a new folder"):
        pull("mine", to=out, manifest=published)
    assert hub.count() == before, "refused before anything is fetched"
    with pytest.raises(SaveError, match="No such file or directory; name a folder inside one"):
        pull("mine", to=tmp_path / "no" / "such", manifest=published)
    (out / "mine.txt").unlink()
    pull("mine", to=out, manifest=published)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"hf", "made", "listed", "out"}


def test_models_that_nobody_trained(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsNotReleased, match=r"nobody has trained .*a2m2 models pull clip-rn50"
    ):
        pull("clip-fsar-rn50-hmdb51", to=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(WeightsNotReleased, match="the weights of resnet50-imagenet are not dist"):
        pull("resnet50-imagenet")
    with pytest.raises(ModelNotFoundError, match="did you mean a2m2-lite0"):
        pull("a2m2-lite")
    with pytest.raises(ModelNotFoundError, match="names no commit"):
        pull("hf-hub:org/name@main")


def test_the_hub_has_other_weights_than_the_manifest_announces(hub: Hub) -> None:
    source = read_manifest().backbones["clip-rn50"].source
    assert source is not None
    assert source.repo_id is not None
    assert source.commit is not None
    hub.repos[source.repo_id] = Repo({source.commit: {source.file: b"other"}})
    with pytest.raises(
        FetchError, match=r"has sha256 .* where da0baa37.*a2m2 models pull clip-rn50 --force"
    ):
        pull("clip-rn50")


def test_hostile_records(hub: Hub, published: Path, tmp_path: Path) -> None:
    for file in ("../x.safetensors", "/x.safetensors", "x.bin"):
        beside = {"architecture": "tiny", "file": file, "sha256": "0" * 64}
        data = head(tmp_path / "made" / "h.safetensors", beside)
        commit = file_sha256(tmp_path / "made" / "h.safetensors")[:40]
        hub.repos["org/name"].files[commit] = {"model.safetensors": data}
        with pytest.raises(CheckpointError, match="does not say where its backbone lies"):
            pull(f"hf-hub:org/name@{commit}", to=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_verify_everything(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("verify", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    states = {(row["role"], Path(row["source"]).name): row["state"] for row in rows}
    assert states["head", "a2m2_lite0.safetensors"] == "ok"
    assert states["backbone", "efficientnet_lite0.safetensors"] == "ok"
    assert states["backbone", "open_clip_model.safetensors"] == "missing"
    assert len(rows) == len({row["source"] for row in rows})
    assert hub.count() == 0
    assert call("verify", "a2m2-lite0") == 0
    out = capsys.readouterr().out
    assert out.count("ok") == 2
    assert str(read_manifest().models["a2m2-lite0"].sha256) in out


def test_verify_names_both_hashes_of_a_damaged_file(
    hub: Hub, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = load_path(pull(MINE), "backbone")
    good = file_sha256(path)
    damage(path)
    assert call("verify", MINE) == 1
    shown = capsys.readouterr()
    assert "damaged" in shown.out
    (line,) = shown.err.splitlines()
    assert f"has sha256 {file_sha256(path)} where {good} was announced" in line
    assert "--force" in line
    assert call("verify", "a2m2-lite0", MINE, "--json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["ok", "ok", "ok", "damaged"]
    assert call("pull", MINE) == 1
    assert call("pull", MINE, "--force") == 0
    assert call("verify", MINE) == 0


def test_a_file_of_the_package_that_is_gone_is_no_missing_download(tmp_path: Path) -> None:
    package = read_manifest()
    raw = json.loads((package.root / "weights_manifest.json").read_text())
    raw["models"] = [m for m in raw["models"] if m["id"] == "a2m2-lite0"]
    (tmp_path / "m.json").write_text(json.dumps(raw))
    found = verify(["a2m2-lite0"], manifest=tmp_path / "m.json")
    assert [(file.state, file.sound) for file in found] == [("missing", False)] * 2
    with pytest.raises(FetchError, match="cannot read"):
        pull("a2m2-lite0", manifest=tmp_path / "m.json")


def test_the_commands(
    hub: Hub, published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("pull", "a2m2-lite0") == 0
    shown = capsys.readouterr()
    assert f"{read_manifest().models['a2m2-lite0'].size:,}" in shown.out
    assert shown.err == ""
    assert call("pull", MINE, "--to", str(tmp_path / "out")) == 0
    shown = capsys.readouterr()
    assert f"--model {tmp_path / 'out'}" in shown.out
    assert shown.err == ""
    assert call("pull", MINE, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["role"] for row in rows] == ["head", "backbone"]
    assert set(rows[0]) == {
        "role", "source", "path", "size", "sha256", "announced", "remote", "fault", "state",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["a2m2-lite0", "mine", MINE])
def test_what_is_missing_can_be_fetched_before_anything_is_drawn(
    name: str, hub: Hub, published: Path
) -> None:
    manifest = published if name == "mine" else None
    fetch_missing(name, manifest=manifest)
    assert hub.count("GET") == (0 if name == "a2m2-lite0" else 2)
    before = hub.count()
    fetch_missing(name, manifest=manifest)
    load_model(name, manifest=manifest)
    assert hub.count() == before


@pytest.mark.parametrize(
    "name", ["clip-fsar-rn50-hmdb51", "no such model", "some/path.safetensors"]
)
def test_what_cannot_be_fetched_is_left_to_loading(name: str, hub: Hub) -> None:
    fetch_missing(name)
    assert hub.count() == 0


def test_a_bar_is_drawn_on_a_terminal(hub: Hub, published: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
    ours, theirs = pty.openpty()
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    code = f"from a2m2_zoo.zoo.pull import fetch_missing; fetch_missing({MINE!r})"
    env = environment(hub, tmp_path / "other")
    subprocess.run([sys.executable, "-c", code], env=env, stderr=theirs, check=True)
    os.close(theirs)
    drawn = os.read(ours, 65536).decode()
    os.close(ours)
    assert "backbone.safetensors" in drawn
    assert "100%" in drawn


def test_a_failure_is_one_line(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert call("pull", "a2m2-clip-rn50") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert "(HF_HUB_OFFLINE is set); run `a2m2 models pull a2m2-clip-rn50` with a network" in line
    assert hub.count() == 0


def test_the_commands_load_nothing_heavy() -> None:
    heavy = ("torch", "huggingface_hub", "numpy")
    code = f"import a2m2_zoo.cli.pull, sys; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
