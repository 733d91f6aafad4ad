from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from a2m2_zoo.errors import CheckpointError, SaveError
from a2m2_zoo.hub import checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, TENSORS, kind="model", record={"id": "x"})
    return path


def test_round_trip(sound: Path) -> None:
    found = checkpoint.load(sound, kind="model")
    assert found.record == {"id": "x"}
    for name, tensor in TENSORS.items():
        assert torch.equal(found.tensors[name], tensor)
    assert checkpoint.load(sound, kind="model", sha256=found.sha256).record == found.record
    assert checkpoint.read_tensors(sound, sha256=found.sha256).keys() == TENSORS.keys()


def test_saving_twice_gives_the_same_bytes(sound: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "n.safetensors", TENSORS, kind="model", record={"id": "x"})
    assert sound.read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_the_hash_of_the_content_changes_nothing_that_a_model_is_known_by(
    sound: Path, tmp_path: Path
) -> None:
    """Files of versions that wrote no such hash are known by the hash of their bytes."""
    old = tmp_path / "old.safetensors"
    for record in ({"id": "x"}, {"id": "ä", "n": [1, 2.5]}, {"id": "x" * 11}):
        checkpoint.save(sound, TENSORS, kind="model", record=record)
        old.write_bytes(checkpoint.serialised(TENSORS, kind="model", record=record, summed=False))
        new, before = (checkpoint.load(path, kind="model") for path in (sound, old))
        assert (new.summed, before.summed) == (True, False)
        assert new.sha256 != new.plain_sha256 == before.plain_sha256 == before.sha256


def test_another_hash_is_refused_before_parsing(sound: Path) -> None:
    sound.write_bytes(b"not a safetensors file at all")
    with pytest.raises(CheckpointError, match=r"has sha256 [0-9a-f]{64} where 0{64} was announced"):
        checkpoint.load(sound, kind="model", sha256="0" * 64)
    with pytest.raises(CheckpointError, match="announced"):
        checkpoint.read_tensors(sound, sha256="0" * 64)


def test_refusals(sound: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a file of kind .model.; expected .bank."):
        checkpoint.load(sound, kind="bank")
    with pytest.raises(CheckpointError, match="the limit is 10 bytes"):
        checkpoint.load(sound, kind="model", max_bytes=10)
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoint.load(tmp_path / "none.safetensors", kind="model")
    foreign = tmp_path / "foreign.safetensors"
    save_file(TENSORS, foreign)
    with pytest.raises(CheckpointError, match="was not written by a2m2_zoo"):
        checkpoint.load(foreign, kind="model")
    later = json.dumps({"format": 99, "kind": "model", "record": {}})
    save_file(TENSORS, foreign, metadata={"a2m2_zoo": later})
    with pytest.raises(CheckpointError, match="has format 99"):
        checkpoint.load(foreign, kind="model")
    with pytest.raises(SaveError):
        checkpoint.save(tmp_path / "no" / "m.safetensors", TENSORS, kind="model", record={})


def test_only_what_is_wanted_is_read(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = checkpoint.load(sound, kind="model").sha256
    seen: list[list[str]] = []

    def keep(names: list[str]) -> list[str]:
        seen.append(sorted(names))
        return ["b", "b"]

    found = checkpoint.read_tensors(sound, sha256=digest, keep=keep)
    assert seen == [["a", "b"]]
    assert found.keys() == {"b"}
    with pytest.raises(CheckpointError, match="strange"):
        checkpoint.read_tensors(sound, sha256=digest, keep=lambda _: ["strange"])
    monkeypatch.setattr(checkpoint, "_MAPPED", 0)  # mapped anew for every tensor
    every = checkpoint.read_tensors(sound, sha256=digest)
    assert all(torch.equal(every[name], tensor) for name, tensor in TENSORS.items())


def test_a_file_that_is_replaced_while_it_is_read_is_read_anew(sound: Path, tmp_path: Path) -> None:
    """Never half of one and half of another; in the end given up; an announced hash is of one file."""
    digest = checkpoint.load(sound, kind="model").sha256
    other, times = tmp_path / "other.safetensors", 0

    def replace(names: list[str]) -> list[str]:
        nonlocal times
        if times:
            times -= 1
            changed = {name: tensor + times + 1 for name, tensor in TENSORS.items()}
            checkpoint.save(other, changed, kind="model", record={"id": "y"})
            other.replace(sound)
        return names

    times = 3
    found = checkpoint.read_tensors(sound, sha256=None, keep=replace)
    assert all(torch.equal(found[name], tensor + 1) for name, tensor in TENSORS.items())
    times = 1000
    with pytest.raises(CheckpointError, match="was changed while it was read; load it again"):
        checkpoint.read_tensors(sound, sha256=None, keep=replace)
    with pytest.raises(CheckpointError, match=f"where {digest} was announced"):
        checkpoint.read_tensors(sound, sha256=digest)


def test_a_file_that_others_write_all_the_time_is_never_called_damaged(tmp_path: Path) -> None:
    path, over = tmp_path / "m.safetensors", threading.Event()
    texts = [{"id": "a"}, {"id": "bb"}]
    tensors = [{"x": torch.full((1 << 16,), float(i))} for i in range(2)]
    checkpoint.save(path, tensors[0], kind="bank", record=texts[0])

    def write() -> None:
        while not over.is_set():
            for record, held in zip(texts, tensors, strict=True):
                checkpoint.save(path, held, kind="bank", record=record)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            try:
                found = checkpoint.load(path, kind="bank")
            except CheckpointError as error:
                assert "was changed while it was read" in str(error)  # noqa: PT017 - rare, and allowed
                continue
            assert bool((found.tensors["x"] == texts.index(found.record)).all())
    finally:
        over.set()
        writer.join()


def test_what_becomes_of_a_file_later_changes_no_tensor(sound: Path) -> None:
    found = checkpoint.load(sound, kind="model").tensors
    with sound.open("r+b") as file:
        file.write(b"\0" * sound.stat().st_size)
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)


@given(st.data())
def test_no_damage_gets_past_as_anything_but_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("c") / "m.safetensors"
    checkpoint.save(path, TENSORS, kind="model", record={"id": "x"})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with contextlib.suppress(CheckpointError):
        checkpoint.load(path, kind="model")


@given(st.binary(max_size=400))
def test_noise_is_refused(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("n") / "m.safetensors"
    path.write_bytes(noise)
    with pytest.raises(CheckpointError):
        checkpoint.load(path, kind="model")
