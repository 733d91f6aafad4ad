"""From cached features to a method's descriptors."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, Method, concatenate, encoded_pieces


def encode_clips(method: Method, features: Iterable[Features]) -> dict[str, Tensor]:
    """Descriptors of all clips, on the CPU, as ``Model.encode`` gives them from the clips themselves.

    People have a part in them where the features hold people, as those of a cache with ``people`` do.

    Args:
        method: Encodes on its own device, in evaluation mode whatever mode it is in.
        features: What ``FeatureCache.read`` yields; one piece is held at a time.

    Raises:
        ArgumentError: There are no features.

    >>> import torch
    >>> from a2m2_zoo.methods import build_method
    >>> pieces = [Features({}, torch.ones(2, 8, 5)), Features({}, torch.ones(1, 8, 5))]
    >>> {k: tuple(v.shape) for k, v in encode_clips(build_method("protonet", {}), pieces).items()}
    {'mean': (3, 5)}
    """
    training = method.training
    parts: list[Descriptors] = []
    try:
        method.eval()
        for piece in features:
            parts += encoded_pieces(method, piece)
    finally:
        method.train(training)
    if not parts:
        raise ArgumentError("there are no features to encode; give at least one clip")
    return concatenate(parts)
