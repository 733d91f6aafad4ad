"""Large archives, whose search vectors have an index: the same answers, of new windows too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from archive_maker import videos
from makers_models import tiny_model

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.archive import Archive
from a2m2_zoo.archive import archive as archives
from a2m2_zoo.archive.rows import ClipRows, Window
from a2m2_zoo.archive.writing import Writer
from a2m2_zoo.cli import main
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.recognition.bank import SupportBank

FEW = 600  # windows; an index is learnt from 256 and more


def filled(archive: Archive, bank: SupportBank, count: int) -> None:
    """Windows with the descriptors of real clips and noise."""
    chance = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(bank.labels), (count,), generator=chance)
    made = {}
    for name, value in bank.descriptors.items():
        some = value[drawn]
        noise = torch.randn(some.shape, generator=chance) / some.shape[-1] ** 0.5
        made[name] = torch.nn.functional.normalize(some + 0.3 * noise, dim=-1)
    writer = Writer(archive._store, archive.model, archive._codec)
    for i, packed in enumerate(archive._codec.pack(made)):
        window = Window(0.0, 1.0, 0.0, packed, b"")
        writer.put(ClipRows(f"{i:064x}", f"/made/{i}", "", (window,), 1.0))
    writer.flush()


def test_an_index_gives_the_same_answers_and_takes_new_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(archives, "_INDEXED", FEW // 2)
    model = load_model(tiny_model(tmp_path))
    root = videos(tmp_path / "videos")
    folders = class_folders(root)
    bank = build_bank({name: folders[name] for name in ("back", "right")}, model=model)
    archive, _ = Archive.build(tmp_path / "archive", folders["back"][:2], model=model)
    filled(archive, bank, FEW)
    assert not archive._store.indexed()
    before = archive.find(bank, k=20)
    archive.compact()
    assert archive._store.indexed()
    after = archive.find(bank, k=20)
    assert [hit.key for hit in after] == [hit.key for hit in before]
    new = folders["right"][0]
    assert archive.add([new]).added == 1
    (hit,) = archive.like(new, k=1)
    assert Path(hit.uri) == new.resolve()
    assert archive._store.indexed()


def test_making_an_index_is_said_on_stderr_unless_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(tiny_model(tmp_path))
    folders = class_folders(videos(tmp_path / "videos"))
    bank = build_bank({name: folders[name] for name in ("back", "right")}, model=model)
    archive, _ = Archive.build(tmp_path / "archive", folders["back"][:2], model=model)
    filled(archive, bank, FEW)
    assert main(["archive", "compact", archive.uri]) == 0
    assert "index" not in capsys.readouterr().err  # there is none of so few
    monkeypatch.setattr(archives, "_INDEXED", FEW // 2)
    assert main(["archive", "compact", archive.uri, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["archive", "compact", archive.uri, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["windows"] == len(archive._store.clips())
    first, last = told.err.splitlines()
    assert first.startswith(f"a2m2: making the index of {len(archive)} windows of '")
    assert re.fullmatch(rf"a2m2: made the index of {len(archive)} windows in \d+ s", last)
    # As many as the index brings, which is all of so few: a question never gets fewer than it asks for.
    vector = np.ones(archive._store.basis.axes.shape[1], np.float32)
    assert len(archive._store.nearest(vector, len(archive))) == len(archive)
