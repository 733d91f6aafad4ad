"""What every method must keep, whatever it computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.a2m2 import A2M2Config
from a2m2_zoo.methods.base import Method, TrainingBatch, concatenate, split, take
from a2m2_zoo.methods.blocks import A2Config, M2Config

FRAMES = 8
NAMES = sorted(METHODS)
BACKBONE = build_backbone("tiny")


def build(name: str) -> Method:
    config = METHODS[name][1]
    torch.manual_seed(0)
    if config is A2M2Config:
        stages = BACKBONE.stages.items()
        m2 = {s: M2Config(channels=c, dim=4, scales=(1, 0)) for s, c in stages}
        return build_method(name, A2M2Config(m2=m2, a2=A2Config(groups="scale")).to_dict()).eval()
    made = config.for_backbone(BACKBONE, frames=FRAMES)
    return build_method(name, made.to_dict()).eval()


def features(clips: int, *, seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    maps = {
        stage: torch.rand(clips, FRAMES, channels, 7, 7, generator=generator)
        for stage, channels in BACKBONE.stages.items()
    }
    return Features(maps, maps["s7"].mean((-2, -1)))


def clips_at(whole: Features, index: slice) -> Features:
    return Features({k: v[index] for k, v in whole.maps.items()}, whole.pooled[index])


def encoded(method: Method, clips: int) -> dict[str, Tensor]:
    with torch.inference_mode():
        return dict(method.encode(features(clips)))


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_encoded_alone(name: str) -> None:
    method = build(name)
    whole = encoded(method, 3)
    with torch.inference_mode():
        ones = concatenate(
            [method.encode(clips_at(features(3), slice(i, i + 1))) for i in range(3)]
        )
    for key, value in whole.items():
        assert len(value) == 3
        torch.testing.assert_close(value, ones[key], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shot", [1, 3])
def test_many_episodes_at_once_and_supports_in_any_order(name: str, shot: int) -> None:
    method, way = build(name), 3
    clips = encoded(method, 2 * (2 + way * shot))
    order = torch.randperm(len(next(iter(clips.values()))), generator=torch.manual_seed(1))
    queries, supports = order[:4].reshape(2, 2), order[4:].reshape(2, way * shot)
    labels = torch.arange(way).repeat(shot)
    with torch.inference_mode():
        both = method.score(take(clips, queries), take(clips, supports), labels=labels, way=way)
        assert both.shape == (2, 2, way)
        shuffled = torch.randperm(way * shot, generator=torch.manual_seed(2))
        for e in range(2):
            one_query = take(clips, queries[e : e + 1])
            some = take(clips, supports[e : e + 1, shuffled])
            alone = method.score(one_query, some, labels=labels[shuffled], way=way)
            torch.testing.assert_close(alone[0], both[e], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_that_holds_the_query_itself_wins(name: str) -> None:
    method = build(name)
    clips = encoded(method, 5)
    support = split(clips, 1)
    with torch.inference_mode():
        logits = method.score(support, support, labels=torch.arange(5), way=5)[0]
    assert logits.isfinite().all()
    if name != "otam":  # a soft minimum over paths: a clip may be nearer to another than to itself
        assert logits.argmax(-1).tolist() == list(range(5))


@pytest.mark.parametrize("name", NAMES)
def test_losses_reach_every_parameter(name: str) -> None:
    method = build(name).train()
    method.prepare_training(classes=7)
    frames = torch.rand(12, FRAMES, 3, 224, 224) if name == "molo" else None
    batch = TrainingBatch(
        query=features(4, seed=1),
        support=features(8, seed=2),
        labels=torch.tensor([0, 1, 1, 0]),
        query_labels=torch.tensor([1, 0]),
        way=2,
        support_classes=torch.tensor([3, 5, 5, 3, 6, 0, 0, 6]),
        query_classes=torch.tensor([5, 3, 0, 6]),
        support_frames=None if frames is None else frames[:8],
        query_frames=None if frames is None else frames[8:],
    )
    losses = method.losses(batch)
    total = torch.stack(list(losses.values())).sum()
    assert total.isfinite()
    if not any(p.requires_grad for p in method.parameters()):
        return
    total.backward()
    idle = {n for n, p in method.named_parameters() if p.requires_grad and p.grad is None}
    assert not idle - ALLOWED_IDLE.get(name, set())
    grads = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_episodes_that_share_clips_are_worth_those_of_copies(name: str) -> None:
    """Same logits, so same loss, and same gradients, as when every episode has clips of its own."""
    method = build(name)
    places = torch.tensor([[0, 5, 1, 3], [5, 0, 2, 4], [1, 2, 5, 0]])
    query_places = torch.tensor([[2, 4], [1, 3], [3, 4]])
    whole = features(6)

    def at(index: Tensor) -> Features:
        return Features({k: v[index] for k, v in whole.maps.items()}, whole.pooled[index])

    how = {"labels": torch.tensor([0, 1, 1, 0]), "query_labels": torch.tensor([1, 0]), "way": 2}
    copies = TrainingBatch(at(query_places.flatten()), at(places.flatten()), **how)
    shared = TrainingBatch(
        clips_at(whole, slice(4, 6)),
        clips_at(whole, slice(0, 4)),
        **how,
        support_places=places,
        query_places=query_places,
    )
    assert shared.episodes == copies.episodes == 3
    assert (shared.clips, copies.clips) == (6, 18)
    found = []
    for batch in (copies, shared):
        method.zero_grad()
        loss = method.losses(batch)["episode"]
        if loss.requires_grad:
            loss.backward()
        found.append([loss.detach(), *(p.grad for p in method.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


#: Parameters that a configuration's losses rightly do not reach.
ALLOWED_IDLE = {"clip-fsar": {"scale"}}  # scales the texts, and there are none here


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_has_no_training_parts_and_loads_strictly(name: str) -> None:
    method = build(name)
    before = set(method.state_dict())
    method.prepare_training(classes=4)
    assert set(method.weights()) == before
    again = build_method(name, method.config.to_dict())
    again.load_state_dict(method.weights())
    assert again.config == method.config
