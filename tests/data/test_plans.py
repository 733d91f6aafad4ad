from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.data.plans import EpisodePlan
from a2m2_zoo.errors import ArgumentError, EpisodeError

# Recorded once; a change here changes every published number.
CLASSES = [[5, 4, 2], [4, 5, 0]]
SUPPORT = [[[0, 2], [3, 1], [1, 2]], [[0, 2], [3, 2], [1, 3]]]

plans = st.builds(
    EpisodePlan,
    counts=st.lists(st.integers(6, 40), min_size=5, max_size=12).map(tuple),
    way=st.integers(1, 5),
    shot=st.integers(1, 4),
    query=st.integers(1, 2),
    seed=st.integers(-(2**70), 2**70),
)


@given(plans, st.integers(0, 10**9))
def test_an_episode_draws_without_replacement_within_bounds(plan: EpisodePlan, start: int) -> None:
    drawn = plan.episodes(start, start + 3)
    sizes = np.asarray(plan.counts)
    for e in range(3):
        assert len(set(drawn.classes[e])) == plan.way
        for w, c in enumerate(drawn.classes[e]):
            clips = [*drawn.support[e, w], *drawn.query[e, w]]
            assert len(set(clips)) == len(clips)
            assert 0 <= min(clips) <= max(clips) < sizes[c]


@given(plans, st.integers(0, 500), st.integers(1, 20))
def test_any_slice_of_a_plan_can_be_had_alone(plan: EpisodePlan, start: int, length: int) -> None:
    whole, part = plan.episodes(0, start + length), plan.episodes(start, start + length)
    for name in ("classes", "support", "query"):
        np.testing.assert_array_equal(getattr(whole, name)[start:], getattr(part, name))


def test_draws_are_the_same_on_every_machine() -> None:
    drawn = EpisodePlan((9, 8, 7, 6, 5, 4), way=3, shot=2, query=1, seed=7).episodes(0, 2)
    assert drawn.classes.tolist() == CLASSES
    assert drawn.support.tolist() == SUPPORT


def test_draws_are_uniform() -> None:
    drawn = EpisodePlan((20,) * 10, way=5, shot=1, query=1, seed=3).episodes(0, 20_000)
    for values, cells in ((drawn.classes, 10), (drawn.support, 20), (drawn.query, 20)):
        counts = np.bincount(values.ravel(), minlength=cells)
        expected = values.size / cells
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert chi2 < cells + 5 * np.sqrt(2 * cells), counts


def test_refusals() -> None:
    with pytest.raises(EpisodeError, match="6-way episodes need 6 classes and there are 2"):
        EpisodePlan((5, 5), way=6)
    with pytest.raises(EpisodeError, match="need 6 clips per class; class index 1 has fewer"):
        EpisodePlan((9, 5), way=2, shot=5)
    with pytest.raises(ArgumentError, match="shot is 0"):
        EpisodePlan((9, 5), way=2, shot=0)
