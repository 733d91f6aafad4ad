"""How alike clips are to a model: the kernel that it recognises by, of pairs of clips and nothing else.

A score of a pair has the method's own unit. Ridge regression makes scores symmetric and takes every clip to
be as alike to itself as the one that is most (``ops.ridge.centred_kernel``); with the two clips of a pair
alone that is a similarity from -1 to 1, which no other clip changes: 1 is the same clip.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from a2m2_zoo._utils.arguments import whole
from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Descriptors, as_pairwise, take
from a2m2_zoo.recognition.embeddings import Embeddings, check_people, embed

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.model import Model


@dataclass(frozen=True)
class Neighbour:
    """A support that a clip is like.

    Attributes:
        source: Name of the support.
        label: Its class.
        similarity: How alike they are, -1 to 1.
        index: Its number in the bank.
    """

    source: str
    label: str
    similarity: float
    index: int


def similarity(  # noqa: D417  # it is the method of Model
    self: Model, a: Any, b: Any = None, *, layout: str | None = None
) -> Float[Tensor, "a b"]:
    """How alike clips are to this model: what it recognises by, as a kernel.

    Args:
        a: ``Embeddings`` of A clips, a bank, or clips in any form that ``embed`` takes.
        b: The same, of B clips; ``a`` itself if None.
        layout: Of arrays on both sides, see ``QueryOptions``.

    Returns:
        (A, B) from -1 to 1: 1 for a clip and itself, exactly; the more alike, the higher. Where unlike clips
        lie depends on the model and on how the clips were filmed: two of different actions often have 0.2 to
        0.6, so compare figures with each other, not with 0. Symmetric: the clips' order does not count. It
        depends on the two clips alone.

    Raises:
        ArgumentError: They are of another model, or one side was embedded without people, or the model
            compares no pairs of clips.
        VideoError: A clip cannot be read.
    """
    left = _descriptors(self, a, layout)
    right = None if b is None else _descriptors(self, b, layout)
    return between(self, left, right).clone()  # a plain tensor, which can be changed in place


@apart
@torch.inference_mode()
def between(model: Model, a: Descriptors, b: Descriptors | None = None) -> Float[Tensor, "a b"]:
    """``similarity`` of encoded clips."""
    method = as_pairwise(model.method)
    if method is None or not method.context_free:
        raise ArgumentError(
            f"{model.id} ({model.method_name}) compares a clip with all supports together, so two clips "
            "alone have no similarity to it; compare embeddings.pooled, or take another model"
        )
    other = a if b is None else b
    check_people(a, other)
    if not min(_count(a), _count(other)):
        return torch.zeros(_count(a), _count(other), device="cpu")
    forth = _pairs(model, a, other)
    back = forth if b is None else _pairs(model, other, a)
    own = _own(model, a)
    theirs = own if b is None else _own(model, other)
    zero = method.unrelated(a, other)
    most = torch.maximum(own[:, None], theirs) - zero
    found = ((forth + back.mT) / 2 - zero) / most.clamp_min(torch.finfo(torch.float64).tiny)
    same = torch.tensor([[x == y for y in _marks(other)] for x in _marks(a)], device="cpu")
    return found.clamp(-1, 1).float().masked_fill(same, 1.0)


def _pairs(model: Model, query: Descriptors, support: Descriptors) -> Tensor:
    found = model.pairs(query, support)
    assert found is not None  # it has pair scores
    return found.double()


def _own(model: Model, clips: Descriptors) -> Tensor:
    """The score of each clip with itself."""
    one = [take(clips, slice(i, i + 1)) for i in range(_count(clips))]
    return torch.cat(list(each(lambda clip: _pairs(model, clip, clip)[0], one)))


def _count(clips: Descriptors) -> int:
    return len(next(iter(clips.values())))


def _marks(clips: Descriptors) -> list[bytes]:
    """What tells clips apart to the last bit."""
    found = [hashlib.sha256() for _ in range(_count(clips))]
    for name in sorted(clips):
        for digest, row in zip(found, clips[name].contiguous(), strict=True):
            digest.update(row.reshape(-1).view(torch.uint8).numpy().data)
    return [digest.digest() for digest in found]


def _descriptors(model: Model, clips: Any, layout: str | None) -> Descriptors:
    from a2m2_zoo.recognition.bank import SupportBank

    if isinstance(clips, (Embeddings, SupportBank)):
        clips.check(model)
        return model.as_encoded(clips.descriptors)
    return embed(model, clips, layout=layout).descriptors


def search(  # noqa: D417  # it is the method of SupportBank
    self: SupportBank, clip: Any, k: int = 5, *, model: Any = None, layout: str | None = None
) -> list[Neighbour]:
    """The supports that a clip is most like, the most alike first.

    Args:
        clip: One clip, or ``Embeddings`` of one.
        k: How many; fewer where the bank has fewer.
        model: The model that made the bank, its name or path; opened by the bank's word for it if None.
        layout: Of an array, see ``QueryOptions``.

    Raises:
        VideoError: The clip cannot be read.
        BankError: The bank was made by another model, or its own is not at hand.
        ArgumentError: It is no clip or several, or ``k`` is no number from 1.
    """
    from a2m2_zoo.recognition.named import model_for

    most = whole("k", k)
    if most is None:
        raise ArgumentError("k is None; expected an integer of 1 or more")
    opened = model_for(model, self)
    self.check(opened)
    query = _descriptors(opened, clip, layout)
    if _count(query) != 1:
        raise ArgumentError(
            f"clip stands for {_count(query)} clips; expected one: search one by one"
        )
    found = between(opened, query, _descriptors(opened, self, None))[0].tolist()
    order = sorted(range(len(found)), key=lambda i: (-found[i], i))[:most]
    return [
        Neighbour(self.sources[i], self.class_names[self.labels[i]], found[i], i) for i in order
    ]
