"""What the supports say about each other's labels: every one is classified by all the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.recognition.support_set import SupportSet

#: A support whose own class has less than this, by all other supports, is named.
DOUBT = 0.1
#: Pairs of classes of which this much is expected to be taken for the other are named.
CONFUSED = 0.2
_FAR = 4.0  # robust deviations below its class, from which on a support is unlike it
_FEW = 10  # supports that say how much those of a class differ


@dataclass(frozen=True)
class Confusion:
    """One class that will be taken for another.

    Attributes:
        truth: The class.
        answer: What it is taken for.
        share: Part of its queries that is expected to be, 0 to 1: mean probability, leave-one-out.
    """

    truth: str
    answer: str
    share: float


@dataclass(frozen=True)
class LeaveOneOut:
    """Every support that has others of its class, as the others see it.

    Attributes:
        index: (M,) which supports these are.
        labels: (M,) their class.
        probabilities: (M, W) of the classes.
        unlike: (M,) robust deviations by which its score with its own class is below its classmates'.
    """

    index: Int[Tensor, " m"]
    labels: Int[Tensor, " m"]
    probabilities: Float[Tensor, "m w"]
    unlike: Float[Tensor, " m"]

    def doubtful(self) -> list[tuple[int, int, float, float]]:
        """(support, likely class, its probability, the own class's), the most doubtful first."""
        own = self.probabilities.gather(1, self.labels[:, None])[:, 0]
        best, answer = self.probabilities.max(1)
        return [
            (int(self.index[i]), int(answer[i]), float(best[i]), float(own[i]))
            for i in own.argsort().tolist()
            if own[i] < DOUBT
        ]

    def outliers(self) -> list[tuple[int, float]]:
        """(support, deviations) of supports far below their class, the farthest first."""
        order = self.unlike.argsort(descending=True).tolist()
        return [(int(self.index[i]), float(self.unlike[i])) for i in order if self.unlike[i] > _FAR]

    def confusions(self, names: tuple[str, ...]) -> list[Confusion]:
        """Pairs of classes, the worst first."""
        found = []
        for truth in sorted(set(self.labels.tolist())):
            shares = self.probabilities[self.labels == truth].mean(0)
            found += [
                Confusion(names[truth], name, float(shares[answer]))
                for answer, name in enumerate(names)
                if answer != truth and shares[answer] >= CONFUSED
            ]
        return sorted(found, key=lambda pair: -pair.share)


def leave_one_out(supports: SupportSet) -> LeaveOneOut:
    """The supports by each other.

    Args:
        supports: With pair scores.
    """
    counts = supports.labels.bincount(minlength=supports.way)
    index = (counts[supports.labels] > 1).nonzero()[:, 0]
    logits, labels = supports.by_the_others()
    own = logits.gather(1, labels[:, None])[:, 0]
    below = torch.zeros_like(own)
    for label in sorted(set(labels.tolist())):
        mates = labels == label
        below[mates] = own[mates].median() - own[mates]
    spread = 1.4826 * below.abs().median() if len(below) >= _FEW else torch.tensor(torch.inf)
    unlike = below / spread.clamp_min(1e-9)
    return LeaveOneOut(index, labels, supports.probabilities(logits), unlike)
