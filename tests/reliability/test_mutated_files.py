"""Mutated files of every kind give an answer or one line, soon and in little memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="memory is counted with the resource module")
sys.path.insert(0, str(Path(__file__).parent))

from fuzz import run

COUNT = int(os.environ.get("A2M2_COUNT", "2000"))


def test_mutated_files_are_answered_or_refused() -> None:
    receipt = run(COUNT, seed=int(os.environ.get("A2M2_SEED", "0")))
    assert receipt["faults"] == []
    assert sum(receipt["outcomes"].values()) == COUNT
    assert receipt["outcomes"]["refused"] > COUNT / 4, "hardly anything was damaged"
    assert receipt["peak_mb"] < 1500
