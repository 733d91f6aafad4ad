"""The contract of methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo.backbones import Backbone, Features, build_backbone
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.base import (
    Method,
    PairwiseMethod,
    TrainingBatch,
    concatenate,
    split,
    take,
)
from a2m2_zoo.testing.checks import holds

_FRAMES, _GRID, _SIDE = 8, 7, 224
#: Makes the method anew, with the same weights.
_Make = Callable[[], Method]
close = torch.testing.assert_close


def check_method(
    name: str,
    *,
    backbone: Backbone | None = None,
    config: Mapping[str, Any] | None = None,
    idle: Collection[str] = (),
    own_wins: bool = True,
) -> None:
    """Hold a method to what the rest of the package relies on.

    Args:
        name: In the table of methods.
        backbone: That it stands on; ``tiny`` if None.
        config: Its configuration; what its ``for_backbone`` gives if None.
        idle: Parameters that its losses rightly do not reach.
        own_wins: Whether the class that holds the query itself must win, as it does for every method but
            those with a soft minimum.

    Raises:
        AssertionError: It breaks the contract; the message says where.
        ModelNotFoundError: No method goes by that name.
    """
    stand = backbone or build_backbone("tiny")
    values = config
    if values is None:
        values = METHODS[name][1].for_backbone(stand, frames=_FRAMES).to_dict()

    def make() -> Method:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build_method(name, values).eval()

    for check in METHOD_CHECKS:
        if check is check_own and not own_wins:
            continue
        if check is check_losses:
            check_losses(make, stand, idle=idle)
        else:
            check(make, stand)


def drawn_features(backbone: Backbone, clips: int, *, seed: int = 0) -> Features:
    """Random features as a backbone would give them for clips of 8 frames."""
    generator = torch.Generator().manual_seed(seed)
    maps = {
        stage: torch.rand(clips, _FRAMES, channels, _GRID, _GRID, generator=generator)
        for stage, channels in backbone.stages.items()
    }
    last = list(maps.values())[-1].mean((-2, -1)) if maps else None
    if last is None or last.shape[-1] != backbone.pooled_channels:
        last = torch.rand(clips, _FRAMES, backbone.pooled_channels, generator=generator)
    return Features(maps, last)


def _at(whole: Features, index: slice | Tensor) -> Features:
    return Features({k: v[index] for k, v in whole.maps.items()}, whole.pooled[index])


def _encoded(method: Method, backbone: Backbone, clips: int) -> dict[str, Tensor]:
    with torch.inference_mode():
        return dict(method.encode(drawn_features(backbone, clips)))


def check_alone(make: _Make, backbone: Backbone) -> None:
    """A clip is encoded alone."""
    method = make()
    whole = _encoded(method, backbone, 3)
    with torch.inference_mode():
        features = drawn_features(backbone, 3)
        ones = concatenate([method.encode(_at(features, slice(i, i + 1))) for i in range(3)])
    for key, value in whole.items():
        holds(len(value) == 3, f"descriptor {key!r} of 3 clips has {len(value)} rows")
        close(value, ones[key], atol=1e-5, rtol=1e-4)


def check_episodes(make: _Make, backbone: Backbone) -> None:
    """Many episodes at once are each as one alone, and supports may come in any order."""
    method, way = make(), 3
    for shot in (1, 3):
        clips = _encoded(method, backbone, 2 * (2 + way * shot))
        rng = torch.Generator().manual_seed(1)
        order = torch.randperm(len(next(iter(clips.values()))), generator=rng)
        queries, supports = order[:4].reshape(2, 2), order[4:].reshape(2, way * shot)
        labels = torch.arange(way).repeat(shot)
        with torch.inference_mode():
            both = method.score(take(clips, queries), take(clips, supports), labels=labels, way=way)
            holds(
                both.shape == (2, 2, way),
                f"scores of 2 episodes of 2 queries and {way} classes have the shape {tuple(both.shape)}",
            )
            mixed = torch.randperm(way * shot, generator=rng)
            for e in range(2):
                some = take(clips, supports[e : e + 1, mixed])
                one = take(clips, queries[e : e + 1])
                alone = method.score(one, some, labels=labels[mixed], way=way)
                close(alone[0], both[e], atol=2e-5, rtol=1e-4)


def check_ready(make: _Make, backbone: Backbone) -> None:
    """Supports that are made ready once give the same scores; only of a method over pairs."""
    method = make()
    if not isinstance(method, PairwiseMethod):
        return
    clips = _encoded(method, backbone, 6)
    support = split(take(clips, slice(2, 6)), 1)
    with torch.inference_mode():
        against = method.against(support)
        for query in (split(take(clips, slice(i, i + 1)), 1) for i in range(2)):
            holds(
                against(query).equal(method.pairs(query, support)),
                "against(support)(query) differs from pairs(query, support)",
            )


def check_own(make: _Make, backbone: Backbone) -> None:
    """A class that holds the query itself wins."""
    method = make()
    support = split(_encoded(method, backbone, 5), 1)
    with torch.inference_mode():
        logits = method.score(support, support, labels=torch.arange(5), way=5)[0]
    holds(bool(logits.isfinite().all()), "scores are not finite")
    holds(
        logits.argmax(-1).tolist() == list(range(5)),
        "a class whose support is the query itself does not win",
    )


def check_losses(make: _Make, backbone: Backbone, *, idle: Collection[str] = ()) -> None:
    """Losses are finite and reach every parameter."""
    method = make().train()
    method.prepare_training(classes=7)
    frames = torch.rand(12, _FRAMES, 3, _SIDE, _SIDE)
    batch = TrainingBatch(
        query=drawn_features(backbone, 4, seed=1),
        support=drawn_features(backbone, 8, seed=2),
        labels=torch.tensor([0, 1, 1, 0]),
        query_labels=torch.tensor([1, 0]),
        way=2,
        support_classes=torch.tensor([3, 5, 5, 3, 6, 0, 0, 6]),
        query_classes=torch.tensor([5, 3, 0, 6]),
        support_frames=frames[:8],
        query_frames=frames[8:],
    )
    total = torch.stack(list(method.losses(batch).values())).sum()
    holds(bool(total.isfinite()), "the losses are not finite")
    if not any(p.requires_grad for p in method.parameters()):
        return
    total.backward()  # type: ignore[no-untyped-call]
    found = {n for n, p in method.named_parameters() if p.requires_grad and p.grad is None}
    holds(not found - set(idle), f"no loss reaches {', '.join(sorted(found - set(idle)))}")
    grads = [p.grad for p in method.parameters() if p.grad is not None]
    holds(all(bool(grad.isfinite().all()) for grad in grads), "gradients are not finite")


def check_shared(make: _Make, backbone: Backbone) -> None:
    """Episodes that share clips are worth those of copies: the same loss, the same gradients."""
    method = make()
    places = torch.tensor([[0, 5, 1, 3], [5, 0, 2, 4], [1, 2, 5, 0]])
    query_places = torch.tensor([[2, 4], [1, 3], [3, 4]])
    whole = drawn_features(backbone, 6)
    how: dict[str, Any] = {
        "labels": torch.tensor([0, 1, 1, 0]), "query_labels": torch.tensor([1, 0]), "way": 2
    }  # fmt: skip
    copies = TrainingBatch(_at(whole, query_places.flatten()), _at(whole, places.flatten()), **how)
    shared = TrainingBatch(
        _at(whole, slice(4, 6)),
        _at(whole, slice(0, 4)),
        **how,
        support_places=places,
        query_places=query_places,
    )
    found = []
    for batch in (copies, shared):
        method.zero_grad()
        loss = method.losses(batch)["episode"]
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        found.append([loss.detach(), *(p.grad for p in method.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        close(one, other, atol=1e-5, rtol=1e-3)


def check_stored(make: _Make, backbone: Backbone) -> None:
    """What is stored has no training parts and loads strictly, its configuration through plain values."""
    method = make()
    before = set(method.state_dict())
    method.prepare_training(classes=4)
    holds(set(method.weights()) == before, "weights() has parts that only training needs")
    name = next(n for n, (kind, _) in METHODS.usable().items() if type(method) is kind)
    again = build_method(name, method.config.to_dict())
    again.load_state_dict(method.weights())
    holds(
        again.config == method.config, "the configuration is another one after to_dict, from_dict"
    )


#: What `check_method` holds a method to, one by one: each takes what builds it, and a backbone.
METHOD_CHECKS: tuple[Callable[..., None], ...] = (
    check_alone, check_episodes, check_ready, check_own, check_losses, check_shared, check_stored
)  # fmt: skip
