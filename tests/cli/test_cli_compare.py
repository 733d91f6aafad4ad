from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import draw_video, three_classes
from torch import Tensor, nn

from a2m2_zoo.backbones import Features
from a2m2_zoo.cli import main
from a2m2_zoo.cli.compare import read_shots
from a2m2_zoo.errors import ArgumentError, DependencyError
from a2m2_zoo.evaluation.results import Comparison
from a2m2_zoo.hub.receipts import read_figures
from a2m2_zoo.methods import METHODS
from a2m2_zoo.methods.base import PairwiseMethod
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.report.page import Explained

pytestmark = pytest.mark.usefixtures("seen_once")

EPISODES = ["--episodes", "31", "--seed", "3", "--workers", "1"]


class DiceConfig(Config):
    @classmethod
    def for_backbone(cls, backbone: Any, *, frames: int) -> DiceConfig:
        return cls()

    def to_dict(self) -> dict[str, Any]:
        return {}


class Dice(PairwiseMethod):
    """Random weights, as every method that nobody trained."""

    def __init__(self, config: DiceConfig) -> None:
        super().__init__()
        self.config = config
        self.face = nn.Parameter(torch.rand(1280))

    def encode(self, features: Features) -> dict[str, Tensor]:
        return {"face": (features.pooled.mean(1) * self.face).sum(-1, keepdim=True)}

    def pairs(self, query: Any, support: Any) -> Tensor:
        return -torch.cdist(query["face"], support["face"])


@pytest.fixture(autouse=True)
def _dice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "dice", (Dice, DiceConfig))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_classes(tmp_path_factory.mktemp("data") / "movements")


def call(command: str, data: Path, cache: str, *more: str, way: str = "2") -> int:
    arguments = [command, str(data), "--way", way, "--cache", cache, *EPISODES, *more]
    return main([*arguments, *([] if "--shot" in more else ["--shot", "1,2"])])


def test_a_table_for_people_and_a_file_for_programs(
    data: Path, cache: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    more = ["--methods", "dice, protonet-lite0", "--out", str(file)]
    assert call("compare", data, cache, *more) == 0
    out, err = capsys.readouterr()
    assert err == f"wrote: {file}\n"
    found = Comparison.from_json(file.read_text())
    lines = out.splitlines()
    assert lines[0] == found.title
    assert found.title == "movements: 2-way 1, 2-shot, 3 classes, 9 clips, 31 episodes, seed 3"
    for shot in (1, 2):
        start = next(i for i, line in enumerate(lines) if line.startswith(f"2-way {shot}-shot"))
        rows = [line.split() for line in lines[start + 4 : start + 7]]
        assert [row[0] for row in rows] == [r.method for r in found.of_shot(shot)]
        for row, result in zip(rows, found.of_shot(shot), strict=True):
            assert row[1:4] == [f"{result.accuracy:.1f}", "±", f"{result.interval:.1f}"]
            words = " ".join(row)
            assert result.status in words
            assert (result.difference.verdict if result.difference else "reference") in words
    assert "untrained: random weights, not the published method's result: dice" in lines
    assert "Guessing gives 50 %." in out


def test_json_on_stdout_is_all_of_stdout(
    data: Path, cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("compare", data, cache, "--methods", "a2m2", "--json", "--shot", "1") == 0
    found = Comparison.from_json(capsys.readouterr().out)
    assert found.shots == (1,)
    assert [r.method for r in found.results] == ["a2m2"]


def test_what_is_left_out_is_named_and_a_broken_clip_is_exit_code_1(
    data: Path, cache: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = three_classes(tmp_path / "clips")
    (root / "right" / "zzz.mp4").write_text("no clip")
    draw_video(root / "lonely" / "one.mp4")
    assert call("compare", root, cache, "--methods", "protonet-lite0") == 1
    out, err = capsys.readouterr()
    assert "3 classes, 9 clips" in out
    reported = sorted(err.splitlines())
    assert len(reported) == 2, err
    assert reported[0].startswith("a2m2: left out class 'lonely': has 1 of the 3 clips")
    assert reported[1].startswith("a2m2: left out clip 'right/zzz.mp4': ")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "a2m2-otan"], "did you mean a2m2-otam"),
        (["--methods", ","], "methods names none"),
        (["--shot", "1,many"], "--shot is '1,many'; expected whole numbers such as 1,5"),
        (["--shot", "1,1"], "expected each once"),
        (["--shot", "1,9"], "0 of 3 classes have the 10 clips that 9-shot"),
        (["--model", "a2m2-lite1"], "did you mean a2m2-lite0"),
        (["--methods", "{tmp}/no.safetensors"], "No such file"),
        (["--split", "exam"], "exam"),
    ],
)
def test_a_wrong_call_is_one_clear_line(
    more: list[str],
    message: str,
    data: Path,
    cache: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = [part.format(tmp=tmp_path) for part in more]
    assert call("compare", data, cache, *more) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("option", "name"), [("--out", "file"), ("--html", "page.html")])
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    option: str,
    name: str,
    data: Path,
    cache: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ["--model", "would-be-refused-later", option, str(tmp_path / "nowhere" / name)]
    assert call("compare", data, cache, *more) == 1
    assert "its folder does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "evaluate", "misalign"])
