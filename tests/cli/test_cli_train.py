"""`a2m2 train` for real: generated clips, a tiny backbone, a model that loads in the end."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from makers_models import tiny_model

from a2m2_zoo.cli import main
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.synthetic import ClipFormat, write_dataset
from a2m2_zoo.training import logs, session
from a2m2_zoo.zoo.load import load_model

pytestmark = pytest.mark.usefixtures("seen_once")

FAST = [
    *("--steps", "12", "--set", "way=3", "--set", "query=2", "--set", "batch=2"),
    *("--set", "validate_every=6", "--set", "validate_shots=[1]", "--set", "validate_episodes=50"),
    *("--set", "lr=1e-3", "--device", "cpu", "--workers", "1"),
]


SHARED = ["--set", "batch=6", "--set", "deals=3", "--set", "pool=5"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of five clips, 64 pixels wide."""
    out = tmp_path_factory.mktemp("train") / "clips"
    write_dataset(out, classes=8, clips=5, style="stick", form=ClipFormat(size=64, frames=8))
    return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose backbone takes no time, in a file beside it."""
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def train(data: Path, tiny: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs the command into ``tmp_path / "run"``; the cache is shared by all tests."""
    cache = tmp_path_factory.getbasetemp() / "train-cache"

    def run(*words: str | Path, folder: Path = data) -> int:
        common = ["--out", tmp_path / "run", "--model", tiny, "--cache", cache]
        return main(["train", *map(str, [folder, *common, *FAST, *words])])

    return run


