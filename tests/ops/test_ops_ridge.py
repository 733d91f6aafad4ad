"""Ridge regression over pair scores, against plain solves and against leaving out for real."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.ops.ridge import Ridge


def gram(labels: Tensor, *, seed: int = 0, size: int = 6) -> tuple[Tensor, Tensor]:
    """A kernel of supports and of three queries against them: cosines."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(len(labels), size, generator=rng, dtype=torch.float64)
    q = torch.randn(3, size, generator=rng, dtype=torch.float64)
    x, q = (torch.nn.functional.normalize(side, dim=-1) for side in (x, q))
    return x @ x.mT, q @ x.mT


def test_it_is_ridge_regression_on_centred_features() -> None:
    """The primal solution of scikit-learn's kind: weights of features, nothing of kernels."""
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    rng = np.random.default_rng(0)
    x, q = rng.normal(size=(6, 4)), rng.normal(size=(5, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    fitted = Ridge.fit(torch.from_numpy(x @ x.T), labels, way=3, strength=0.2)
    mean = x.mean(0)
    unit = ((x - mean) ** 2).sum(1).mean()
    a, b = (x - mean) / unit**0.5, (q - mean) / unit**0.5
    weights = np.linalg.solve(a.T @ a + 0.2 * np.eye(4), a.T @ (np.eye(3)[labels.numpy()] - 1 / 3))
    np.testing.assert_allclose(fitted.scores(torch.from_numpy(q @ x.T)), b @ weights, atol=1e-9)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 2, 0], [0, 1, 2]])
def test_leaving_out_equals_a_second_fit(labels: list[int]) -> None:
    truth = torch.tensor(labels)
    pairs, _ = gram(truth, seed=3)
    fitted = Ridge.fit(pairs, truth, way=3)
    found = fitted.by_the_others()
    kernel = pairs / fitted.unit  # not centred: the intercept b below does that, by itself
    for i in range(len(labels)):
        rest = [j for j in range(len(labels)) if j != i]
        # Stationary: (K + P) a + b = y, and no penalty on b: the a sum to zero.
        ones = torch.ones(len(rest), 1, dtype=torch.float64)
        system = torch.cat([kernel[rest][:, rest] + fitted.penalty[rest].diag(), ones], 1)
        system = torch.cat([system, torch.cat([ones.mT, torch.zeros(1, 1)], 1)])
        right = torch.cat([fitted.targets[rest], torch.zeros(1, 3)])
        solved = torch.linalg.solve(system, right)
        share = fitted.shares[rest] / fitted.shares[rest].sum()
        balanced = -(
            share @ fitted.targets[rest]
        )  # what makes the classes that are left count the same
        expected = kernel[i, rest] @ solved[:-1] + solved[-1] + balanced
        torch.testing.assert_close(found[i], expected)


def test_every_support_counts_as_equally_like_itself() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    pairs, asked = gram(labels)
    less = pairs - torch.tensor([0.0, 0.3, 0.9, 0.1], dtype=torch.float64).diag()
    whole, part = (Ridge.fit(kernel, labels, way=2).scores(asked) for kernel in (pairs, less))
    torch.testing.assert_close(whole, part)


def test_many_episodes_at_once_are_each_by_itself() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    each = [gram(labels, seed=seed) for seed in range(4)]
    pairs, asked = (torch.stack(part) for part in zip(*each, strict=True))
    both = Ridge.fit(pairs, labels, way=2)
    for i, (k, q) in enumerate(each):
        one = Ridge.fit(k, labels, way=2)
        torch.testing.assert_close(both.scores(asked)[i], one.scores(q))
        torch.testing.assert_close(both.by_the_others()[i], one.by_the_others())
        torch.testing.assert_close(both.variance(asked)[i], one.variance(q))


@given(
    st.lists(st.integers(0, 2), min_size=0, max_size=9),
    st.floats(0.01, 100),
    st.floats(-50, 50),
    st.integers(0, 99),
)
def test_unit_and_offset_of_the_scores_do_not_matter(
    more: list[int], unit: float, offset: float, seed: int
) -> None:
    labels = torch.tensor([0, 1, 2, *more])
    pairs, asked = gram(labels, seed=seed)
    plain = Ridge.fit(pairs, labels, way=3)
    other = Ridge.fit(unit * pairs + offset, labels, way=3)
    torch.testing.assert_close(
        plain.scores(asked), other.scores(unit * asked + offset), atol=1e-6, rtol=1e-6
    )
    found = plain.variance(asked)
    assert bool(((found >= 0) & (found <= 1)).all())


def test_a_support_asked_again_gets_its_class_and_little_variance() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    pairs = torch.eye(6, dtype=torch.float64)  # six unit vectors, each unlike the others
    fitted = Ridge.fit(pairs, labels, way=3, strength=1e-3)
    assert fitted.scores(pairs).argmax(-1).tolist() == labels.tolist()
    assert float(fitted.variance(pairs).max()) < 0.01
    assert float(fitted.variance(torch.zeros(1, 6))) == pytest.approx(1)  # unlike them all


@pytest.mark.parametrize("kind", ["equal", "not definite", "one against many"])
def test_odd_supports_give_finite_scores(kind: str) -> None:
    labels = torch.tensor([0, *[1] * 20] if kind == "one against many" else [0, 0, 1, 1])
    pairs, asked = gram(labels)
    if kind == "equal":
        pairs, asked = torch.ones_like(pairs), torch.ones_like(asked)
    if kind == "not definite":
        pairs = pairs - 3 * pairs.diagonal().diag()
    fitted = Ridge.fit(pairs, labels, way=2)
    for found in (fitted.scores(asked), fitted.by_the_others(), fitted.variance(asked)):
        assert bool(found.isfinite().all())
    if kind == "equal":
        assert float(fitted.scores(asked).abs().max()) == 0
    if kind == "one against many":  # its only support still wins where it is asked itself
        assert int(fitted.scores(pairs)[0].argmax()) == 0


def test_gradients() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    pairs, asked = gram(labels)
    pairs = pairs + torch.tensor([1.0, 1.1, 1.2, 1.5]).diag()  # the most alike itself is one alone
    inputs = (pairs.requires_grad_(), asked.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda k, q: Ridge.fit((k + k.mT) / 2, labels, way=2).scores(q), inputs
    )


def test_refusals() -> None:
    pairs, _ = gram(torch.tensor([0, 0, 1]))
    with pytest.raises(EpisodeError, match="every class from 0 to 2"):
        Ridge.fit(pairs, torch.tensor([0, 0, 1]), way=3)
    with pytest.raises(ArgumentError, match="expected a finite number above 0"):
        Ridge.fit(pairs, torch.tensor([0, 0, 1]), way=2, strength=0.0)
