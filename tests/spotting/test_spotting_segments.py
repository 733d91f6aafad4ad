from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.spotting import UNKNOWN, Grid, Rule, Segment, Segmenter, Window, make_grid
from a2m2_zoo.spotting.average_precision import (
    average_precision,
    mean_average_precision,
    temporal_iou,
)

NAMES = ("a", "b", "c")
GRID = make_grid((1.0, 2.0, 4.0), stride=0.5, frames=8)


def moments(truth: list[tuple[float, float, int]], length: float) -> list[list[Window]]:
    """Windows of an ideal recogniser: a class is as probable as the window and it overlap."""
    found = []
    for k in range(1, int(length / 0.5) + 1):
        end = 0.5 * k
        held = []
        for size in GRID.seconds:
            if size > end:
                continue
            chances = np.full(3, 0.05)
            for start, stop, label in truth:
                shared = max(min(stop, end) - max(start, end - size), 0.0)
                union = (stop - start) + size - shared
                chances[label] = max(chances[label], shared / union)
            held.append(Window(end - size, end, chances / max(chances.sum(), 1.0), chances))
        found.append(held)
    return found


def run(held: list[list[Window]], rule: Rule | None = None) -> list[Segment]:
    segmenter = Segmenter(NAMES, GRID, rule or Rule())
    return [s for windows in held for s in segmenter.push(windows)] + segmenter.close()


def test_actions_of_several_lengths_are_found_where_they_are() -> None:
    truth = [(2.0, 4.0, 0), (6.0, 7.5, 1), (9.0, 13.0, 2)]
    found = [s for s in run(moments(truth, 16)) if s.known]
    assert [s.label for s in found] == ["a", "b", "c"]
    for segment, (start, stop, _) in zip(found, truth, strict=True):
        assert temporal_iou(segment, Segment(start, stop, "", 1)) > 0.7


def test_by_hand_the_root_of_the_mean_square_of_the_windows_leads() -> None:
    """One length of 1 s, four moments a second, each window speaking for all of itself."""
    grid = Grid(step=0.25, stride=2, lengths=(4,), frames=4)
    segmenter = Segmenter(("a", "b"), grid, Rule(reject_below=0.7, hold=1.0, shortest=0.0))
    chances = [(0.9, 0.1), (0.9, 0.1), (0.4, 0.6), (0.0, 1.0)]
    windows = [Window(k / 2, k / 2 + 1, np.array(c), np.zeros(2)) for k, c in enumerate(chances)]
    early = [segmenter.push([window]) for window in windows]
    found = [s for some in early for s in some] + segmenter.close()

    def together(*said: float) -> float:
        return float(np.sqrt(np.mean(np.square(said))))

    # a: 0.9 up to 0.75 s, then what three windows say at 1 s. At 1.25 s, where 0.9 and 0.4 meet, and at
    # 1.5 s, where three windows meet, neither reaches 0.7. From 1.75 s b has two windows, then one.
    assert [(s.label, s.known) for s in found] == [("a", True), (UNKNOWN, False), ("b", True)]
    # A segment's probability is the mean over its moments, not its best one.
    assert found[0].probability == pytest.approx((4 * 0.9 + together(0.9, 0.9, 0.4)) / 5)
    doubt = (together(0.9, 0.4) + together(0.1, 0.6, 1.0)) / 2
    assert found[1].probability == pytest.approx(1 - doubt)
    assert found[2].probability == pytest.approx((2 * together(0.6, 1.0) + 2 * 1.0) / 4)
    assert found[0].end == found[1].start == pytest.approx(1.125)
    assert found[1].end == found[2].start == pytest.approx(1.625)
    assert found[2].end == pytest.approx(2.625)


def test_stretches_where_nothing_fits_are_unknown_and_their_score_is_the_doubt() -> None:
    found = run(moments([(4.0, 6.0, 1)], 12))
    assert [(s.label, s.known) for s in found] == [(UNKNOWN, False), ("b", True), (UNKNOWN, False)]
    assert found[0].start == 0.0
    assert found[0].end == found[1].start == pytest.approx(4.0, abs=0.5)
    assert found[1].end == found[2].start == pytest.approx(6.0, abs=0.5)
    assert found[2].end == pytest.approx(12.0, abs=0.1)
    assert 0.6 < found[0].probability < 0.97
    (nothing,) = run(moments([(4.0, 6.0, 1)], 12), Rule(reject_below=1.0))
    assert (nothing.start, nothing.known) == (0.0, False)


def test_what_fills_a_whole_stream_is_a_segment_however_short() -> None:
    grid = Grid(step=0.1, stride=4, lengths=(8,), frames=8)
    for chances, name in ((np.array([0.9, 0.1]), "a"), (np.array([0.01, 0.01]), UNKNOWN)):
        segmenter = Segmenter(("a", "b"), grid, Rule(reject_below=0.5, shortest=0.5))
        found = segmenter.push([Window(0.0, 0.3, chances, np.zeros(2))]) + segmenter.close()
        assert [s.label for s in found] == [name]
        assert found[0].start == 0.0


