"""The tables of `a2m2 compare` on terminals of several widths."""

from __future__ import annotations

import re

import pytest

from a2m2_zoo._utils.console import SafeConsole
from a2m2_zoo.cli import output
from a2m2_zoo.cli.compare_report import show
from a2m2_zoo.evaluation.results import Comparison, Difference, MethodResult


def result(method: str, difference: Difference | None) -> MethodResult:
    return MethodResult(
        method=method,
        shot=5,
        status="untrained" if method == "clip-fsar" else "no parameters",
        parameters=12_345_678,
        accuracy=100.0,
        interval=21.5,
        class_interval=126.5,
        calibration_error=None,
        per_class=(100.0, 100.0),
        confusion=((1, 0), (0, 1)),
        difference=difference,
        score_ms=14.92,
        encode_ms=21.78,
    )


def comparison(episodes: int) -> Comparison:
    results = (
        result("a2m2", None),
        result("a2m2-diagonal", Difference(-76.0, 13.0, 80.0, 1e-6)),
        result("clip-fsar", Difference(-0.1, 0.5, 2.0, 0.5)),
    )
    return Comparison(
        title="clips",
        reference="a2m2",
        class_names=("jump", "wave"),
        clips=(6, 6),
        way=2,
        shots=(5,),
        query=1,
        episodes=episodes,
        seed=0,
        model="a2m2-lite0",
        receipt={},
        results=results,
        failures=(),
    )


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, ("accuracy %", "verdict")),
        (120, ("± classes", "head")),
        (150, ("ms/clip", "parameters")),
    ],
)
def test_no_row_is_broken(
    width: int,
    shown: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output, "stdout", lambda: SafeConsole(width=width))
    show(comparison(1000))
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines()]
    assert max(map(len, lines)) <= width
    for column in shown:
        assert column in out
    (row,) = [line for line in lines if "a2m2-diagonal" in line]
    assert re.match(
        r" a2m2-diagonal +100\.0 ± 21\.5 .*-76\.0 ± 13\.0 .*worse on these classes", row
    )
    assert "head" in out or "untrained: random weights" in out
    assert "episodes only" not in out


def test_few_episodes_are_said_to_be_few(capsys: pytest.CaptureFixture[str]) -> None:
    show(comparison(5))
    out = capsys.readouterr().out
    assert "5 episodes only: differences may stay unfound, and ± is rough; take 1,000" in out
    show(comparison(1))
    out = capsys.readouterr().out
    assert "1 episode only: differences may stay unfound, and no ± follows from it; take" in out
    (row,) = [line for line in out.splitlines() if "a2m2-diagonal" in line]
    assert "±" not in row
