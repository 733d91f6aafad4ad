"""Pipes, devices and files of a terabyte wherever a file is read: refused at once, in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from makers_files import endless, within

from a2m2_zoo import load_model
from a2m2_zoo.backbones.files import read_safetensors
from a2m2_zoo.cli import main
from a2m2_zoo.data._list_format import read_content
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.features.identity import Identities
from a2m2_zoo.features.shards import DamagedShardWarning, Shards
from a2m2_zoo.hub.fetch import file_sha256
from a2m2_zoo.hub.manifest import read_manifest
from a2m2_zoo.hub.receipts import read_figures
from a2m2_zoo.training.logs import read_log
from a2m2_zoo.zoo.convert.official import read_official

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "model": (".safetensors", load_model),
    "backbone": (".safetensors", read_safetensors),
    "official": (".pyth", read_official),
    "list": (".txt", read_content),
    "manifest": (".json", read_manifest),
    "receipt": (".json", lambda path: read_figures(path, weights_hash="0", method="a2m2")),
    "log": (".jsonl", read_log),
}


@pytest.mark.parametrize("reader", READERS)
def test_readers_refuse_what_does_not_end(tmp_path: Path, reader: str) -> None:
    suffix, read = READERS[reader]
    for path in endless(tmp_path, suffix):
        with within(8), pytest.raises(A2M2Error) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_hashing_refuses_pipes_and_devices(tmp_path: Path) -> None:
    for path in endless(tmp_path, ""):
        if path.name != "huge":
            with within(5), pytest.raises(A2M2Error, match=r"regular|No such"):
                file_sha256(path)


COMMANDS = [
    ["classify", "x.mp4", "--supports", "{}"],
    ["bank", "show", "{}"],
    ["bank", "add", "{}", "."],
    ["bank", "remove", "{}", "wave"],
    ["classify", "x.mp4", "--supports", ".", "--model", "{}"],
    ["models", "convert", "molo", "{}", "--out", "new"],
    ["compare", ".", "--list", "{}"],
    ["classify", "x.mp4", "--supports", ".", "--text-weight", "0.5", "--class-names", "{}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: "-".join(c[:2]) + f"-{len(c)}")
def test_commands_refuse_a_pipe(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (pipe, *_) = endless(tmp_path, ".json" if "--class-names" in command else ".safetensors")
    with within(10):
        assert main([part.format(pipe) for part in command]) in (1, 2)
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert "regular file" in " ".join(shown.replace("│", " ").split())


def test_a_cache_with_a_pipe_in_it_goes_on(tmp_path: Path) -> None:
    shards = Shards(tmp_path, key="k")
    shards.write({"a": {"x": torch.ones(2)}})
    (pipe, *others) = endless(tmp_path, ".safetensors")
    for path in others:
        path.unlink()
    again = Shards(tmp_path, key="k")
    with within(5), pytest.warns(DamagedShardWarning, match="no regular file"):
        again.refresh()
    assert again.read(["a"])["a"]["x"].tolist() == [1, 1]
    assert not pipe.exists()


def test_a_memory_that_is_a_pipe_is_passed_over(tmp_path: Path) -> None:
    (pipe, *_) = endless(tmp_path, ".jsonl")
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with within(5):
        assert len(Identities(pipe).of(tmp_path / "clip.mp4")) == 64


def test_out_that_is_a_device_is_refused_before_the_work(tmp_path: Path) -> None:
    (pipe, *_) = endless(tmp_path, ".safetensors")
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "a2m2_zoo",
            "bank",
            "create",
            tmp_path / "data",
            "--out",
            pipe,
            "--force",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"a2m2: cannot write {str(pipe)!r}: it is no regular file; name a file in a folder that exists, is "
        "writable and has room\n"
    )
    assert pipe.is_fifo()
