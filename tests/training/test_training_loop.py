"""Training: it learns, it resumes to the bit, it ends well whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import training_maker as maker
from training_maker import same, saved, stop_at

from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.training import distributed
from a2m2_zoo.training.logs import read_log
from a2m2_zoo.training.state import BEST, LAST

SCRIPT = Path(maker.__file__)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of 20 steps that others are compared with."""
    out = tmp_path_factory.mktemp("whole") / "run"
    maker.run(out)
    return out


def test_it_learns_and_says_so(tmp_path: Path) -> None:
    config = maker.settings(steps=60, batch=4, query=4, validate_every=20, validate_episodes=300)
    found, method = maker.run(tmp_path / "run", config=config)
    accuracy = [point["1"] for point in found.curve]
    assert [point["step"] for point in found.curve] == [0, 20, 40, 60]
    assert max(accuracy[1:]) > accuracy[0] + 5
    assert found.best_accuracy == pytest.approx(max(accuracy), abs=1e-3)
    rows = [row for row in read_log(tmp_path / "run" / "log.jsonl") if "loss" in row]
    losses = [row["loss"] for row in rows]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert set(rows[0]["losses"]) == {"episode", "frames"}
    assert rows[0]["loss"] == pytest.approx(sum(rows[0]["losses"].values()))
    receipt = json.loads((tmp_path / "run" / "receipt.json").read_text())
    assert receipt["result"]["best_step"] == found.best_step
    assert receipt["config"]["steps"] == 60
    assert receipt["held_out"] == list("abcdef")
    assert not method.training
    best = saved(tmp_path / "run", BEST)
    assert set(best) == {f"method.{name}" for name in method.weights()}
    assert all(torch.equal(best[f"method.{k}"], v) for k, v in method.weights().items())


