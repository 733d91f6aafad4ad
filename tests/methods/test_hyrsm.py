from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import TrainingBatch, as_pairwise, split
from a2m2_zoo.methods.hyrsm import HyRSM, HyRSMConfig, HyRSMPlusPlus, HyRSMPlusPlusConfig

# An independent statement of the rule: one query at a time, everything laid out.

LABELS = torch.tensor([2, 0, 1, 0, 2, 0])  # three, one and two shots
TRUTH = torch.tensor([0, 1, 2, 0])


def slow_frames(method: HyRSM, x: Tensor) -> Tensor:
    p, config = dict(method.named_parameters()), method.config
    t, d = x.shape
    u = x * math.sqrt(d / config.feature_scale)
    time = torch.arange(t)[:, None]
    angle = time / 10_000 ** (2 * torch.arange(d) / d)
    positions = torch.where(torch.arange(d) % 2 == 0, angle.sin(), angle.cos())
    u = u + config.position_scale * positions
    normal = functional.layer_norm(u, (d,), p["temporal.norm.weight"], p["temporal.norm.bias"])
    attended, _ = functional.multi_head_attention_forward(
        normal[:, None],
        normal[:, None],
        normal[:, None],
        d,
        config.heads,
        p["temporal.qkv.weight"],
        None,
        None,
        None,
        False,
        0.0,
        p["temporal.out.weight"],
        p["temporal.out.bias"],
        training=False,
    )
    return torch.relu(u + attended[:, 0])


def slow_fused(method: HyRSM, supports: list[Tensor], queries: Tensor) -> list[Tensor]:
    """Unit frames of all that a query is compared with, then its own."""
    p, config = dict(method.named_parameters()), method.config
    tokens = torch.stack([video.mean(0) for video in (*supports, queries)])
    attended, _ = functional.multi_head_attention_forward(
        tokens[:, None],
        tokens[:, None],
        tokens[:, None],
        config.channels,
        config.heads,
        torch.cat([p[f"relation.{part}.weight"] for part in "qkv"]),
        None,
        None,
        None,
        False,
        0.0,
        p["relation.out.weight"],
        p["relation.out.bias"],
        training=False,
    )
    related = functional.layer_norm(
        tokens + attended[:, 0],
        (config.channels,),
        p["relation.norm.weight"],
        p["relation.norm.bias"],
    ).relu()
    return [
        functional.normalize(
            torch.cat([video, z.expand_as(video)], 1) @ p["fuse.weight"].T + p["fuse.bias"], dim=1
        )
        for video, z in zip((*supports, queries), related, strict=True)
    ]


def slow_episode(
    method: HyRSM, query: Tensor, support: Tensor
) -> tuple[Tensor, list[list[Tensor]]]:
    """Logits (Q, W) and the fused frames behind each row."""
    videos = [slow_frames(method, x) for x in support]
    if method.config.shots == "prototypes":
        groups = [
            [v for v, label in zip(videos, LABELS, strict=True) if label == c] for c in range(3)
        ]
        videos, owner = [torch.stack(group).mean(0) for group in groups], [0, 1, 2]
    else:
        owner = LABELS.tolist()
    rows, behind = [], []
    for x in query:
        *supports, queries = slow_fused(method, videos, slow_frames(method, x))
        distances = []
        for video in supports:
            delta = 1 - queries @ video.T
            distances.append(delta.min(1).values.sum() + delta.min(0).values.sum())
        row = [
            -torch.stack([v for v, o in zip(distances, owner, strict=True) if o == c]).mean()
            for c in range(3)
        ]
        rows.append(torch.stack(row))
        behind.append([*supports, queries])
    return torch.stack(rows), behind


def slow_coherence(config: HyRSMPlusPlusConfig, videos: list[Tensor]) -> Tensor:
    terms = []
    for unit in videos:
        for i, a in enumerate(unit):
            for j, b in enumerate(unit):
                delta, gap = 1 - a @ b, abs(i - j)
                if gap <= config.window:
                    terms.append(delta / (gap**2 + 1))
                else:
                    weight = 1 - math.exp(-((gap - config.window) ** 2) / config.falloff)
                    terms.append(config.contrast * torch.relu(weight - delta))
    return torch.stack(terms).mean()


