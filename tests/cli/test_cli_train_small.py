"""`a2m2 train` on small sets: real runs on colours, some to be learned from and some not."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from makers_models import tiny_model

from a2m2_zoo.cli import main, train_data
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.training import logs
from a2m2_zoo.training.start import from_model
from a2m2_zoo.zoo.load import load_model

pytestmark = pytest.mark.usefixtures("seen_once")

CLASSES, CLIPS = 10, 12
FAST = [
    *("--set", "validate_episodes=60", "--set", "validate_shots=[1]", "--device", "cpu"),
    *("--workers", "1", "--recipe", "small"),
]
LONG = ["--steps", "80", "--set", "lr=3e-3", "--set", "validate_every=40"]


def coloured(path: Path, colour: tuple[int, ...]) -> None:
    """Four frames of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((64, 64, 3), colour, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sets of the same clips, and a head that has learned nothing yet.

    In ``blue`` a class is a level of blue under any red and green, which is there to be learned; in ``mixed``
    the clips lie in folders by lot.
    """
    root = tmp_path_factory.mktemp("small")
    draw = np.random.default_rng(0)
    folders = draw.permutation(CLASSES * CLIPS) % CLASSES
    for number in range(CLASSES * CLIPS):
        level, clip = divmod(number, CLIPS)
        red, green = draw.integers(20, 235, 2)
        file = root / "blue" / f"level{level}" / f"{clip:02}.avi"
        coloured(file, (red, green, 25 + 22 * level))
        other = root / "mixed" / f"lot{folders[number]}" / f"{number:03}.avi"
        other.parent.mkdir(parents=True, exist_ok=True)
        other.hardlink_to(file)
    tiny = load_model(tiny_model(root), device="cpu")
    head = (
        from_model(tiny, folder=root, method="trx", settings={"method.out": 16}).finished().eval()
    )
    start = replace(tiny, method=head, method_name="trx", id="start", scales={1: 2.0})
    start.save(root / "start.safetensors")
    return root


def part_of(data: Path, out: Path, *, levels: int, clips: int) -> Path:
    """The first clips of the first classes."""
    for level in range(levels):
        for clip in range(clips):
            file = out / f"level{level}" / f"{clip}.avi"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.hardlink_to(data / f"level{level}" / f"{clip:02}.avi")
    return out


@pytest.fixture
def train(place: Path, tmp_path: Path) -> Any:
    """Runs the command into ``tmp_path / "run"`` or another folder; the cache is shared by all tests."""

    def run(*words: str | Path, data: str = "blue", out: str = "run") -> int:
        common = ["--out", tmp_path / out, "--model", place / "start.safetensors"]
        common += ["--cache", place / "cache"]
        return main(["train", *map(str, [place / data, *common, *FAST, *words])])

    return run


def receipt(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "receipt.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("by", ["classes", "clips"])
def test_where_there_is_something_to_learn_the_trained_head_is_kept(
    by: str, train: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*LONG, "--hold-out-by", by) == 0
    said = capsys.readouterr()
    assert "training did not help" not in said.err
    chosen, judged = said.out.splitlines()[:2]  # figures of other clips, and that is said
    assert f"% on held-out {by} at step" in chosen
    assert chosen.endswith(", on the clips by which the step is chosen")
    assert re.match(
        "training helped: .* after, on clips kept apart from those by .* chosen \\(", judged
    )
    found = receipt(tmp_path / "run")
    assert found["kept"] is True
    assert found["verdict"]["better"] is True
    assert found["verdict"]["clips"] == (24 if by == "classes" else 20)
    assert found["verdict"]["after"] > found["verdict"]["before"] + 5
    assert found["verdict"]["p_value"] < 0.05
    assert set(found["data"]) >= {"train", "held", "judged"}
    model = load_model(tmp_path / "run", device="cpu")
    best = checkpoint.load(tmp_path / "run" / "best.safetensors", kind="training-best").tensors
    assert all(best[f"method.{k}"].equal(v) for k, v in model.method.weights().items())
    assert model.scales != {1: 2.0}  # calibrated on what was held out


def test_where_there_is_nothing_to_learn_the_start_is_kept_and_that_is_said(
    train: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1"):
        out = tmp_path / seed
        assert train(*LONG, "--seed", seed, data="mixed", out=seed) == 0
        said = capsys.readouterr()
        [line] = [line for line in said.err.splitlines() if "with these clips as supports" in line]
        assert "training did not help: " in line or "cannot be told from chance: " in line
        assert f"{out / 'model.safetensors'} keeps the head that it started from" in line
        assert line.count(" % ") >= 2
        assert "by which the step is chosen" in line  # says on which clips
        assert "training helped" not in said.out
        assert receipt(out)["kept"] is False
        model, start = load_model(out, device="cpu"), load_model(place / "start.safetensors")
        assert all(v.equal(start.method.weights()[k]) for k, v in model.method.weights().items())
        assert model.scales == start.scales


def test_a_run_is_the_same_again_and_resumed(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--steps", "20", "--set", "lr=3e-3", "--set", "validate_every=5"]
    assert train(*words) == 0
    assert train(*words, out="again") == 0
    real = logs.Log.write

    def write(self: logs.Log, row: Any) -> None:
        real(self, row)
        if row["step"] == 10 and "validation" in row:
            import signal

            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(logs.Log, "write", write)
        assert train(*words, out="broken") == 130
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    assert train(*words, "--resume", out="broken") == 0
    first, again, broken = (receipt(tmp_path / name) for name in ("run", "again", "broken"))
    weights = [
        checkpoint.load(tmp_path / name / "best.safetensors", kind="training-best").tensors
        for name in ("run", "again", "broken")
    ]
    for other, tensors in ((again, weights[1]), (broken, weights[2])):
        assert other["verdict"] == first["verdict"]
        assert other["result"]["curve"] == first["result"]["curve"]
        assert all(tensors[name].equal(value) for name, value in weights[0].items())
    assert train(*words, "--resume", "--hold-out-by", "clips", out="again") == 2
    assert "other settings (data." in capsys.readouterr().err
    # A run that had ended is judged again, and the same.
    assert train(*words, "--resume", out="again") == 0
    assert receipt(tmp_path / "again")["verdict"] == first["verdict"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hold-out", "0"], "the share to hold out is 0"),
        (["--hold-out-by", "people"], "--hold-out-by"),
        (["--tune-backbone"], "leaves the backbone as it is"),
        (["--set", "backbone_lr=1e-3"], "leaves the backbone as it is"),
        (["--validation", "x", "--hold-out-by", "clips"], "--hold-out-by is for the recipe small"),
        (["--set", "way=many"], "way is 'many'"),
        (["--set", "validate_shots=[9]"], "0 clips of 0 classes would be left to judge it by"),
        (["--method", "trx"], "leave those out"),
        (["--backbone-weights", "x"], "leave --backbone-weights out"),
        (["--runtime", "onnxruntime"], "computes the backbone lite and not tiny"),
        (["--runtime", "fast"], "--runtime"),
    ],
)
def test_a_wrong_call_is_one_line(
    words: list[str],
    message: str,
    train: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(*words, "--cache", tmp_path / "cache") == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "cache").exists()


def test_the_backbone_is_computed_as_asked_for_and_that_is_part_of_the_run(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    some = part_of(place / "blue", tmp_path / "some", levels=4, clips=3)
    words = ["train", some, "--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    words += ["--method", "trx", "--steps", "1", "--device", "cpu", "--workers", "1", "--way", "2"]
    words += ["--set", "query=1", "--set", "batch=1", "--set", "validate_episodes=5"]
    words += ["--set", "method.out=16", "--set", "validate_shots=[1]", "--hold-out", "0.5"]
    call = list(map(str, words))
    assert main([*call, "--runtime", "onnxruntime"]) == 0
    assert receipt(tmp_path / "run")["data"]["runtime"] == "onnxruntime"
    [key] = (tmp_path / "cache").glob("*/key.json")
    assert json.loads(key.read_text())["runtime"] == "onnxruntime"
    model = load_model(tmp_path / "run", device="cpu")
    assert (model.backbone_name, model.runtime) == ("efficientnet-lite0", "torch")
    capsys.readouterr()
    assert main([*call, "--resume"]) == 2  # features are equal to 1e-4, and not to the bit
    assert "other settings (data." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--recipe", "a2m2-lite0"], "the classes are drawn"),
        (["DATA", "--tune-backbone"], "the backbone is tuned"),
        (["DATA", "--method", "hyrsm", "--set", "backbone_lr=1e-5"], "the backbone is tuned"),
    ],
)
def test_onnxruntime_is_for_clips_that_are_encoded_once(
    words: list[str], reason: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    call = [str(place / "blue") if word == "DATA" else word for word in words]
    out = ["--out", str(tmp_path / "run"), "--device", "cpu", "--runtime", "onnxruntime"]
    assert main(["train", *call, *out]) == 2
    said = capsys.readouterr().err
    assert f"and {reason}; leave it out" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_too_few_clips_are_refused_before_anything_is_encoded(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = part_of(place / "blue", tmp_path / "few", levels=3, clips=5)
    # The shipped model and nothing else asked for: the recipe is found by the clips.
    words = ["--out", tmp_path / "run", "--cache", tmp_path / "cache"]
    assert main(["train", str(few), *map(str, words)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(
        "3 classes, 15 clips: training with the recipe small; --recipe or --method asks for another"
    )
    assert "3 clips of 3 classes would be left to judge it by" in second
    assert "use the model as it is, with these clips as supports" in second
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({}, "small"),
        ({"recipe": "a2m2-lite0"}, "a2m2-lite0"),
        ({"method": "trx"}, None),
        ({"model": "protonet-lite0"}, None),
        ({"from_scratch": True}, None),
        ({"tune_backbone": True}, None),
    ],
)
def test_the_recipe_is_found_where_nothing_else_is_asked_for(
    words: dict[str, Any], found: str | None
) -> None:
    from a2m2_zoo.cli.train import Beginning, Clips

    small = {f"c{c}": [Path(f"{c}/{i}.mp4") for i in range(20)] for c in range(10)}
    large = {f"c{c}": [Path(f"{c}/{i}.mp4") for i in range(20)] for c in range(60)}
    asked = Beginning(**words)
    assert train_data.with_recipe(asked, Clips(), small).recipe == found
    assert train_data.with_recipe(asked, Clips(), large).recipe == words.get("recipe")
    assert train_data.with_recipe(asked, Clips(benchmark="hmdb51"), small).recipe == words.get(
        "recipe"
    )


def test_resuming_with_other_clips_another_start_or_precision_is_refused_by_name(
    train: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--steps", "4", "--set", "validate_every=2"]
    data = shutil.copytree(place / "blue", tmp_path / "blue")
    assert train(*words, data=str(data)) == 0
    before = (tmp_path / "run" / "receipt.json").read_bytes()
    capsys.readouterr()

    def refused(*more: str | Path) -> str:
        assert train(*words, "--resume", *more, data=str(data)) == 2
        assert (tmp_path / "run" / "receipt.json").read_bytes() == before
        return str(capsys.readouterr().err)

    assert "other settings (data.half was False, is True)" in refused("--half")
    other = replace(load_model(place / "start.safetensors", device="cpu"), id="other")
    (tmp_path / "other").mkdir()
    shutil.copy(place / "backbone.safetensors", tmp_path / "other")
    other.save(tmp_path / "other" / "model.safetensors")
    assert "(data.start was 'start " in refused("--model", tmp_path / "other")
    coloured(data / "level0" / "00.avi", (9, 9, 9))  # by the same name
    assert re.search(r"\(data\.\w+\.contents_sha256 was '", refused())


def test_what_was_trained_on_and_is_measured_on_is_said(
    train: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = part_of(place / "blue", tmp_path / "data", levels=6, clips=8)
    copies = part_of(place / "blue", tmp_path / "copies", levels=2, clips=8)
    for number in range(2):  # under other names
        (copies / f"level{number}").rename(copies / f"new{number}")
    words = ["--method", "trx", "--steps", "1", "--validation", str(copies), "--way", "2"]
    common = ["train", str(data), "--out", str(tmp_path / "run"), "--cache", str(place / "cache")]
    common += ["--model", str(place / "start.safetensors"), "--device", "cpu", "--workers", "1"]
    common += ["--set", "validate_episodes=5", "--set", "validate_shots=[1]", "--set", "query=1"]
    assert main([*common, *words, "--set", "batch=1"]) == 0
    said = capsys.readouterr().err
    assert "16 held-out clips are also trained on, the first " in said
    assert receipt(tmp_path / "run")["trained_on"] == [f"level{number}" for number in range(6)]
    measure = ["--model", str(tmp_path / "run"), "--cache", str(place / "cache"), "--way", "2"]
    measure += ["--shot", "1", "--episodes", "5", "--device", "cpu"]
    assert main(["evaluate", str(data), *measure]) == 0
    assert "was trained on 6 of these 6 classes, 'level0', " in capsys.readouterr().err
    assert main(["evaluate", str(copies), *measure]) == 0
    assert "was trained on" not in capsys.readouterr().err