def test_an_interrupted_run_resumes_to_the_bit(whole: Path, tmp_path: Path) -> None:
    first, _ = maker.run(tmp_path / "run", progress=stop_at(10))
    assert (first.stopped, first.step) == ("interrupted", 10)
    assert len(read_log(tmp_path / "run" / "log.jsonl")) == 12  # two validations
    second, _ = maker.run(tmp_path / "run", resume=True)
    assert (second.stopped, second.step) == ("steps", 20)
    assert same(saved(tmp_path / "run"), saved(whole))
    assert same(saved(tmp_path / "run", BEST), saved(whole, BEST))
    logs = [read_log(out / "log.jsonl") for out in (tmp_path / "run", whole)]
    for rows in logs:
        for row in rows:
            row.pop("clips_per_second", None)
    assert logs[0] == logs[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_to_the_bit(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed = subprocess.run([sys.executable, SCRIPT, out, "1", "11"], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert checkpoint.load(out / LAST, kind="training").record["progress"]["step"] == 9
    found, _ = maker.run(out, resume=True)
    assert found.step == 20
    assert same(saved(out), saved(whole))
    assert same(saved(out, BEST), saved(whole, BEST))


def test_two_processes_take_the_gradient_of_one_that_accumulates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = maker.settings(accumulate=2, optimiser="sgd", lr=0.1, steps=4, warmup=0)
    maker.run(tmp_path / "one", config=config)
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with monkeypatch.context() as patch:  # as torchrun sets them
        for name, value in {**common, "RANK": "0"}.items():
            patch.setenv(name, value)
        patch.setattr(distributed, "_PATIENCE", timedelta(seconds=300))
        other = subprocess.Popen(
            [sys.executable, SCRIPT, tmp_path / "two", "1"],
            env={**os.environ, "RANK": "1"},
            stderr=subprocess.PIPE,
        )
        maker.run(tmp_path / "two", config=replace(config, accumulate=1))
        assert other.communicate(timeout=300)[1] == b""
        assert other.returncode == 0
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    start = maker.head().state_dict()
    for name, value in one.items():
        assert torch.allclose(two[name], value, rtol=1e-5, atol=1e-6), name
    moved = [name for name in start if not torch.equal(start[name], one[f"method.{name}"])]
    assert len(moved) > 5
    rows = [read_log(tmp_path / run / "log.jsonl") for run in ("one", "two")]
    assert [row["step"] for row in rows[1]] == [row["step"] for row in rows[0]]
    for mine, other in zip(*rows, strict=True):
        assert mine.get("losses", {}) == pytest.approx(other.get("losses", {}), rel=1e-4)
    # One process that accumulates may go on with what two have saved; one that does not may not.
    assert maker.run(tmp_path / "two", config=config, resume=True)[0].step == 4
    with pytest.raises(ArgumentError, match="batches_per_step was 2, is 1"):
        maker.run(tmp_path / "two", config=replace(config, accumulate=1), resume=True)


def test_a_finished_run_stays_as_it_is(whole: Path) -> None:
    before = (whole / LAST).read_bytes()
    found, method = maker.run(whole, resume=True)
    assert (found.step, found.stopped) == (20, "steps")
    assert (whole / LAST).read_bytes() == before
    assert all(
        torch.equal(saved(whole, BEST)[f"method.{k}"], v) for k, v in method.weights().items()
    )


def test_a_folder_with_a_run_is_not_overwritten(whole: Path) -> None:
    with pytest.raises(ArgumentError, match="holds a run already"):
        maker.run(whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 2e-3}, "lr was 0.001, is 0.002"),
        ({"steps": 30}, "steps was 20, is 30"),
        ({"seed": 7}, "seed was 0, is 7"),
    ],
)
def test_other_settings_do_not_resume(whole: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        maker.run(whole, config=maker.settings(**changes), resume=True)


def test_other_data_does_not_resume(whole: Path) -> None:
    with pytest.raises(ArgumentError, match=r"data\.classes was None, is 3"):
        maker.run(whole, resume=True, data={"classes": 3})


def test_a_run_of_a_version_without_some_setting_goes_on(whole: Path, tmp_path: Path) -> None:
    """What such a run did is what the setting's default says; another value is refused."""
    out = tmp_path / "run"
    maker.run(out, progress=stop_at(11))
    held = checkpoint.load(out / LAST, kind="training")
    record: dict[str, Any] = dict(held.record)
    record["config"] = {k: v for k, v in record["config"].items() if k not in ("deals", "pool")}
    checkpoint.save(out / LAST, held.tensors, kind="training", record=record)
    with pytest.raises(ArgumentError, match="deals was 1, is 2"):
        maker.run(out, config=maker.settings(deals=2), resume=True)
    maker.run(out, resume=True)
    assert same(saved(out), saved(whole))


def test_a_damaged_state_is_named(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / LAST).write_bytes((whole / LAST).read_bytes()[:500])
    with pytest.raises(CheckpointError, match=LAST):
        maker.run(out, resume=True)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def watch(row: Any) -> None:
        if row.get("step") == 5 or "note" in row:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        maker.run(tmp_path / "run", progress=watch)
    assert signal.getsignal(signal.SIGINT) is before
    found, _ = maker.run(tmp_path / "run", resume=True)
    assert found.step == 20


def test_sigterm_saves_too(tmp_path: Path) -> None:
    def watch(row: Any) -> None:
        if row.get("step") == 4:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    found, _ = maker.run(tmp_path / "run", progress=watch)
    assert found.stopped == "interrupted"
    state = checkpoint.load(tmp_path / "run" / LAST, kind="training").record["progress"]
    assert state["step"] == found.step == 4


def test_patience_ends_a_run_that_gets_no_better(tmp_path: Path) -> None:
    config = maker.settings(steps=60, validate_every=3, patience=2, lr=1e-9, warmup=0)
    found, _ = maker.run(tmp_path / "run", config=config)
    assert (found.stopped, found.step, found.best_step) == ("patience", 6, 0)
    again, _ = maker.run(tmp_path / "run", config=config, resume=True)
    assert (again.stopped, again.step) == ("patience", 6)


def test_the_callers_random_numbers_are_left_alone(tmp_path: Path) -> None:
    method = maker.head()
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    maker.run(tmp_path / "run", method=method, config=maker.settings(steps=3))
    assert torch.equal(torch.rand(3), expected)


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    found, method = maker.run(tmp_path / "run", validation=None, config=maker.settings(steps=4))
    assert (found.best_step, found.best_accuracy, found.curve) == (4, None, ())
    last = saved(tmp_path / "run")
    assert all(torch.equal(last[f"method.{k}"], v) for k, v in method.weights().items())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_resumes_to_the_bit(precision: str, tmp_path: Path) -> None:
    config = maker.settings(precision=precision, steps=12)
    maker.run(tmp_path / "whole", config=config)
    maker.run(tmp_path / "parts", config=config, progress=stop_at(6))
    maker.run(tmp_path / "parts", config=config, resume=True)
    assert same(saved(tmp_path / "parts"), saved(tmp_path / "whole"))
    state = checkpoint.load(tmp_path / "parts" / LAST, kind="training").record["progress"]
    assert state["loss_scale"] == (1.0 if precision == "bfloat16" else 2.0**16)
    rows = [row for row in read_log(tmp_path / "whole" / "log.jsonl") if "loss" in row]
    assert all(row["loss"] > 0 for row in rows)
    plain = tmp_path / "plain"
    maker.run(plain, config=maker.settings(steps=12))
    assert not same(saved(plain), saved(tmp_path / "whole"))
