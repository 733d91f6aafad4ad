"""The picture of a video over time: its title, its axis, its scale."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from a2m2_zoo.report.timeline import draw_timeline
from a2m2_zoo.spotting import Segment, Window

NAMES = ("wave", "a $kick$", "jump")


def words(path: Path, end: float, *, title: str = "shots/long.mp4") -> list[str]:
    """Every text of the picture of a video that is scored from its first quarter on."""
    starts = np.linspace(0.02 * end, 0.9 * end, 12)
    scores = np.array([0.7, 0.2, 0.1])
    windows = [Window(at, at + 0.1 * end, scores, np.zeros(3)) for at in starts]
    found = [
        Segment(0.0, 0.3 * end, "wave", 0.9),
        Segment(0.3 * end, 0.6 * end, "unknown", 0.9, known=False),
        Segment(0.6 * end, end, "a $kick$", 0.5),
    ]
    draw_timeline(found, windows, NAMES, path, title=title)
    return re.findall("<!-- (.*?) -->", path.read_text())


def seconds(clock: str) -> float:
    """A tick's label as a number."""
    return sum(float(part) * 60**i for i, part in enumerate(reversed(clock.split(":"))))


@pytest.mark.parametrize("end", [0.4, 9.9, 75.0, 100_000.0])
def test_it_starts_at_the_beginning_and_counts_in_round_steps(tmp_path: Path, end: float) -> None:
    found = words(tmp_path / "t.svg", end)
    clocks = [text for text in found if re.fullmatch(r"(\d+:)?\d+:\d\d(\.\d)?", text)]
    assert clocks[0] == "0:00"
    times = [seconds(clock) for clock in clocks]
    steps = np.diff(times)
    assert 3 <= len(steps) <= 14
    assert np.ptp(steps) == pytest.approx(0, abs=1e-6)
    assert end - times[-1] < steps[0] + 1e-6  # to the end
    step = steps[0] if steps[0] < 60 else steps[0] / 60 if steps[0] < 3600 else steps[0] / 3600
    assert round(step, 6) in {0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 30}
    assert {" 1", " 0"} <= set(found)  # the scale of the bands


def test_the_title_has_the_file_and_the_classes_that_were_found(tmp_path: Path) -> None:
    assert "shots/long.mp4: wave, a $kick$" in words(tmp_path / "t.svg", 9.9)
    assert "wave, a $kick$" in words(tmp_path / "t.svg", 9.9, title="")
