"""Any method with pair scores under another rule over supports: ridge regression in place of its own."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, Method, PairwiseMethod


class RidgeRule(PairwiseMethod):
    """A pairwise method whose pair scores are the kernel of a ridge regression over the supports.

    Descriptors and pair scores are the method's own; see ``ops.ridge.Ridge`` for the rule and its source.

    Args:
        inner: The method.

    Raises:
        ArgumentError: The method's class score comes from no pair scores.

    >>> import torch
    >>> from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
    >>> method = RidgeRule(ProtoNet(ProtoNetConfig()))
    >>> one = {"mean": torch.eye(4)[None]}  # one episode of two classes with two supports each
    >>> method.score(one, one, labels=torch.tensor([0, 0, 1, 1]), way=2).argmax(-1)
    tensor([[0, 0, 1, 1]])
    """

    def __init__(self, inner: Method) -> None:
        super().__init__()
        if not isinstance(inner, PairwiseMethod):
            raise ArgumentError(
                f"{type(inner).__name__.lower()} compares a query with classes, not with clips, so ridge "
                "regression over pair scores cannot replace its rule; give a method with pair scores: "
                "protonet, bimhm, otam, deepemd or a2m2"
            )
        self.inner, self.rule = inner, "ridge"
        self.stages, self.config = inner.stages, inner.config
        self.context_free, self.reads_people = inner.context_free, inner.reads_people

    def encode(self, features: Features) -> Descriptors:
        """The method's own descriptors."""
        return self.inner.encode(features)

    def pairs(self, query: Descriptors, support: Descriptors) -> Float[Tensor, "e q n"]:
        """The method's own."""
        return self.inner.pairs(query, support)

    def unrelated(self, query: Descriptors, support: Descriptors) -> float:
        """The method's own."""
        return self.inner.unrelated(query, support)

    def against(self, support: Descriptors) -> Callable[[Descriptors], Float[Tensor, "e q n"]]:
        """The method's own."""
        return self.inner.against(support)

    def frame_plans(
        self, query: Descriptors, support: Descriptors
    ) -> tuple[Float[Tensor, "e q n t t"], Float[Tensor, "e q n t t"]] | None:
        """The method's own."""
        return self.inner.frame_plans(query, support)
