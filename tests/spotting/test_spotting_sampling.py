from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.spotting.sampling import Sampler


def shown(times: list[float], *, step: float = 0.1, gap: float = 1.0) -> list[tuple[int, float]]:
    sampler: Sampler[float] = Sampler(step=step, gap=gap)
    return [(f.slot, f.item) for time in times for f in sampler.push(time, time)]


def test_every_slot_shows_the_nearest_frame() -> None:
    assert shown([0.0, 0.04, 0.09, 0.12, 0.16, 0.2]) == [(0, 0.0), (1, 0.09), (2, 0.2)]
    # The clock of the first frame is the grid's.
    assert shown([7.0, 7.09, 7.12]) == [(0, 7.0), (1, 7.09)]


@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=60))
def test_with_any_jitter_no_other_frame_is_nearer(steps: list[float]) -> None:
    times = [sum(steps[:i]) for i in range(len(steps) + 1)]
    found = shown(times)
    assert [slot for slot, _ in found] == list(range(len(found)))
    for slot, item in found:
        nearest = min(abs(time - 0.1 * slot) for time in times)
        assert abs(item - 0.1 * slot) == pytest.approx(nearest, abs=1e-9)


def test_a_frame_that_lasts_fills_several_slots_and_is_marked_as_the_same() -> None:
    sampler: Sampler[str] = Sampler(step=0.1, gap=1.0)
    sampler.push("a", 0.0)
    filled = sampler.push("b", 0.4)
    assert [(f.slot, f.item, f.repeated) for f in filled] == [
        (1, "a", True),
        (2, "a", True),
        (3, "b", False),
        (4, "b", True),
    ]


def test_late_and_doubled_frames_are_passed_over_and_counted() -> None:
    clean = [0.0, 0.1, 0.2, 0.3]
    assert shown([0.0, 0.1, 0.1, 0.05, 0.2, 0.3, 0.2]) == shown(clean)
    sampler: Sampler[int] = Sampler(step=0.1, gap=1.0)
    for time in (0.0, 0.2, 0.1, 0.2):
        sampler.push(0, time)
    assert sampler.late == 2


def test_breaks_are_long_gaps_in_either_direction() -> None:
    sampler: Sampler[int] = Sampler(step=0.1, gap=1.0)
    assert not sampler.breaks(99.0)
    sampler.push(0, 10.0)
    assert [sampler.breaks(t) for t in (10.9, 11.1, 9.1, 8.9)] == [False, True, False, True]
    sampler.restart()
    assert [f.slot for f in sampler.push(1, 20.0)] == [0]
    assert sampler.origin == 20.0


@pytest.mark.parametrize(
    "time",
    [
        *(float("nan"), float("inf"), -float("inf"), "now", None, True, 1j, 1e300, -1e300, 10**400),
        *(1_795_912_039_000, 1_795_912_039_000_000_000),  # milliseconds and nanoseconds since 1970
    ],
)
def test_times_that_are_none_are_refused(time: object) -> None:
    sampler = Sampler[int](step=0.1, gap=1.0)
    sampler.push(0, 0.0)
    for refuse in (sampler.breaks, lambda at: sampler.push(1, at)):
        with pytest.raises(ArgumentError, match="expected seconds as a finite number") as caught:
            refuse(time)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", [int, float, np.float32, np.int64, Fraction])
def test_every_kind_of_number_is_a_time(kind: Callable[[float], float]) -> None:
    sampler = Sampler[int](step=0.5, gap=2.0)
    filled = [f.slot for at in (0.0, 1.0, 2.0) for f in sampler.push(0, kind(at))]
    assert filled == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("start", [-1e9, 1_795_912_039.25, 9e10])
def test_slots_are_the_same_on_every_clock(start: float) -> None:
    times = [k / 32 for k in range(100)]
    expected = [(slot, times.index(item)) for slot, item in shown(times, step=0.125)]
    there = [start + at for at in times]
    assert [(s, there.index(item)) for s, item in shown(there, step=0.125)] == expected
