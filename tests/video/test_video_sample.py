"""Index and time arithmetic against plain restatements of the rules."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.video import (
    dense,
    frame_at,
    segment_centres,
    segment_random,
    time_centres,
    time_random,
)
from a2m2_zoo.video.sample import is_constant

counts = st.integers(1, 5000)
wanted = st.integers(1, 64)
rising = st.lists(st.integers(1, 500), min_size=1, max_size=60).map(
    lambda gaps: [sum(gaps[:i]) for i in range(len(gaps) + 1)]
)


@given(counts, wanted)
def test_centres_are_the_floor_of_the_exact_centre(count, frames):
    expected = [math.floor((Fraction(k) + Fraction(1, 2)) * count / frames) for k in range(frames)]
    assert list(segment_centres(count, frames)) == expected
    assert expected == sorted(expected)
    assert 0 <= expected[0] <= expected[-1] < count


@given(counts, wanted)
def test_centres_lie_within_half_a_frame_of_symmetry(count, frames):
    forwards = segment_centres(count, frames)
    backwards = [count - 1 - index for index in reversed(forwards)]
    assert max(abs(a - b) for a, b in zip(forwards, backwards, strict=True)) <= 1


@given(st.integers(1, 60))
def test_as_many_frames_as_there_are_takes_each_once(count):
    assert segment_centres(count, count) == tuple(range(count))


@given(counts, wanted, st.integers(-(2**70), 2**70))
def test_random_stays_in_its_segment(count, frames, seed):
    chosen = segment_random(count, frames, seed=seed)
    assert chosen == segment_random(count, frames, seed=seed)
    for k, index in enumerate(chosen):
        first, after = k * count // frames, (k + 1) * count // frames
        if after > first:
            assert first <= index < after
        else:
            assert index == segment_centres(count, frames)[k]


def test_random_is_uniform_and_the_same_everywhere():
    draws = [segment_random(40, 4, seed=seed) for seed in range(2000)]
    for k in range(4):
        tally = [sum(draw[k] == index for draw in draws) for index in range(10 * k, 10 * k + 10)]
        chi_square = sum((seen - 200) ** 2 / 200 for seen in tally)
        assert chi_square < 27.9  # 99.9 % of uniform draws with nine degrees of freedom.
    assert segment_random(300, 8, seed=0) == (12, 62, 97, 147, 157, 215, 239, 282)
    assert segment_random(300, 8, seed=1) != segment_random(300, 8, seed=-1)


@given(counts, wanted, st.integers(1, 10))
def test_dense_interleaves(count, frames, clips):
    many = dense(count, frames, clips=clips)
    assert len(many) == clips
    together = sorted(index for one in many for index in one)
    assert tuple(together) == segment_centres(count, frames * clips)
    assert dense(count, frames, clips=1) == (segment_centres(count, frames),)


@given(rising, st.integers(1, 500), st.randoms(use_true_random=False))
def test_frame_at_is_the_last_frame_that_has_begun(times, last, rng: random.Random):
    start = rng.randrange(-1000, 1000)
    times = [start + time for time in times]
    duration = times[-1] - times[0] + last
    instants = [Fraction(rng.randrange(duration * 8), 8) for _ in range(20)]
    for instant, index in zip(instants, frame_at(times, duration, instants), strict=True):
        assert index == max(i for i, time in enumerate(times) if time - start <= instant)


@given(counts, wanted, st.integers(1, 4000), st.integers(-(10**6), 10**6))
def test_constant_rate_in_time_equals_counting(count, frames, gap, start):
    times = [start + i * gap for i in range(count)]
    assert time_centres(times, count * gap, frames) == segment_centres(count, frames)
    random_ones = time_random(times, count * gap, frames, seed=3)
    assert random_ones == segment_random(count, frames, seed=3)
    # The general rule agrees, without the shortcut for constant rates.
    instants = [Fraction((2 * k + 1) * count * gap, 2 * frames) for k in range(frames)]
    assert frame_at(times, count * gap, instants) == segment_centres(count, frames)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, 60])
@pytest.mark.parametrize("ticks", [1000, 90_000, 12_800])
@pytest.mark.parametrize("rounding", [math.floor, math.ceil, round])
def test_rounded_times_of_a_constant_rate_change_nothing(rate, ticks, rounding):
    for count in (1, 2, 3, 7, 16, 80, 300, 1001):
        times = [rounding(i * ticks / Fraction(rate)) for i in range(count)]
        duration = rounding(count * ticks / Fraction(rate)) - times[0]
        for frames in (1, 4, 8, 16):
            assert time_centres(times, duration, frames) == segment_centres(count, frames)


@given(rising, st.integers(1, 500), wanted)
def test_time_centres_of_any_clip(times, last, frames):
    duration = times[-1] + last
    chosen = time_centres(times, duration, frames)
    if not is_constant(times, duration):
        for k, index in enumerate(chosen):
            centre = Fraction((2 * k + 1) * duration, 2 * frames)
            assert times[index] <= centre
            assert index == len(times) - 1 or times[index + 1] > centre
    assert list(chosen) == sorted(chosen)


@pytest.mark.parametrize(
    ("times", "duration"),
    [([0, 1, 3, 4], 5), ([0, 40, 80, 120, 400], 440), ([0, 10, 20], 200), ([0, 2, 3, 5, 6], 8)],
)
def test_variable_rates_are_seen(times, duration):
    assert not is_constant(times, duration)


def test_random_in_time_stays_in_its_span():
    times, duration = [0, 5, 6, 7, 8, 100, 103, 190], 200
    seen = set()
    for seed in range(200):
        chosen = time_random(times, duration, 4, seed=seed)
        for k, index in enumerate(chosen):
            end = times[index + 1] if index + 1 < len(times) else duration
            assert times[index] < 50 * (k + 1)
            assert end > 50 * k
        seen.add(chosen)
    assert len(seen) > 4


@pytest.mark.parametrize(
    "call",
    [
        lambda: segment_centres(0, 8),
        lambda: segment_centres(8, 0),
        lambda: segment_centres(8.0, 8),
        lambda: segment_centres(True, 8),
        lambda: segment_random(8, 8, seed=0.5),
        lambda: dense(8, 8, clips=0),
        lambda: frame_at([], 1, [0]),
        lambda: frame_at([0, 0], 1, [0]),
        lambda: frame_at([1, 0], 1, [0]),
        lambda: frame_at([0, 10], 10, [0]),
        lambda: frame_at([0, 10], 20, [20]),
        lambda: frame_at([0, 10], 20, [-1]),
        lambda: time_centres([0], 1, 0),
        lambda: time_random([0, 1, 100], 101, 2, seed="x"),
    ],
)
def test_nonsense_is_refused_in_one_line(call):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert "\n" not in str(caught.value)
