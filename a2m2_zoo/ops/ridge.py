"""From the scores of pairs to the scores of classes by ridge regression over the supports.

The mean over a class's pairs asks how alike a query is to each support by itself. Ridge regression also sees
how alike the supports are to each other: what all classes share counts for nothing, supports that say the
same share one vote, and a support that lies between classes weighs little. Pair scores are its kernel.

Kernel ridge regression on one-hot labels (least-squares classification); as a base learner of few-shot
episodes: Bertinetto et al., "Meta-learning with differentiable closed-form solvers" (ICLR 2019); Lee et al.,
"Meta-learning with differentiable convex optimization" (CVPR 2019). What is left out and predicted by the
others comes from the same inverse (Allen, "The relationship between variable selection and data augmentation
and a method for prediction", Technometrics 1974).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.typing import Float, Int
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.ops.shots import check_labels

#: Penalty in units of the kernel's mean diagonal. Between 0.03 and 0.3 results are equal within noise.
STRENGTH = 0.1
_SMALLEST = 1e-12  # mean diagonal of a kernel that tells nothing apart,
_ROUNDING = 1e-9  # and beside how alike clips are: what is left of equal scores is rounding


class Centred(NamedTuple):
    """Scores as a kernel, see ``centred_kernel``.

    Attributes:
        kernel: (*E, N, N) centred and divided.
        column: (*E, N) weighted mean of the scores, of each clip.
        unit: (*E,) mean diagonal by which the kernel was divided.
        most: (*E,) how alike each clip counts to itself.
    """

    kernel: Float[Tensor, "*e n n"]
    column: Float[Tensor, "*e n"]
    unit: Float[Tensor, "*e"]
    most: Float[Tensor, "*e"]


def centred_kernel(pairs: Float[Tensor, "*e n n"], shares: Float[Tensor, " n"]) -> Centred:
    """Scores made symmetric, each clip as alike to itself as the one that is most, centred and divided.

    Args:
        pairs: Scores of every clip against every clip.
        shares: Weight of each clip in the mean that is taken off; they sum to one.
    """
    kernel = pairs.double()
    kernel = (kernel + kernel.mT) / 2
    itself = torch.eye(len(shares), dtype=torch.bool, device=kernel.device)
    most = kernel.diagonal(dim1=-2, dim2=-1).amax(-1)
    kernel = most[..., None, None].where(itself, kernel)
    column = kernel @ shares
    mean = (column @ shares)[..., None, None]
    kernel = kernel - column[..., :, None] - column[..., None, :] + mean
    least = _SMALLEST + _ROUNDING * most.detach().abs()
    unit = torch.maximum(kernel.diagonal(dim1=-2, dim2=-1).mean(-1), least)
    return Centred(kernel / unit[..., None, None], column, unit, most)


@dataclass(frozen=True, eq=False)
class Ridge:
    """Ridge regression fitted to the supports of one episode, or of E with the same labels.

    Attributes:
        shares: (N,) weight of each support in means; every class weighs the same.
        column: (*E, N) weighted mean of the kernel over supports, of each support.
        unit: (*E,) mean diagonal of the centred kernel, by which it is divided.
        penalty: (*E, N) of each support.
        inverse: (*E, N, N) of the centred, divided kernel with the penalty on its diagonal.
        targets: (N, W) one-hot labels less their mean.
        factor: (*E,) of all scores, see ``fit``.
    """

    shares: Float[Tensor, " n"]
    column: Float[Tensor, "*e n"]
    unit: Float[Tensor, "*e"]
    penalty: Float[Tensor, "*e n"]
    inverse: Float[Tensor, "*e n n"]
    targets: Float[Tensor, "n w"]
    factor: Float[Tensor, "*e"]

    @classmethod
    def fit(
        cls,
        pairs: Float[Tensor, "*e n n"],
        labels: Int[Tensor, " n"],
        *,
        way: int,
        strength: float = STRENGTH,
        spread: float = 0.0,
    ) -> Ridge:
        """From the scores of every support against every support.

        Scores need not be a positive definite kernel: they are made symmetric, centred over the supports, and
        the penalty grows by their most negative eigenvalue. Every support counts as equally like itself, as
        much as the one that is most: one of which a part is not known (nobody was seen in it) is otherwise
        taken to lie nearer to everything. Differentiable in ``pairs``.

        Args:
            pairs: Any unit and offset; larger is more alike.
            labels: Class of each support, 0..W-1, each at least once; numbers may differ.
            way: W.
            strength: Penalty, in units of the mean diagonal of the centred scores.
            spread: Power of how far the supports lie apart, as a share of what lies between a clip and one
                it has nothing in common with, by which scores are multiplied: supports that are all alike
                hardly tell whose a query is. It changes no answer, and needs scores whose 0 says "nothing
                in common"; where a support's score with itself is not above 0, nothing is multiplied.

        Raises:
            EpisodeError: A label outside 0..W-1, or a class without a support.
            ArgumentError: ``strength`` is not above zero.
        """
        if not 0 < strength < float("inf"):
            raise ArgumentError(f"strength is {strength}; expected a finite number above 0")
        check_labels(labels, way=way)
        one = functional.one_hot(labels.long(), way).double()
        counts = one.sum(0)[labels.long()]
        shares = 1 / (way * counts)
        kernel, column, unit, most = centred_kernel(pairs, shares)
        negative = torch.linalg.eigvalsh(kernel.detach())[..., :1].clamp_max(0).neg()
        # Errors of a class with few supports count as much as those of a class with many.
        penalty = (strength + negative) * (way * counts / len(labels))
        inverse = torch.linalg.inv(kernel + torch.diag_embed(penalty))
        apart = (unit / most.clamp_min(_SMALLEST)).clamp_max(1)
        factor = (apart**spread).where(most > 0, 1.0)
        return cls(shares, column, unit, penalty, inverse, one - 1 / way, factor)

    @cached_property
    def weights(self) -> Float[Tensor, "*e n w"]:
        """Of the supports in the scores of centred, divided pairs, before ``factor``: solved once."""
        return self.inverse @ self.targets

    def kernel(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q n"]:
        """Scores of queries against the supports, centred and divided as the supports' own."""
        pairs = pairs.double()
        mean = (self.column @ self.shares)[..., None, None]
        own = (pairs @ self.shares)[..., None]
        found: Tensor = (pairs - own - self.column[..., None, :] + mean) / self.unit[
            ..., None, None
        ]
        return found

    def scores(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q w"]:
        """Scores of the classes: near 1 - 1/W for the right one and -1/W for others, times ``factor``.

        0 says nothing.

        Args:
            pairs: Scores of every query against every support.
        """
        found = self.kernel(pairs) @ self.weights
        return (found * self.factor[..., None, None]).to(pairs.dtype)

    def linear(self) -> tuple[Float[Tensor, "*e n w"], Float[Tensor, "*e w"]]:
        """Weights and constants: the scores are ``pairs @ weights + constants``."""
        weights = self.weights * self.factor[..., None, None]
        total = weights.sum(-2, keepdim=True)
        mean = (self.column @ self.shares)[..., None]
        unit = self.unit[..., None, None]
        constants = ((mean - self.column)[..., None, :] @ weights) / unit
        return (weights - self.shares[:, None] * total) / unit, constants[..., 0, :]

    def by_the_others(self) -> Float[Tensor, "*e n w"]:
        """Scores of every support's classes by all other supports: exact, without a second fit.

        The mean over the supports is that of the others, too: centring is an intercept that has no penalty,
        whose share in the hat matrix is a support's own. A class that has lost a support still counts as
        much as another, in the intercept at least. The unit and the penalties stay those of all.
        """
        own = self.inverse.diagonal(dim1=-2, dim2=-1) - self.shares / self.penalty
        one, way = self.targets + 1 / self.targets.shape[1], self.targets.shape[1]
        lost = self.shares[:, None]
        left = (1 / way - one * lost) / (1 - lost)  # the classes' shares without each support
        found = self.targets - self.weights / own[..., None] + 1 / way - left
        return found * self.factor[..., None, None]

    def variance(self, pairs: Float[Tensor, "*e q n"]) -> Float[Tensor, "*e q"]:
        """How little the supports say of each query, 0 to 1: 1 for one unlike all of them.

        The predictive variance of a Gaussian process with this kernel, in units of the mean diagonal,
        which stands for the query's own.

        Args:
            pairs: Scores of every query against every support.
        """
        kernel = self.kernel(pairs)
        explained = ((kernel @ self.inverse) * kernel).sum(-1)
        return (1 - explained).clamp(0, 1)