def test_an_action_longer_than_all_windows_is_one_segment_and_two_apart_are_two() -> None:
    going_on = [
        [Window(w.start, w.end, np.array([0.02, 0.96, 0.02]), np.zeros(3)) for w in held]
        for held in moments([], 20)
    ]
    (whole,) = run(going_on)
    assert (whole.start, whole.label, whole.probability) == (0.0, "b", pytest.approx(0.96))
    assert whole.end == pytest.approx(20.0, abs=0.1)
    apart = [s for s in run(moments([(2.0, 4.0, 1), (6.0, 8.0, 1)], 10)) if s.known]
    assert len(apart) == 2


def test_a_single_window_among_others_makes_no_segment_and_a_short_lead_none() -> None:
    held = moments([], 10)
    held[9] = [
        Window(w.start, w.end, np.array([0.6, 0.2, 0.2]), w.logits) if w.end - w.start == 1 else w
        for w in held[9]
    ]
    assert not any(s.known for s in run(held))
    brief = moments([(4.0, 5.0, 2)], 10)
    assert any(s.known for s in run(brief, Rule(shortest=0.0)))
    assert not any(s.known for s in run(brief, Rule(shortest=3.0)))


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_whatever_comes_segments_are_in_order_apart_and_not_later_than_the_longest_window(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    segmenter = Segmenter(NAMES, GRID, Rule(reject_below=0.4))
    found: list[Segment] = []
    for held in moments([], 30):
        drawn = [Window(w.start, w.end, rng.dirichlet(np.full(3, 0.1)), np.zeros(3)) for w in held]
        new = segmenter.push(drawn)
        for segment in new:
            assert segment.end <= held[0].end
            if segment.known:
                assert held[0].end - segment.end <= GRID.seconds[-1] + 1e-9
        found += new
    found += segmenter.close()
    assert any(s.known for s in found)
    for before, after in pairwise(found):
        assert before.end <= after.start + 1e-9
    assert all(s.start < s.end and 0 <= s.probability <= 1 for s in found)
    assert segmenter.close() == []


def test_a_segment_never_changes_with_what_comes_after_its_delay() -> None:
    quiet = moments([(2.0, 4.0, 0)], 40)
    busy = moments([(2.0, 4.0, 0), (14.0, 16.0, 1), (20.0, 24.0, 2)], 40)
    first = Segmenter(NAMES, GRID, Rule())
    early = [s for held in quiet[:20] for s in first.push(held)]
    assert [s.label for s in early if s.known] == ["a"]
    assert run(busy)[: len(early)] == early


@pytest.mark.parametrize(
    "wrong",
    [
        {"reject_below": 1.5},
        {"hold": 0.0},
        {"shortest": -1.0},
        {"known_share": 0.0},
        {"known_share": 1.0},
    ],
)
def test_rules_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match="expected"):
        Rule(**wrong)


def test_chances_count_on_the_share_of_the_time_in_which_a_class_happens() -> None:
    sure = Window(0, 1, np.array([0.75, 0.25]), np.zeros(2), known=0.5)
    assert sure.chances == pytest.approx([0.375, 0.125])  # as `classify` says it
    # One of four windows is of a class, and it is as likely to look like this as the three others are.
    assert replace(sure, share=0.25).chances == pytest.approx([0.75 / 4, 0.25 / 4])
    for known in (0.0, 1.0):
        assert replace(sure, known=known, share=0.1).chances.sum() == known
    assert replace(sure, known=None, share=0.1).chances.sum() == 1.0


def test_average_precision_by_hand() -> None:
    truth = [Segment(0, 2, "a", 1), Segment(10, 12, "a", 1), Segment(20, 22, "a", 1)]
    found = [
        Segment(0, 2, "a", 0.9),  # hit: precision 1, recall 1/3
        Segment(0.1, 2, "a", 0.8),  # the same one again: a miss
        Segment(10.5, 12.5, "a", 0.7),  # 1.5 / 2.5 = 0.6: hit, precision 2/3, recall 2/3
        Segment(21, 25, "a", 0.6),  # 1 / 5: a miss
    ]
    assert average_precision(found, truth) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert average_precision(found, truth, overlap=0.7) == pytest.approx(1 / 3)
    # Monotone precision: a miss before a hit costs both hits alike.
    assert average_precision(
        [Segment(5, 6, "a", 0.9), *[Segment(s.start, s.end, "a", 0.5) for s in truth[:2]]], truth
    ) == pytest.approx(2 / 3 * 2 / 3)
    assert average_precision([], truth) == 0.0
    with pytest.raises(ArgumentError, match="no true segment"):
        average_precision(found, [])
    both = [*truth, Segment(30, 31, "b", 1), Segment(40, 50, UNKNOWN, 1, known=False)]
    assert mean_average_precision(found, both) == pytest.approx((1 / 3 + 2 / 9) / 2)
