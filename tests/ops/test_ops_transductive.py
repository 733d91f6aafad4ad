"""Queries answered together: against a fit by hand, and what it must do on clips whose places are known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2m2_zoo.ops import transductive
from a2m2_zoo.ops.ridge import STRENGTH, Ridge
from a2m2_zoo.ops.transductive import refitted_scores


def drawn(
    way: int, shot: int, queries: list[int], *, seed: int = 0, apart: float = 1.0
) -> tuple[torch.Tensor, ...]:
    """Points around one centre per class as clips: pairs of all, labels, truth."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(way).repeat_interleave(shot)
    truth = torch.arange(way).repeat_interleave(torch.tensor(queries))
    centres = apart * torch.randn(way, 16, generator=draw, dtype=torch.float64)
    points = centres[torch.cat((labels, truth))]
    points = points + torch.randn(points.shape, generator=draw, dtype=torch.float64)
    return points @ points.T / 16, labels, truth


def answered(
    pairs: torch.Tensor, labels: torch.Tensor, *, way: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores by the supports alone, and together."""
    n = len(labels)
    fitted = Ridge.fit(pairs[:n, :n], labels, way=way)
    asked = pairs[n:, :n]
    return fitted.scores(asked), refitted_scores(fitted, pairs[:n, :n], asked, pairs[n:, n:])


def test_the_refit_is_one_regression_with_each_query_left_out() -> None:
    pairs, labels, _ = drawn(3, 2, [2, 2, 1])
    n, way = len(labels), 3
    alone, together = answered(pairs, labels, way=way)
    soft = transductive._shared((transductive.SHARPNESS * alone).softmax(-1))
    kernel = (pairs + pairs.T) / 2
    kernel.fill_diagonal_(float(kernel.diagonal().max()))
    mean = kernel[:, :n].mean(1)  # as many supports in every class: plain means over supports
    kernel = kernel - mean[:, None] - mean + kernel[:n, :n].mean()
    kernel = kernel / kernel.diagonal().mean()
    smallest = min(0.0, float(torch.linalg.eigvalsh(kernel)[0]))
    penalty = torch.full((len(pairs),), STRENGTH).double()
    penalty[n:] = STRENGTH / transductive.TRUST
    targets = torch.cat((torch.eye(way).double()[labels], soft)) - 1 / way
    for i in range(len(alone)):
        others = [j for j in range(len(pairs)) if j != n + i]
        gram = kernel[others][:, others] + (penalty[others] - smallest).diag()
        found = kernel[n + i, others] @ torch.linalg.solve(gram, targets[others])
        expected = transductive.MODESTY * (alone[i] + found) / 2
        torch.testing.assert_close(together[i], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("queries", [[8] * 5, [14, 10, 8, 6, 2], [16, 0, 0, 0, 0]])
def test_more_are_right_together_however_the_classes_share_the_queries(queries: list[int]) -> None:
    right = torch.zeros(2)
    for seed in range(30):
        pairs, labels, truth = drawn(5, 1, queries, seed=seed)
        for i, scores in enumerate(answered(pairs, labels, way=5)):
            right[i] += float((scores.argmax(-1) == truth).double().mean())
    assert right[1] > right[0] + 0.3  # a point over 30 episodes


def test_the_order_of_the_queries_changes_nothing() -> None:
    pairs, labels, _ = drawn(4, 3, [3, 3, 3, 3])
    n = len(labels)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    every = torch.cat((torch.arange(n), n + order))
    one, two = answered(pairs, labels, way=4)[1], answered(pairs[every][:, every], labels, way=4)[1]
    torch.testing.assert_close(one[order], two)


@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 4), st.integers(0, 9), st.booleans())
def test_scores_are_finite_and_say_nothing_where_clips_are_alike(
    way: int, shot: int, queries: int, seed: int, alike: bool
) -> None:
    pairs, labels, _ = drawn(way, shot, [queries] * way, seed=seed)
    if alike:
        pairs = torch.ones_like(pairs)
    _, together = answered(pairs.float(), labels, way=way)
    assert together.shape == (queries * way, way)
    assert together.dtype == torch.float32
    assert together.isfinite().all()
    if alike and queries:
        assert float(together.abs().max()) < 1e-5
