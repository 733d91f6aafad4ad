from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import TrainingBatch, split, take
from a2m2_zoo.methods.clip_fsar import ClipFSAR, ClipFSARConfig
from a2m2_zoo.ops.fusion import fuse_text

SMALL = {"channels": 8, "heads": 2, "hidden": 6}

# An independent statement of the rule, one pair of videos at a time, in NumPy.


def slow_context(method: ClipFSAR, tokens: np.ndarray) -> np.ndarray:
    p = {k: v.detach().double().numpy() for k, v in method.state_dict().items()}
    heads, d = method.config.heads, method.config.channels
    for layer in range(method.config.depth):
        a, f = f"context.{layer}.0.", f"context.{layer}.1.net."
        centred = tokens - tokens.mean(1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
        normal = normal * p[a + "norm.weight"] + p[a + "norm.bias"]
        q, k, v = np.split(normal @ p[a + "qkv.weight"].T, 3, axis=1)
        mixed = []
        for h in range(heads):
            one = slice(h * d // heads, (h + 1) * d // heads)
            weight = np.exp(q[:, one] @ k[:, one].T / math.sqrt(d // heads))
            mixed.append(weight / weight.sum(1, keepdims=True) @ v[:, one])
        tokens = tokens + np.concatenate(mixed, 1) @ p[a + "out.weight"].T + p[a + "out.bias"]
        hidden = tokens @ p[f + "0.weight"].T + p[f + "0.bias"]
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        tokens = tokens + hidden @ p[f + "3.weight"].T + p[f + "3.bias"]
    return tokens


def slow_otam(delta: np.ndarray, softening: float) -> float:
    n, m = delta.shape
    delta = np.pad(delta, ((0, 0), (1, 1)))
    total = np.zeros((n, m + 2))
    total[0] = np.cumsum(delta[0])
    for i in range(1, n):
        for j in range(1, m + 2):
            ways = [total[i - 1, j - 1], total[i, j - 1]]
            if j in (1, m + 1):
                ways.append(total[i - 1, j])
            softmin = -softening * math.log(sum(math.exp(-w / softening) for w in ways))
            total[i, j] = delta[i, j] + softmin
    return float(total[n - 1, m + 1])


def slow_distances(
    method: ClipFSAR,
    query: np.ndarray,
    support: np.ndarray,
    labels: list[int],
    text: np.ndarray | None,
) -> np.ndarray:
    t, config = query.shape[1], method.config
    found = np.zeros((len(query), max(labels) + 1))
    for c in range(found.shape[1]):
        shots = [support[n] for n, label in enumerate(labels) if label == c]
        if config.merge_before:
            shots = [np.mean(shots, 0)]
        if text is not None:
            shots = [np.concatenate([shot, text[c : c + 1]]) for shot in shots]
        prototype = np.mean([slow_context(method, shot)[:t] for shot in shots], 0)
        for i, frames in enumerate(query):
            own = slow_context(method, frames)
            norms = np.outer(np.linalg.norm(own, axis=1), np.linalg.norm(prototype, axis=1))
            delta = 1 - own @ prototype.T / (norms + 0.01)
            found[i, c] = slow_otam(delta, config.softening)
            if config.both:
                found[i, c] += slow_otam(delta.T, config.softening)
    return found


def make(**changes: object) -> ClipFSAR:
    torch.manual_seed(0)
    method = ClipFSAR(ClipFSARConfig.from_dict({**SMALL, **changes})).eval()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


LABELS = torch.tensor([2, 0, 1, 0, 2, 0])  # three, one and two shots


def episodes(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((count, 4, 5, 8), (count, 6, 5, 8), (count, 3, 8))
    query, support, text = (torch.randn(shape, generator=generator) for shape in shapes)
    return query, support, text


def encoded(method: ClipFSAR, frames: Tensor) -> dict[str, Tensor]:
    return split(method.encode(Features({}, frames.flatten(0, 1))), len(frames))


def logits_of(method: ClipFSAR, frames: tuple[Tensor, Tensor, Tensor | None]) -> Tensor:
    query, support, text = frames
    return method.score(
        encoded(method, query), encoded(method, support), labels=LABELS, way=3, text=text
    )


@pytest.mark.parametrize("spoken", [True, False], ids=["text", "no-text"])
@pytest.mark.parametrize("merge", [True, False], ids=["before", "after"])
def test_several_shots_follow_the_rule(merge: bool, spoken: bool) -> None:
    method = make(merge_before=merge, depth=2 if spoken else 1, both=merge)
    query, support, text = episodes(2)
    given = text if spoken else None
    logits = logits_of(method, (query, support, given))
    for e in range(2):
        words = text[e].double().numpy() if spoken else None
        sides = (query[e].double().numpy(), support[e].double().numpy())
        expected = slow_distances(method, *sides, LABELS.tolist(), words)
        np.testing.assert_allclose(-logits[e].detach().numpy(), expected, atol=2e-5, rtol=1e-5)


def test_text_and_combined_scores_are_log_probabilities() -> None:
    frames = episodes(2)
    visual = logits_of(make(), frames)
    text = logits_of(make(mode="text"), frames)
    torch.testing.assert_close(text.exp().sum(-1), torch.ones(2, 4))
    both = logits_of(make(mode="combine", text_weight=0.7), frames)
    p_visual = ((5 - -visual) / 5).softmax(-1)
    for e in range(2):
        mixed = fuse_text(p_visual[e], text[e].exp(), beta=0.7)
        torch.testing.assert_close(both[e].softmax(-1), mixed)
    cosine = torch.nn.functional.cosine_similarity(
        frames[0].mean(2)[:, :, None], frames[2][:, None], dim=-1
    )
    torch.testing.assert_close(text, (make().scale * cosine).log_softmax(-1))


@pytest.mark.parametrize("mode", ["visual", "text", "combine"])
def test_episodes_do_not_see_each_other_and_order_does_not_matter(mode: str) -> None:
    method, (query, support, text) = make(mode=mode), episodes(3)
    together = logits_of(method, (query, support, text))
    for e in range(3):
        one = slice(e, e + 1)
        alone = logits_of(method, (query[one], support[one], text[one]))
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-5)
    order = torch.tensor([5, 3, 0, 4, 1, 2])
    shuffled = method.score(
        encoded(method, query),
        encoded(method, support[:, order]),
        labels=LABELS[order],
        way=3,
        text=text,
    )
    torch.testing.assert_close(together, shuffled, atol=1e-5, rtol=1e-5)


def training_batch(query: Tensor, support: Tensor, *, classes: bool = True) -> TrainingBatch:
    count = len(query)
    return TrainingBatch(
        query=Features({}, query.flatten(0, 1)),
        support=Features({}, support.flatten(0, 1)),
        labels=LABELS,
        query_labels=torch.tensor([0, 1, 2, 0]),
        way=3,
        support_classes=torch.cat([LABELS + 3 * e for e in range(count)]) if classes else None,
        query_classes=torch.tensor([0, 1, 2, 0] * count) if classes else None,
    )


@pytest.mark.parametrize("mode", ["visual", "combine"])
def test_losses_are_those_of_the_visual_logits_with_the_text_of_each_episode(mode: str) -> None:
    method, (query, support, _) = make(mode=mode, classification_weight=2.0), episodes(2)
    table = torch.randn(6, 8, generator=torch.Generator().manual_seed(4))
    method.prepare_training(classes=6, text=table)
    found = method.losses(training_batch(query, support))
    text = table.reshape(2, 3, 8)  # episode e holds the classes 3e, 3e + 1, 3e + 2
    logits = logits_of(make(), (query, support, text))
    truth = torch.tensor([0, 1, 2, 0] * 2)
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(found["episode"], cross_entropy(logits.flatten(0, 1), truth))
    videos = torch.cat([support.flatten(0, 1), query.flatten(0, 1)]).mean(1)
    norms = videos.norm(dim=1)[:, None] * table.norm(dim=1)
    cosine = videos @ table.T / (norms + 0.01)
    classes = torch.cat([LABELS, LABELS + 3, truth])
    expected = 2.0 * cross_entropy(method.scale * cosine, classes)
    torch.testing.assert_close(found["text"], expected)


def test_texts_follow_the_supports_where_episodes_share_clips() -> None:
    """The same two episodes, the second one first."""
    method, (query, support, text) = make(), episodes(2)
    method.prepare_training(classes=6, text=text.flatten(0, 1))
    batch = training_batch(query, support)
    swapped = dataclasses.replace(
        batch,
        support_places=torch.arange(12).reshape(2, 6).flip(0),
        query_places=12 + torch.arange(8).reshape(2, 4).flip(0),
    )
    torch.testing.assert_close(method.losses(swapped), method.losses(batch))


def test_losses_without_texts_or_classes_leave_the_text_out() -> None:
    query, support, _ = episodes(2)
    method = make()
    method.prepare_training(classes=6)
    assert set(method.losses(training_batch(query, support))) == {"episode"}
    method.prepare_training(classes=6, text=torch.randn(6, 8))
    assert set(method.losses(training_batch(query, support, classes=False))) == {"episode"}
    assert set(method.losses(training_batch(query, support))) == {"episode", "text"}
    assert not method.extra["text"].weight.requires_grad
    with pytest.raises(ArgumentError, match=r"shape \(5, 8\); expected .* \(6, 8\)"):
        method.prepare_training(classes=6, text=torch.randn(5, 8))


def test_texts_in_half_precision_are_taken() -> None:
    query, support, text = episodes(2)
    method, whole = make(), make()
    whole.prepare_training(classes=6, text=text.flatten(0, 1).half().float())
    method.prepare_training(classes=6, text=text.flatten(0, 1).half())
    batch = training_batch(query, support)
    torch.testing.assert_close(method.losses(batch), whole.losses(batch))
    half = logits_of(method, (query, support, text.half()))
    torch.testing.assert_close(half, logits_of(method, (query, support, text.half().float())))


def test_dropout_is_where_the_configuration_puts_it() -> None:
    frames = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    for name in ("attention_dropout", "dropout"):
        still = {"attention_dropout": 0.0, "dropout": 0.0}
        on, off = make(**(still | {name: 0.5})).train(), make(**still).train()
        changed = on.encode(Features({}, frames))["context"]
        plain = off.encode(Features({}, frames))["context"]
        assert not torch.allclose(changed, plain), name
        torch.testing.assert_close(on.eval().encode(Features({}, frames))["context"], plain)


@pytest.mark.parametrize("fill", ["zeros", "same"])
def test_degenerate_clips_have_finite_scores_and_gradients(fill: str) -> None:
    method = make(mode="visual")
    shape = (1, 10, 5, 8)
    frames = torch.zeros(shape) if fill == "zeros" else torch.ones(shape) * 0.3
    frames.requires_grad_()
    method.prepare_training(classes=3, text=torch.zeros(3, 8))
    batch = training_batch(frames[:, :4], frames[:, 4:])
    total = torch.stack(list(method.losses(batch).values())).sum()
    total.backward()
    assert total.isfinite()
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    both = logits_of(make(mode="combine"), (frames[:, :4], frames[:, 4:], torch.zeros(1, 3, 8)))
    assert both.isfinite().all()


def test_frame_plans_are_paths_between_frames_in_context() -> None:
    method, (query, support, _) = make(), episodes(2)
    queries, supports = encoded(method, query), encoded(method, support)
    plan, cosine = method.frame_plans(queries, supports)
    torch.testing.assert_close(plan.sum((-2, -1)), torch.ones(2, 4, 6))
    x, y = queries["context"][1, 2], supports["context"][1, 4]
    expected = x @ y.T / (x.norm(dim=1)[:, None] * y.norm(dim=1) + 0.01)
    torch.testing.assert_close(cosine[1, 2, 4], expected, atol=1e-5, rtol=1e-5)


def test_weights_survive_and_leave_the_training_texts_behind() -> None:
    method = make()
    method.prepare_training(classes=3, text=torch.randn(3, 8))
    stored = {k: v for k, v in method.state_dict().items() if not k.startswith("extra.")}
    torch.manual_seed(99)
    again = ClipFSAR(ClipFSARConfig.from_dict(method.config.to_dict())).eval()
    again.load_state_dict(stored)
    frames = episodes(1)
    torch.testing.assert_close(logits_of(method, frames), logits_of(again, frames))
    assert "scale" in stored


def test_a_head_for_any_backbone() -> None:
    config = ClipFSARConfig.for_backbone(build_backbone("tiny"), frames=4)
    assert config == ClipFSARConfig(channels=16)
    method = ClipFSAR(config).eval()
    found = take(method.encode(Features({}, torch.rand(2, 4, 16))), slice(0, 1))
    assert found["context"].shape == (1, 4, 16)


def test_refusals_say_what_to_do() -> None:
    query, support, text = episodes(1)
    for mode in ("text", "combine"):
        with pytest.raises(ArgumentError, match="give text= or take mode='visual'"):
            logits_of(make(mode=mode), (query, support, None))
    with pytest.raises(ArgumentError, match=r"\(1, 3, 7\); expected .*\(1, 3, 8\)"):
        logits_of(make(), (query, support, text[..., :7]))
    with pytest.raises(ArgumentError, match="7 channels; this head was built for 8"):
        make().encode(Features({}, torch.rand(1, 5, 7)))
    for field, value, message in (
        ("channels", 9, "multiple of the 2 heads"),
        ("mode", "both", "mode is 'both'"),
        ("text_weight", 1.5, "expected 0 to 1"),
        ("dropout", 1.0, "less than 1"),
        ("softening", 0.0, "above 0"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ClipFSARConfig.from_dict({**SMALL, field: value})
