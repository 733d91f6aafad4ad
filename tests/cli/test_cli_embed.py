"""`a2m2 embed`: what it writes, and what it does about clips that fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from makers import three_classes
from makers_models import tiny_model

from a2m2_zoo import Embeddings, load_model
from a2m2_zoo.cli import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embed")
    three_classes(root / "clips")
    tiny_model(root)
    return root


def test_both_formats_hold_the_same(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    want = load_model(place).embed(place / "clips")
    call = ["embed", str(place / "clips"), "--model", str(place)]
    assert main([*call, "--out", str(tmp_path / "a.safetensors")]) == 0
    assert f"{tmp_path / 'a.safetensors'}: 9 clips by tiny, 0 failed" in capsys.readouterr().out
    assert Embeddings.load(tmp_path / "a.safetensors") == want
    assert main([*call, "-o", str(tmp_path / "a.npz"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["clips"], told["failed"]) == (str(tmp_path / "a.npz"), 9, 0)
    assert told["shapes"] == {"mean": [want.pooled.shape[1]], "pooled": [want.pooled.shape[1]]}
    with np.load(tmp_path / "a.npz") as found:  # which would refuse pickles
        assert np.array_equal(found["pooled"], want.numpy())
        assert np.array_equal(found["descriptor.mean"], want.descriptors["mean"].numpy())
        assert list(found["sources"]) == list(want.sources)
        assert str(found["weights_hash"]) == want.weights_hash


def test_clips_that_fail_are_said_and_the_others_are_there(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "broken.mp4", tmp_path / "a.safetensors"
    broken.write_bytes(b"no clip")
    given = [str(place / "clips" / "right" / "r?.mp4"), str(broken), str(tmp_path / "none.mp4")]
    assert main(["embed", *given, "--model", str(place), "-o", str(out)]) == 1
    said = capsys.readouterr()
    assert "broken.mp4" in said.err
    assert "none.mp4" in said.err
    assert len(Embeddings.load(out)) == 3
    assert main(["embed", str(broken), "--model", str(place), "-o", str(tmp_path / "b.npz")]) == 1
    assert "no clip could be read" in capsys.readouterr().err
    assert not (tmp_path / "b.npz").exists()


def test_wrong_calls(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = str(place / "clips")
    for out, code in ((tmp_path / "a.txt", 2), (tmp_path / "none" / "a.npz", 1), (tmp_path, 2)):
        assert main(["embed", clips, "--model", str(place), "-o", str(out)]) == code
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["embed", clips]) == 2


def test_no_file_of_another_kind_is_replaced(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, how = str(place / "clips"), ["--model", str(place)]
    bank, made, strange = (str(tmp_path / f"{name}.safetensors") for name in "abc")
    Path(strange).write_bytes(b"somebody's own")
    assert main(["bank", "create", clips, *how, "--out", bank]) == 0
    assert main(["embed", clips, *how, "--out", made]) == 0
    before = {path: Path(path).read_bytes() for path in (bank, made, strange)}
    capsys.readouterr()
    embed, create = (
        ["embed", clips, *how, "--out"],
        ["bank", "create", clips, *how, "--force", "--out"],
    )
    for call, kind in (
        ([*embed, bank], "'bank'"),
        ([*embed, strange], "no file of this package"),
        ([*create, made], "'embeddings'"),
        ([*create, strange], "no file of this package"),
    ):
        assert main(call) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert kind in err
    assert before == {path: Path(path).read_bytes() for path in before}
    assert main([*embed, made]) == main([*create, bank]) == 0  # their own are
