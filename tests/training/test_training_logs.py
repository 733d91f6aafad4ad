"""What a run tells, and to whom."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from a2m2_zoo.errors import DependencyError
from a2m2_zoo.training import logs

ROW = {
    "step": 3,
    "loss": 1.5,
    "losses": {"episode": 1.0, "frames": 0.5},
    "lr": 1e-4,
    "grad_norm": 0.7,
    "clips_per_second": 99.0,
}
VALIDATED = {"step": 3, "validation": {"1": 50.0, "5": 70.0}, "best": 60.0, "best_step": 3}


def test_rows_come_back_and_a_resumed_run_cuts_off_what_it_will_write_again(tmp_path: Path) -> None:
    log = logs.Log(tmp_path, after=0, tensorboard=False)
    rows = [{**ROW, "step": step} for step in (1, 2, 3)]
    for row in rows:
        log.write(row)
    log.close()
    path = tmp_path / logs.FILE
    path.write_text(path.read_text() + '{"step": 4, "lo')  # killed while writing
    assert logs.read_log(path) == rows
    logs.Log(tmp_path, after=2, tensorboard=False).write({**ROW, "step": 9})
    assert [row["step"] for row in logs.read_log(path)] == [1, 2, 9]
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 9]


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert logs.read_log(tmp_path / "none.jsonl") == []


def test_tensorboard_that_is_not_there_is_said_only_if_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"pip install 'a2m2_zoo\[train\]'"):
        logs.Log(tmp_path, after=0, tensorboard=True)
    logs.Log(tmp_path, after=0, tensorboard=None).write(ROW)


def test_tensorboard_gets_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, **how: Any) -> None:
            assert folder == str(tmp_path / "tensorboard")
            assert how == {"purge_step": 3}

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0.0, 0))

    fake = types.ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    log = logs.Log(tmp_path, after=2, tensorboard=True)
    log.write(ROW)
    log.write(VALIDATED)
    log.close()
    assert ("losses/frames", 0.5, 3) in written
    assert ("lr", 1e-4, 3) in written
    assert ("validation/5", 70.0, 3) in written
    assert written[-1][0] == "closed"
    assert not any(name == "step" for name, _, _ in written)


def test_the_table_shows_what_is_going_on(monkeypatch: pytest.MonkeyPatch) -> None:
    table = logs.LiveTable(20)
    drawn: list[Any] = []
    monkeypatch.setattr(table, "_live", types.SimpleNamespace(update=drawn.append))

    def shown() -> str:
        console = Console(width=100, file=io.StringIO())
        console.print(drawn[-1])
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    table({"note": "encoding: 3 of 9"})
    assert "encoding: 3 of 9" in shown()
    table(ROW)
    table(VALIDATED)
    for part in ("3 of 20", "1-shot 50.0 %, 5-shot 70.0 %", "60.0 % at step 3", "99 clips/s"):
        assert part in shown()
    assert "encoding" not in shown()


def test_nothing_is_drawn_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    with logs.LiveTable(20) as table:
        table(ROW)
    assert capfd.readouterr() == ("", "")