def test_a_head_is_trained_saved_and_used(
    train: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--method", "hyrsm", "--hold-out", "0.5") == 0
    said = capsys.readouterr()
    model = tmp_path / "run" / "model.safetensors"
    assert "% on held-out classes at step" in said.out
    assert f"--model {model}" in said.out
    assert all("training did not help" in line for line in said.err.splitlines())
    loaded = load_model(model, device="cpu")
    assert (loaded.id, loaded.method_name, loaded.origin) == ("run", "hyrsm", "trained")
    assert set(loaded.scales) == {1, 2}  # five clips do not make five supports and a query
    assert all(value > 0 for value in loaded.scales.values())
    # It knows what an unknown action looks like, which follows from the held-out classes.
    assert {shot: len(row) for shot, row in (loaded.rejection or {}).items()} == {1: 3, 2: 5}
    capsys.readouterr()
    query = str(next(data.iterdir()))
    assert main(f"classify {query} --supports {data} --model {model} --json".split()) == 0
    answers = json.loads(capsys.readouterr().out)
    assert all(0 < a["known"] < 1 and a["confidence"] < a["probability"] for a in answers)
    best = checkpoint.load(tmp_path / "run" / "best.safetensors", kind="training-best").tensors
    for name, value in loaded.method.weights().items():
        assert best[f"method.{name}"].equal(value)
    shown = [f"evaluate {data} --model {model} --shot 1 --episodes 20 --way 3 --json".split()]
    shown.append(
        f"evaluate {data} --model {tmp_path / 'run'} --shot 1 --episodes 20 --json".split()
    )
    for words in shown:
        assert main(words) == 0
        status = json.loads(capsys.readouterr().out)["results"][0]["status"]
        assert status == "trained"


def test_with_few_classes_held_out_confidence_is_that_of_the_start(
    train: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--steps", "2", "--hold-out", "0.25", "--set", "validate_every=0"]
    assert train("--method", "hyrsm", *quick) == 0
    said = capsys.readouterr().err
    assert "fewer than 4 held-out classes" in said
    assert "their confidence is the probability alone" in said
    assert load_model(tmp_path / "run", device="cpu").table is None
    (tmp_path / "run").rename(tmp_path / "first")
    start = load_model(tmp_path / "first", device="cpu")
    table = {1: (0.5, 1.0, 2.0)}
    replace(start, rejection=table).save(tmp_path / "first" / "model.safetensors")
    assert train("--model", tmp_path / "first", *quick) == 0
    assert "that is kept from the model it started from" in capsys.readouterr().err
    assert load_model(tmp_path / "run", device="cpu").table == table


def test_way_and_shot_are_options(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        train("--method", "hyrsm", "--steps", "2", "--set", "validate_every=0", "--shot", "2") == 0
    )
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert (receipt["config"]["way"], receipt["config"]["shot"]) == (3, 2)
    capsys.readouterr()
    assert train("--method", "hyrsm", "--way", "4") == 2  # FAST sets three
    assert "--way 4 and --set way=3; give one" in capsys.readouterr().err


def test_a_run_that_did_not_help_says_so(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--method", "hyrsm", "--hold-out", "0.5", "--steps", "4", "--set", "validate_every=2"]
    assert train(*words, "--set", "lr=1e-12", "--set", "warmup=3") == 0  # which changes nothing
    said = capsys.readouterr()
    assert "training did not help: " in said.err
    assert " % at best after, on the clips by which the step is chosen; " in said.err
    assert "at step 0 of 4" in said.out


@pytest.mark.parametrize(
    "words",
    [["--method", "hyrsm"], ["--tune-backbone", "--set", "backbone_lr=1e-3", "--steps", "4"]],
    ids=["features", "videos"],
)
def test_a_run_on_shared_clips(
    words: list[str], train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = session.train, []

    def watched(method: Any, source: Any, **how: Any) -> Any:
        batch = source.batch(0)
        seen.append((batch.episodes, batch.way, batch.clips))
        return real(method, source, **how)

    monkeypatch.setattr(session, "train", watched)
    assert train(*words, *SHARED) == 0
    assert seen == [(6, 3, 30)]  # two draws of five classes of three clips
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert [receipt["config"][name] for name in ("batch", "deals", "pool")] == [6, 3, 5]
    assert load_model(tmp_path / "run", device="cpu").origin == "trained"


def coloured(path: Path, hue: int, shade: int) -> None:
    """Four frames of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = [(hue >> bit & 1) * 120 + 40 + 9 * shade for bit in range(3)]
    picture = np.full((64, 64, 3), levels, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_the_loss_falls_and_the_receipt_says_what_was_done(
    train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = tmp_path / "colours"
    for hue in range(8):
        for shade in range(4):
            coloured(colours / f"hue{hue}" / f"{shade}.avi", hue, shade)
    words = [
        "--method",
        "hyrsm",
        "--steps",
        "150",
        "--set",
        "lr=3e-3",
        "--set",
        "weight_decay=0",
        "--json",
    ]
    words += ["--set", "validate_every=0", "--set", "log_every=1", "--set", "batch=4"]
    assert train(*words, folder=colours) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["method"] == "HyRSM"
    assert receipt["config"]["warmup"] == 15
    assert receipt["data"]["train"]["classes"] == 6
    assert len(receipt["held_out"]) == 2
    rows = [row for row in logs.read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    losses = [row["loss"] for row in rows]
    assert sum(losses[-30:]) < 0.8 * sum(losses[:30])


def test_ctrl_c_saves_and_the_line_it_leaves_goes_on(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = logs.Log.write

    def write(self: logs.Log, row: Any) -> None:
        real(self, row)
        if row["step"] == 6 and "validation" in row:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(logs.Log, "write", write)
        assert train("--method", "hyrsm") == 130
    assert "stopped after step 6 and saved" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert train("--method", "hyrsm") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert train("--method", "hyrsm", "--resume") == 0
    assert load_model(tmp_path / "run", device="cpu").method_name == "hyrsm"


def test_a_backbone_is_tuned_from_videos(
    train: Any, tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--tune-backbone", "--steps", "4", "--set", "backbone_lr=1e-3") == 0
    loaded = load_model(tmp_path / "run", device="cpu")
    assert loaded.method_name == "protonet"
    assert loaded.backbone_file == "backbone.safetensors"
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    best = receipt["result"]["best_step"]
    before = load_model(tiny, device="cpu").backbone.state_dict()
    after = loaded.backbone.state_dict()
    assert all(before[k].equal(after[k]) for k in before) == (best == 0)
    last = checkpoint.load(tmp_path / "run" / "last.safetensors", kind="training").tensors
    assert not last["backbone.patch.weight"].equal(before["patch.weight"])


def test_broken_clips_and_small_classes_are_left_out_by_name(
    train: Any, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(data, mine)
    folders = sorted(path for path in mine.iterdir() if path.is_dir())
    (folders[0] / "broken.mp4").write_bytes(b"no clip")
    for clip in sorted(folders[1].iterdir())[2:]:
        clip.unlink()
    held = tmp_path / "held"
    held.mkdir()
    for folder in folders[5:]:
        folder.rename(held / folder.name)
    assert train("--method", "hyrsm", "--validation", held, "--set", "way=3", folder=mine) == 0
    said = capsys.readouterr().err
    assert "left out" in said
    assert "broken.mp4" in said
    assert f"left out class {folders[1].name!r} has 2 clips, 3 are needed" in said
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert receipt["held_out"] == [folder.name for folder in folders[5:]]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "nonsense"], "no method is called 'nonsense'"),
        (["--set", "colour=1"], "has no colour"),
        (["--set", "colour"], "expected FIELD=VALUE"),
        (["--recipe", "a2m2-lite0", "--method", "trx"], "leave those out"),
        (["--recipe", "nonsense"], "no recipe is called 'nonsense'"),
        (["--method", "protonet"], "ProtoNet has no parameters to train"),
        (["--method", "hyrsm", "--set", "way=9"], "9-way"),
        (["--method", "hyrsm", *SHARED, "--set", "pool=7"], "pool is 7 and 6 classes"),
        (["--method", "hyrsm", *SHARED, "--set", "batch=7"], "a multiple of deals, such as 9"),
        (["--method", "hyrsm", "--hold-out", "0.9"], "too few to train on"),
        (["--method", "hyrsm", "--validation", "no/where"], "is not a folder"),
        (["--method", "hyrsm", "--backbone-weights", "x"], "is for --recipe"),
    ],
)
def test_a_wrong_call_is_one_line(
    train: Any,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train("--cache", tmp_path / "cache", *words) == 2
    assert not (tmp_path / "cache").exists()  # before anything is encoded
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_validation_on_the_training_classes_is_refused(
    train: Any, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--method", "hyrsm", "--validation", data) == 2
    assert "is trained on and validated on" in capsys.readouterr().err
