"""What every few-shot method is: encode, score, losses.

Evaluation, banks, the cache and the command line know only these three, so a new method is one file and
one row in the registry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from a2m2_zoo._typing import Float, Int
from a2m2_zoo.backbones import Features
from a2m2_zoo.ops.shots import mean_over_shots

#: What a method keeps of a batch of clips: tensors by name, the clip is the first axis of each.
Descriptors: TypeAlias = Mapping[str, Tensor]


class Method(nn.Module, ABC):
    """A head over the feature maps of a frozen or tuned backbone.

    Attributes:
        stages: Names of the backbone's maps that ``encode`` reads.
    """

    stages: tuple[str, ...] = ()

    #: The frozen dataclass it was built from, with ``to_dict`` and ``from_dict``.
    config: Any

    @abstractmethod
    def encode(self, features: Features) -> Descriptors:
        """Descriptors of B clips, each computed from that clip alone.

        Args:
            features: Maps (B, T, C, h, w) of every stage in ``stages`` and the pooled (B, T, C).
        """

    @abstractmethod
    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "q w"]:
        """Logits of Q queries over the W classes, from N supports with labels in 0..W-1."""

    def losses(
        self,
        query: Descriptors,
        support: Descriptors,
        *,
        labels: Int[Tensor, " n"],
        way: int,
        query_labels: Int[Tensor, " q"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Named training losses of one episode; their sum is what is minimised."""
        logits = self.score(query, support, labels=labels, way=way)
        return {"episode": functional.cross_entropy(logits, query_labels)}

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "q n t t"], Float[Tensor, "q n t t"]] | None:
        """Transport plan and similarity between the frames of every pair; None where there is none."""
        return None


class PairwiseMethod(Method):
    """A method whose score of a class is the mean over its (query, support) pairs.

    Attributes:
        mean_of_pairs: Whether that is the configured rule over shots.
        context_free: Whether a pair's score depends on that pair alone, not on the other supports; a
            protocol then computes every pair once for all episodes.
    """

    mean_of_pairs: bool = True
    context_free: bool = True

    @abstractmethod
    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "q n"]:
        """Similarity of every query to every support, given these supports; larger is more alike."""

    def score(
        self, query: Descriptors, support: Descriptors, *, labels: Int[Tensor, " n"], way: int
    ) -> Float[Tensor, "q w"]:
        """Mean over the supports of each class of the pair scores."""
        return mean_over_shots(self.pairs(query, support), labels, way=way)


def as_pairwise(method: Method) -> PairwiseMethod | None:
    """``method`` if its class score is the mean of its pair scores, else None."""
    return method if isinstance(method, PairwiseMethod) and method.mean_of_pairs else None


def take(descriptors: Descriptors, index: Tensor | slice) -> dict[str, Tensor]:
    """The clips at ``index``."""
    return {name: tensor[index] for name, tensor in descriptors.items()}


def concatenate(parts: list[Descriptors]) -> dict[str, Tensor]:
    """The clips of all parts in order."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