def make(**changes: Any) -> HyRSMPlusPlus:
    torch.manual_seed(0)
    values = {"channels": 8, "heads": 2, "window": 1, "falloff": 3.0, **changes}
    method = HyRSMPlusPlus(HyRSMPlusPlusConfig.from_dict(values)).eval()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def episodes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((count, 4, 5, 8), (count, 6, 5, 8))
    query, support = (torch.rand(shape, generator=generator) for shape in shapes)
    return query, support


def batch_of(query: Tensor, support: Tensor, *, classes: bool = True) -> TrainingBatch:
    return TrainingBatch(
        query=Features({}, query.flatten(0, 1)),
        support=Features({}, support.flatten(0, 1)),
        labels=LABELS,
        query_labels=TRUTH,
        way=3,
        support_classes=LABELS.repeat(len(query)) if classes else None,
        query_classes=TRUTH.repeat(len(query)) if classes else None,
    )


@pytest.mark.parametrize("shots", ["videos", "prototypes"])
def test_several_shots_losses_and_gradients_follow_the_rule(shots: str) -> None:
    method, (query, support) = make(shots=shots, position_scale=0.5), episodes(2)
    batch = batch_of(query, support)
    slow = [slow_episode(method, q, s) for q, s in zip(query, support, strict=True)]
    expected = torch.stack([logits for logits, _ in slow])
    torch.testing.assert_close(method.episode_logits(batch), expected, atol=1e-5, rtol=1e-5)
    behind = [row for _, rows in slow for row in rows]
    supports = slow_coherence(method.config, [video for row in behind for video in row[:-1]])
    queries = slow_coherence(method.config, [row[-1] for row in behind])
    losses = method.losses(batch)
    coherence = method.config.coherence_weight * (supports + queries)
    torch.testing.assert_close(losses["coherence"], coherence, atol=1e-5, rtol=1e-5)
    total = functional.cross_entropy(expected.flatten(0, 1), TRUTH.repeat(2)) + coherence
    names, parameters = zip(*method.named_parameters(), strict=True)
    ours = torch.autograd.grad(losses["episode"] + losses["coherence"], parameters)
    theirs = torch.autograd.grad(total, parameters)
    for name, one, other in zip(names, ours, theirs, strict=True):
        bound = 1e-4 * max(1.0, other.abs().max().item())
        torch.testing.assert_close(one, other, atol=bound, rtol=1e-3, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("shots", ["videos", "prototypes"])
def test_episodes_do_not_see_each_other_and_order_does_not_matter(shots: str) -> None:
    method, (query, support) = make(shots=shots), episodes(3)
    together = method.episode_logits(batch_of(query, support))
    for e in range(3):
        alone = method.episode_logits(batch_of(query[e : e + 1], support[e : e + 1]))
        torch.testing.assert_close(together[e : e + 1], alone, atol=1e-5, rtol=1e-5)
    order = torch.tensor([5, 3, 0, 4, 1, 2])
    queries, supports = (
        split(method.encode(Features({}, side.flatten(0, 1))), 3)
        for side in (query, support[:, order])
    )
    shuffled = method.score(queries, supports, labels=LABELS[order], way=3)
    torch.testing.assert_close(together, shuffled, atol=1e-5, rtol=1e-5)


def test_only_the_mean_of_videos_is_pairwise_and_never_free_of_context() -> None:
    videos, prototypes = make(), make(shots="prototypes")
    assert as_pairwise(videos) is videos
    assert as_pairwise(prototypes) is None
    assert not videos.context_free
    query, support = episodes(1)
    queries, supports = (
        split(videos.encode(Features({}, side[0])), 1) for side in (query, support)
    )
    pairs = videos.pairs(queries, supports)
    fewer = {name: tensor[:, :3] for name, tensor in supports.items()}
    assert not torch.allclose(pairs[:, :, :3], videos.pairs(queries, fewer), atol=1e-3)
    plan, cosine = videos.frame_plans(queries, supports)
    torch.testing.assert_close(plan.sum((-2, -1)), torch.ones(1, 4, 6))
    # The plan weighs the means of nearest frames, the score sums them: 2·T·(1 − mean).
    torch.testing.assert_close(pairs, -2 * 5 * (1 - (plan * cosine).sum((-2, -1))))


def test_dropout_over_frames_is_where_the_configuration_puts_it() -> None:
    features = Features({}, torch.rand(2, 5, 8))
    for name in ("position_dropout", "attention_dropout"):
        still = {"position_dropout": 0.0, "attention_dropout": 0.0}
        on, off = make(**(still | {name: 0.5})).train(), make(**still).train()
        assert not torch.allclose(on.frames(features), off.frames(features)), name
        torch.testing.assert_close(on.eval().frames(features), off.frames(features))


def test_losses_leave_out_what_is_not_known() -> None:
    query, support = episodes(2)
    method = make()
    assert set(method.losses(batch_of(query, support))) == {"episode", "coherence"}
    method.prepare_training(classes=3)
    assert set(method.losses(batch_of(query, support, classes=False))) == {"episode", "coherence"}
    assert set(method.losses(batch_of(query, support))) == {"episode", "coherence", "frames"}
    assert set(HyRSM(HyRSMConfig(channels=8)).losses(batch_of(query, support))) == {"episode"}


@pytest.mark.parametrize("fill", [0.0, 0.3])
@pytest.mark.parametrize("shots", ["videos", "prototypes"])
def test_degenerate_clips_have_finite_losses_and_gradients(shots: str, fill: float) -> None:
    method = make(shots=shots, position_scale=0.0)
    method.prepare_training(classes=3)
    frames = torch.full((1, 10, 5, 8), fill).requires_grad_()
    losses = method.losses(batch_of(frames[:, :4], frames[:, 4:]))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert total.isfinite()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("shots", ["videos", "prototypes"])
def test_weights_survive_and_leave_the_classifier_behind(shots: str) -> None:
    method, (query, support) = make(shots=shots), episodes(1)
    method.prepare_training(classes=3)
    stored = {k: v for k, v in method.state_dict().items() if not k.startswith("extra.")}
    torch.manual_seed(99)
    # The regulariser has no weights: HyRSM++ scores as HyRSM does.
    again = HyRSM(HyRSMConfig(channels=8, heads=2, shots=shots)).eval()
    again.load_state_dict(stored)
    batch = batch_of(query, support)
    torch.testing.assert_close(method.episode_logits(batch), again.episode_logits(batch))


def test_configurations_fit_a_backbone_and_refuse_what_is_wrong() -> None:
    backbone = build_backbone("tiny")
    assert HyRSMConfig.for_backbone(backbone, frames=4) == HyRSMConfig(channels=16)
    plus = HyRSMPlusPlusConfig.for_backbone(backbone, frames=4)
    assert plus == HyRSMPlusPlusConfig(channels=16)
    assert HyRSMPlusPlusConfig.from_dict(plus.to_dict()) == plus
    with pytest.raises(ArgumentError, match="7 channels; this head was built for 8"):
        make().encode(Features({}, torch.rand(1, 5, 7)))
    for field, value, message in (
        ("channels", 9, "multiple of the 2 heads"),
        ("shots", "mean", "shots is 'mean'"),
        ("feature_scale", 0.0, "above 0"),
        ("attention_dropout", 1.0, "less than 1"),
        ("falloff", 0.0, "above 0"),
        ("window", -1, "0 or more"),
    ):
        with pytest.raises(ArgumentError, match=message):
            HyRSMPlusPlusConfig.from_dict({"channels": 8, "heads": 2, field: value})