def test_a_file_of_json_is_not_named_as_another(
    command: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "page.html"
    assert main([command, str(data), "--model", "would-be-refused-later", "-o", str(file)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"a2m2: --out {str(file)!r} should end in .json")
    assert ("--html writes a page" in err) == (command == "compare")
    assert err.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize("drawn", [True, False])
def test_the_page_is_written_with_pictures_or_without(
    drawn: bool,
    data: Path,
    cache: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    received: dict[str, Any] = {}

    def explained(model: Any, classes: Any, **how: Any) -> tuple[Explained, ...]:
        received.update(how, classes=list(classes))
        if not drawn:
            raise DependencyError("matplotlib is not installed")
        picture = b"\x89PNG\r\n\x1a\n"
        return (Explained(picture, "a query", "back", "still", (("still", 0.7), ("back", 0.3))),)

    monkeypatch.setattr("a2m2_zoo.report.examples.explained_episodes", explained)
    page = tmp_path / "page.html"
    more = ["--methods", "dice", "--shot", "2", "--html", str(page)]
    assert call("compare", data, cache, *more) == 0
    assert received == {
        "classes": ["back", "right", "still"], "way": 2, "shot": 2, "seed": 3, "count": 4,
    }  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert "movements: 2-way 2-shot" in text
    assert "dice" in text
    assert "untrained" in text
    assert ("a query" in text) == drawn
    complaint = (
        "" if drawn else ("a2m2: the page has no explained answers: matplotlib is not installed\n")
    )
    assert capsys.readouterr().err == f"{complaint}wrote: {page}\n"


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_missing_videos_of_a_list_are_named_and_exit_code_1(
    command: str, data: Path, cache: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{c}/{p.stem}" for c in ("right", "back") for p in sorted((data / c).iterdir())]
    file = tmp_path / "test.txt"
    file.write_text("\n".join([*lines, "right/gone", *(f"st%ll/s{i}" for i in range(3))]) + "\n")
    page = tmp_path / "page.html"
    more = ["--methods", "protonet-lite0", "--html", str(page)] if command == "compare" else []
    assert call(command, data, cache, "--list", str(file), "--json", "--shot", "1", *more) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["class_names"] == ["back", "right"]
    reason = (
        "4 of 10 listed videos not there: 'right/gone', 'st%ll/s0', 'st%ll/s1' and 1 more; "
        "1 class without any: 'st%ll'"
    )
    assert found["failures"] == [{"kind": "list", "name": "test.txt", "reason": reason}]
    assert f"a2m2: left out of list 'test.txt': {reason}" in err.splitlines()
    if command == "compare":
        assert "1 class without any" in page.read_text(encoding="utf-8")
    assert call(command, data, cache, "--list", str(file), "--shot", "1", way="3") == 2
    assert reason in capsys.readouterr().err
    file.write_text("\n".join(lines))
    assert call(command, data, cache, "--list", str(file), "--json", "--shot", "1") == 0
    assert capsys.readouterr().err == ""


def test_evaluate_says_what_the_comparison_says_of_the_models_own_head(
    data: Path, cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("compare", data, cache, "--methods", "a2m2", "--json") == 0
    compared = Comparison.from_json(capsys.readouterr().out)
    assert call("evaluate", data, cache, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for raw, result in zip(found["results"], compared.results, strict=True):
        assert raw["accuracy"] == result.accuracy
        assert raw["confusion"] == [list(row) for row in result.confusion]
        assert 0 <= raw["calibration_error"] <= 1
        for pair in raw["mixed_up"]:
            truth, answer = (found["class_names"].index(pair[k]) for k in ("truth", "answer"))
            row = raw["confusion"][truth]
            assert pair["percent"] == pytest.approx(100 * row[answer] / sum(row))


def test_evaluate_shows_classes_and_what_is_mixed_up(
    data: Path, cache: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    assert call("evaluate", data, cache, "-o", str(file)) == 0
    out, err = capsys.readouterr()
    assert err == f"wrote: {file}\n"
    found = json.loads(file.read_text())
    facts = found["receipt"]["model"]
    figures = read_figures(file, weights_hash=facts["weights_hash"], method="a2m2")
    assert [figure.accuracy for figure in figures] == [r["accuracy"] for r in found["results"]]
    assert out.startswith("a2m2-lite0 on movements: 2-way")
    assert "31 episodes only: ± is rough; take 1,000 or more." in out
    lines = [line.split() for line in out.splitlines()]
    first, second = found["results"]
    for i, name in enumerate(found["class_names"]):
        row = [name, "3", f"{first['per_class'][i]:.1f}", f"{second['per_class'][i]:.1f}"]
        assert row in lines
    for result in (first, second):
        for pair in result["mixed_up"]:
            shown = [str(result["shot"]), pair["truth"], pair["answer"], f"{pair['percent']:.1f}"]
            assert shown in lines


def test_shots_are_whole_numbers() -> None:
    assert read_shots(" 1, 5") == (1, 5)
    for wrong in ("", "1;5", "1.5", "1,,5"):
        with pytest.raises(ArgumentError, match="expected whole numbers"):
            read_shots(wrong)


@pytest.mark.parametrize("episodes", [1, 100])
def test_evaluate_says_when_the_interval_is_rough_or_none(
    episodes: int, data: Path, cache: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", data, cache, "--shot", "1", "--episodes", str(episodes)) == 0
    out = capsys.readouterr().out
    assert ("1 episode only: no ± follows from it; take 1,000 or more." in out) == (episodes == 1)
    assert "rough" not in out
    (row,) = [line.split() for line in out.splitlines() if line.strip().startswith("1 ")][:1]
    assert ("±" in row) == (episodes == 100)


@pytest.mark.parametrize("command", ["evaluate", "compare", "misalign", "episode"])
@pytest.mark.parametrize("seed", ["-1", str(2**60)])
def test_a_seed_out_of_bounds_is_refused_as_in_training(
    command: str, seed: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(data), "--seed", seed]) == 2
    err = capsys.readouterr().err
    assert "'--seed'" in err
    assert err.count("\n") == 1
