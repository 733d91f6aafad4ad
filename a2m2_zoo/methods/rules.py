"""From the pair scores of an episode to the scores of its classes: the rules by name."""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.ops.ridge import STRENGTH, Ridge
from a2m2_zoo.ops.shots import Mean

__all__ = ["RULES", "SPREAD", "STRENGTH", "Fitted", "fit_rule"]

#: A rule that knows its supports.
Fitted: TypeAlias = Mean | Ridge

#: Power of the supports' spread in the scores of ``ridge``, see ``Ridge.fit``; 1 to 2 calibrate as well.
SPREAD = 1.5

RULES: dict[str, type[Mean | Ridge]] = {"mean": Mean, "ridge": Ridge}


def fit_rule(
    rule: str, among: Float[Tensor, "*e n n"] | None, labels: Int[Tensor, " n"], *, way: int
) -> Fitted:
    """One of ``RULES``, fitted to the supports of one episode, or of E with the same labels.

    Args:
        rule: Its name.
        among: Scores of every support against every support; only ``mean`` does without.
        labels: Class of each support, 0..W-1.
        way: W.

    Raises:
        EpisodeError: A label outside 0..W-1, or a class without a support.

    >>> import torch
    >>> fit_rule("mean", None, torch.tensor([0, 1, 1]), way=2).scores(torch.tensor([[1.0, 2.0, 4.0]]))
    tensor([[1., 3.]])
    """
    if rule == "mean":
        return Mean.fit(among, labels, way=way)
    assert among is not None  # the other rules are fitted to how alike the supports are
    return Ridge.fit(among, labels, way=way, spread=SPREAD)
