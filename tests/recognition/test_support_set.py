"""What follows from supports alone, whatever the rule from pair scores to classes."""

from __future__ import annotations

import pytest
import torch

from a2m2_zoo.methods.rules import RULES, fit_rule
from a2m2_zoo.recognition.support_set import SupportSet

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])  # class 2 has one support and is not scored by the others


def pairs_of(seed: int = 0) -> torch.Tensor:
    return torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def supports(rule: str, pairs: torch.Tensor) -> SupportSet:
    return SupportSet(pairs, LABELS, 3, {1: 2.0, 5: 4.0}, None, rule)


def test_leave_one_out_of_means_against_a_plain_loop() -> None:
    pairs = pairs_of()
    logits, truth = supports("mean", pairs).by_the_others()
    assert truth.tolist() == [0, 0, 0, 1, 1]
    for i in range(5):
        for c in range(3):
            others = [pairs[i, j] for j in range(6) if j != i and LABELS[j] == c]
            assert logits[i, c] == pytest.approx(float(sum(others) / len(others)), abs=1e-6)


def test_a_support_never_sees_itself_in_means() -> None:
    pairs = pairs_of()
    changed = pairs + 1000 * torch.eye(6)
    first, second = (supports("mean", each).by_the_others()[0] for each in (pairs, changed))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("rule", RULES)
def test_scores_are_linear_in_the_pairs(rule: str) -> None:
    among, asked = pairs_of(), torch.randn(4, 6, dtype=torch.float64)
    fitted = fit_rule(rule, among, LABELS, way=3)
    weights, constants = fitted.linear()
    torch.testing.assert_close(asked @ weights + constants, fitted.scores(asked))
    torch.testing.assert_close(supports(rule, among).logits(asked), fitted.scores(asked))


@pytest.mark.parametrize("rule", RULES)
def test_many_episodes_are_each_by_itself(rule: str) -> None:
    several = torch.stack([pairs_of(seed) for seed in range(3)])
    together = supports(rule, several)
    for i, pairs in enumerate(several):
        alone = supports(rule, pairs)
        torch.testing.assert_close(together.scale[i], alone.scale)
        torch.testing.assert_close(together.logits(several)[i], alone.logits(pairs))
