"""The kernel between clips by poses: against loops, and what it must not depend on."""

from __future__ import annotations

import math
import time
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.pose import (
    MIRROR,
    Poses,
    joint_vectors,
    kernel,
    people_tensor,
    pose_pairs,
    pose_presence,
    vector_pairs,
)

TOLERANCE = {"rtol": 0, "atol": 1e-6}


def draw(*shape: int, seed: int = 0, gaps: float = 0.3) -> Tensor:
    """People (*shape, 33, 3), p and t last in the shape; some are not seen in some frames."""
    g = torch.Generator().manual_seed(seed)
    people = torch.rand(*shape, 33, 3, generator=g)
    seen = torch.rand(*shape, generator=g) >= gaps
    return people * seen[..., None, None]


def by_loops(first: Tensor, second: Tensor) -> float:
    """The kernel of one clip and another, word by word as its module describes it."""
    if not first.any() or not second.any():
        return kernel.NEUTRAL
    mirror = first[:, :, list(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0])
    most = max(len(first), len(second))
    best = -1.0
    for clip in (first, mirror):
        x, y = (vectors(side, most) for side in (clip, second))
        for order in permutations(range(most)):
            best = max(best, matched(x, [y[i] for i in order]))
    return math.exp((best - 1) / 0.3)


def vectors(clip: Tensor, most: int) -> list[list[Tensor | None]]:
    """Per person and frame the vector of the clip beside that of its mirror image, None where not seen."""
    found = joint_vectors(clip[None])[0].double()
    people = [[vector if vector.any() else None for vector in person] for person in found]
    return people + [[None] * clip.shape[1]] * (most - len(people))


def matched(x: list[list[Tensor | None]], y: list[list[Tensor | None]]) -> float:
    def alike(i: int, j: int) -> float | None:
        here, there = [p[i] for p in x], [p[j] for p in y]
        n, m = (sum(v is not None for v in side) for side in (here, there))
        if not n * m:
            return None
        pairs = zip(here, there, strict=True)
        total = sum(float(a @ b) for a, b in pairs if a is not None and b is not None)
        late = abs(i / max(len(x[0]) - 1, 1) - j / max(len(y[0]) - 1, 1))
        return total / math.sqrt(n * m) - 0.7 * late

    table = [[alike(i, j) for j in range(len(y[0]))] for i in range(len(x[0]))]
    directions = []
    for rows in (table, list(zip(*table, strict=True))):
        best = [max(found) for row in rows if (found := [v for v in row if v is not None])]
        directions.append(sum(best) / len(best))
    return sum(directions) / 2


@pytest.mark.parametrize(
    ("people", "frames"), [((2, 2), (4, 4)), ((1, 2), (5, 3)), ((3, 2), (1, 4)), ((1, 1), (1, 1))]
)
def test_it_is_what_the_loops_say(people: tuple[int, int], frames: tuple[int, int]) -> None:
    query = draw(3, people[0], frames[0], seed=1)
    support = draw(4, people[1], frames[1], seed=2)
    query[0, :, 1:] = 0
    support[1] = 0
    expected = torch.tensor([[by_loops(x, y) for y in support] for x in query])
    torch.testing.assert_close(pose_pairs(query, support), expected, **TOLERANCE)


def test_neither_place_nor_size_nor_mirror_nor_order_counts() -> None:
    query, support = draw(3, 2, 5, seed=3), draw(4, 2, 5, seed=4)
    seen = query[..., 2:].bool()
    expected = pose_pairs(query, support)
    moved = query * torch.tensor([2.5, 2.5, 1.0]) + torch.tensor([3.0, -1.0, 0.0]) * seen
    mirrored = query[..., list(MIRROR), :] * torch.tensor([-1.0, 1.0, 1.0])
    for changed in (moved, mirrored, query.flip(1)):
        torch.testing.assert_close(pose_pairs(changed, support), expected, **TOLERANCE)


def test_vectors_may_be_made_before() -> None:
    query, support = draw(3, 2, 5, seed=3), draw(4, 2, 5, seed=4)
    made = vector_pairs(joint_vectors(query), joint_vectors(support))
    assert torch.equal(made, pose_pairs(query, support))


def test_other_poses_and_other_motions_are_less_alike() -> None:
    clip = draw(1, 1, 8, gaps=0)
    assert pose_pairs(clip, clip).item() == pytest.approx(1)
    assert pose_pairs(clip, draw(1, 1, 8, seed=9, gaps=0)).item() < 0.7
    backwards = pose_pairs(clip, clip.flip(2)).item()
    assert 0.1 < backwards < 0.9
    halves = torch.cat((clip[:, :, :4], clip[:, :, :1].expand(-1, -1, 4, -1, -1)), 2)
    assert pose_pairs(clip, halves).item() < 1


def test_it_is_symmetric_and_bounded() -> None:
    people = draw(12, 2, 6, seed=5)
    pairs = pose_pairs(people, people)
    torch.testing.assert_close(pairs, pairs.T, **TOLERANCE)
    torch.testing.assert_close(pairs.diagonal(), torch.ones(12), **TOLERANCE)
    assert (pairs >= 0).all()
    assert (pairs <= 1 + 1e-6).all()


