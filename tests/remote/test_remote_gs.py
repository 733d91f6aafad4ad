"""Google's storage, through gcsfs against an emulator on loopback: read and written as a disk is."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web import forget, soon

from a2m2_zoo.cli import main
from a2m2_zoo.errors import VideoNotFoundError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.video import Preprocess, read_clip
from a2m2_zoo.video.content import content_hash

pytest.importorskip("gcsfs", reason="needs gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:google")


class Storage:
    """The emulator with a bucket, ``gs://clips``."""

    def __init__(self, address: str) -> None:
        self.address = address

    def put(self, key: str, content: bytes) -> str:
        name = urllib.parse.quote(key, safe="")
        url = f"{self.address}/upload/storage/v1/b/clips/o?uploadType=media&name={name}"
        kind = {"Content-Type": "application/octet-stream"}
        urllib.request.urlopen(urllib.request.Request(url, content, kind)).close()
        return f"gs://clips/{key}"

    def put_folder(self, folder: Path, key: str) -> str:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{key}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"gs://clips/{key}"

    def get(self, key: str) -> bytes | None:
        try:
            with urllib.request.urlopen(f"{self.address}/clips/{key}") as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError:
            return None


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server("127.0.0.1", port, in_memory=True, default_bucket="clips")
    server.start()
    try:
        yield Storage(f"http://127.0.0.1:{port}")
    finally:
        server.stop()


@pytest.fixture
def gs(storage: Storage, work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """The bucket with supports and clips, and the environment to reach it."""
    import fsspec
    import gcsfs

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.address)
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})  # FSSPEC_GS_TOKEN at import
    # The one that first asks Google by gRPC what kind of bucket it is has no place to ask here.
    monkeypatch.setattr(gcsfs, "GCSFileSystem", gcsfs.core.GCSFileSystem)
    soon(monkeypatch)
    forget()
    storage.put_folder(work / "supports", "supports")
    storage.put_folder(work / "clips", "clips")
    yield storage
    forget()


def test_a_clip_is_that_of_the_disk(gs: Storage, work: Path) -> None:
    spec = Preprocess(frames=4, resize=32, size=32)
    for file in sorted((work / "clips").iterdir()):
        there, here = read_clip(f"gs://clips/clips/{file.name}", spec), read_clip(file, spec)
        assert np.array_equal(there.frames, here.frames)
        assert content_hash(f"gs://clips/clips/{file.name}") == content_hash(file)


def run(work: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([*map(str, arguments), "--model", str(work / "tiny")])
    return code, *capsys.readouterr()


def bare(text: str) -> list[dict[str, Any]]:
    """Answers without what differs between a disk and a bucket."""
    rows = json.loads(text)
    return [{**row, "query": Path(row["query"]).name, "seconds": 0} for row in rows]


def test_folders_banks_and_results_are_those_of_the_disk(
    gs: Storage, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    here = run(work, capsys, "classify", work / "clips", "-s", work / "supports", "--json")
    table = "gs://clips/made/answers.parquet"
    there = run(
        work, capsys, "classify", "gs://clips/clips", "-s", "gs://clips/supports", "--json",
        "--parquet", table,
    )  # fmt: skip
    assert here[0] == there[0] == 0, there[2]
    assert bare(there[1]) == bare(here[1])
    assert (gs.get("made/answers.parquet") or b"")[:4] == b"PAR1"

    bank, own = "gs://clips/made/bank.safetensors", tmp_path / "bank.safetensors"
    assert run(work, capsys, "bank", "create", "gs://clips/supports", "--out", bank)[0] == 0
    assert run(work, capsys, "bank", "create", work / "supports", "--out", own)[0] == 0
    mine, theirs = SupportBank.load(own), SupportBank.load(bank)
    assert all(mine.descriptors[k].equal(v) for k, v in theirs.descriptors.items())
    code, _, err = run(work, capsys, "bank", "create", work / "supports", "--out", bank)
    assert (code, "exists" in err) == (2, True)
    asked = ("classify", "gs://clips/clips/0.mp4", "-s", bank, "--json")
    assert bare(run(work, capsys, *asked)[1]) == bare(here[1])[:1]


def test_what_is_not_there_is_one_line_and_the_others_are_answered(
    gs: Storage, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for address in ("gs://clips/none.mp4", "gs://nobody/a.mp4"):
        with pytest.raises(VideoNotFoundError, match="there is nothing at this address") as caught:
            read_clip(address, Preprocess())
        assert "\n" not in str(caught.value)
    gs.put("broken.mp4", b"no video")
    bad = ["gs://clips/none.mp4", "gs://clips/broken.mp4"]
    asked = ("classify", *bad, "gs://clips/clips/1.mkv", "-s", work / "supports", "--json")
    code, out, err = run(work, capsys, *asked)
    rows = json.loads(out)
    assert (code, ["error" in row for row in rows]) == (1, [True, True, False])
    assert len([line for line in err.splitlines() if line.startswith("a2m2: ")]) == 2
    target = "gs://nobody/bank.safetensors"
    code, _, err = run(work, capsys, "bank", "create", work / "supports", "--out", target)
    assert (code, len(err.splitlines())) == (1, 1), err