def test_a_frame_without_anyone_is_missing() -> None:
    people = draw(2, 1, 4, gaps=0)
    gap = torch.zeros(2, 1, 1, 33, 3)
    inserted = torch.cat((people[:, :, :2], gap, people[:, :, 2:]), 2)
    # Times change a little where a frame was put in, and what the frames beside it have around them.
    alike = pose_pairs(inserted, people)
    assert (alike.diagonal() > 0.75).all()
    assert (alike.diagonal() > 4 * alike.flip(0).diagonal()).all()
    padded = torch.cat((people, torch.zeros_like(people)), 1)
    torch.testing.assert_close(pose_pairs(padded, people), pose_pairs(people, people), **TOLERANCE)


def test_one_of_two_who_is_missing_is_found_in_either_place() -> None:
    both = draw(1, 2, 4, gaps=0)
    left, right = both.clone(), both.clone()
    left[:, 1], right[:, 0] = 0, 0
    alone = pose_pairs(both[:, 1:], right)
    torch.testing.assert_close(alone, torch.ones(1, 1), **TOLERANCE)
    assert pose_pairs(both, left).item() < 0.6  # one of two is not both


def test_clips_without_anyone_are_neutral_and_absent() -> None:
    people = draw(3, 2, 4, gaps=0)
    people[1] = 0
    pairs = pose_pairs(people, people)
    assert (pairs[1] == kernel.NEUTRAL).all()
    assert (pairs[:, 1] == kernel.NEUTRAL).all()
    presence = pose_presence(people)
    assert presence[1] == 0
    assert (presence[[0, 2]] > 0.3).all()


def test_presence_is_what_can_be_read_of_the_best_seen() -> None:
    people = torch.rand(2, 4, 33, 3)
    people[..., 2] = torch.tensor([0.25, 1.0])[:, None, None]
    people[1, 2:] = 0
    assert pose_presence(people).item() == pytest.approx((1 + 1 + 0.25 + 0.25) / 4)


def test_those_who_stand_still_are_alike() -> None:
    """The noise of the landmarks must not decide what motion they have."""
    noise = 0.002 * torch.randn(2, 1, 8, 33, 2, generator=torch.Generator().manual_seed(0))
    still = draw(1, 1, 1, gaps=0).expand(2, 1, 8, 33, 3).clone()
    still[..., :2] += noise
    assert pose_pairs(still[:1], still[1:]).item() > 0.95


@pytest.mark.parametrize("budget", [1, 10_000, 2**22])
def test_every_clip_is_compared_as_if_alone(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, support = draw(2, 3, 5, 2, 4, seed=6), draw(2, 3, 4, 2, 4, seed=7)
    together = pose_pairs(query, support)
    assert together.shape == (2, 3, 5, 4)
    monkeypatch.setattr(kernel, "_BUDGET", budget)
    for e in range(2):
        for i in range(3):
            torch.testing.assert_close(
                pose_pairs(query[e, i], support[e, i]), together[e, i], **TOLERANCE
            )
            for q in range(5):
                alone = pose_pairs(query[e, i, q : q + 1], support[e, i])
                torch.testing.assert_close(alone, together[e, i, q : q + 1], **TOLERANCE)
    torch.testing.assert_close(pose_pairs(query, support), together, **TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_comes_it_is_finite(data: st.DataObject) -> None:
    value = st.one_of(
        st.floats(-1e30, 1e30), st.floats(-1e-6, 1e-6), st.sampled_from([0.0, 0.25, 1.0])
    )
    few = st.lists(value, min_size=5, max_size=5)
    values, visible = torch.tensor(data.draw(few)), torch.tensor(data.draw(few)).abs().clamp(0, 1)
    g = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    shape = (4, data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4)), 33)
    points = values[torch.randint(5, (*shape, 2), generator=g)]
    seen = visible[torch.randint(5, shape, generator=g)]
    people = torch.cat((points, seen[..., None]), -1)
    pairs, presence = pose_pairs(people, people), pose_presence(people)
    assert ((pairs >= 0) & (pairs <= 1 + 1e-6)).all()
    assert ((presence >= 0) & (presence <= 1)).all()


def test_a_tensor_of_poses_has_zeros_for_nan() -> None:
    points, visibility = torch.rand(2, 3, 33, 2), torch.rand(2, 3, 33)
    points[1, 1], visibility[1, 1] = torch.nan, torch.nan
    people = people_tensor(Poses(points, visibility, torch.ones(2, 3)))
    assert people.shape == (2, 3, 33, 3)
    assert not people[1, 1].any()
    assert torch.equal(people[0], torch.cat((points[0], visibility[0, ..., None]), -1))


def test_no_clips_and_other_types() -> None:
    people = draw(3, 2, 4)
    assert pose_pairs(people[:0], people).shape == (0, 3)
    assert pose_pairs(people, people[:0]).shape == (3, 0)
    assert pose_pairs(people[None][:0], people[None][:0]).shape == (0, 3, 3)
    assert pose_pairs(people.double(), people.double()).dtype == torch.float64
    assert pose_pairs(people.half(), people.half()).dtype == torch.float16


def test_a_hundred_episodes_take_seconds() -> None:
    people = draw(20, 25, 2, 8)
    start = time.process_time()
    pose_pairs(people, people)
    assert time.process_time() - start < 5  # 0.2 s on one core


def test_other_shapes_are_refused() -> None:
    people = draw(3, 2, 4)
    with pytest.raises(ArgumentError, match="clips, people, frames, 33, 3"):
        pose_pairs(people[..., :32, :], people[..., :32, :])
    with pytest.raises(ArgumentError, match="none of the last four 0"):
        pose_pairs(people[:, :0], people)
    with pytest.raises(ArgumentError, match="5 people in a clip; give 4 at most"):
        pose_presence(draw(5, 4))
