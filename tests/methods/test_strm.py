from __future__ import annotations

import dataclasses

import pytest
import torch
from golden import close, golden_tensors, needs_golden, official_state
from torch import Tensor
from tuple_rules import cross_transformer, encoded, nearest_tuples

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import TrainingBatch, split, take
from a2m2_zoo.methods.blocks.tuples import TupleDistance
from a2m2_zoo.methods.strm import STRM, STRMConfig
from a2m2_zoo.zoo.convert.strm import convert_strm

FILE = "strm_golden.safetensors"
CONFIG = STRMConfig(stage="deep", channels=6, out=5, frames=4, grid=2)
LABELS = torch.tensor([2, 0, 1, 2, 2, 0])  # two, one and three shots


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return golden_tensors(FILE)


def golden_method(golden: dict[str, Tensor], **options: float | bool) -> STRM:
    """The official state dict, and beside it the part that the official code leaves out of it."""
    state = official_state(golden)
    found = convert_strm(state, source="golden")
    method = STRM(dataclasses.replace(found.config, aux_weight=0.1, **options))
    aside = "unregistered.new_dist_loss_post_pat.0.clsW."
    extra = {
        key.replace(aside, "distances.2.project."): value
        for key, value in golden.items()
        if key.startswith(aside)
    }
    method.load_state_dict(found.head | extra)
    return method.eval()


def maps(x: Tensor, stage: str = "deep") -> Features:
    return Features({stage: x}, x.mean((-2, -1)))


def golden_batch(golden: dict[str, Tensor], shots: int) -> TrainingBatch:
    query, support = (
        maps(golden[f"in{shots}.{side}_feature_maps"].unflatten(0, (-1, 8)), "layer4")
        for side in ("target", "support")
    )
    return TrainingBatch(
        query,
        support,
        golden[f"in{shots}.support_labels"].long(),
        golden[f"in{shots}.target_labels"].long(),
        5,
    )


def small(
    seed: int = 0, *, episodes: int = 1, config: STRMConfig = CONFIG
) -> tuple[STRM, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    method = STRM(config).eval()
    for parameter in method.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
    query = torch.randn(episodes * 3, 4, 6, 3, 3, generator=generator)
    support = torch.randn(episodes * len(LABELS), 4, 6, 3, 3, generator=generator)
    return method, query, support


def logits_of(
    method: STRM, query: Tensor, support: Tensor, labels: Tensor, *, e: int = 1
) -> Tensor:
    one, other = (split(method.encode(maps(x)), e) for x in (query, support))
    return method.score(one, other, labels=labels, way=int(labels.max()) + 1)


# ---- against the official code


@needs_golden(FILE)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shots", [1, 5])
def test_golden_logits(golden: dict[str, Tensor], shots: int, training: bool) -> None:
    method = golden_method(golden, dropout=0.0).train(training)
    batch = golden_batch(golden, shots)
    query, support = (split(method.encode(side), 1) for side in (batch.query, batch.support))
    found = {
        "logits": method.transformers(query, support, labels=batch.labels, way=5),
        "logits_post_pat": method.auxiliary_logits(query, support, labels=batch.labels, way=5),
        "logits_final": method.score(query, support, labels=batch.labels, way=5),
    }
    for name, logits in found.items():
        close(logits[0], golden[f"{shots}shot.{name}"], f"{shots}shot.{name}")


@needs_golden(FILE)
@pytest.mark.parametrize("official", [False, True])
def test_losses_are_cross_entropies_of_the_golden_logits(
    golden: dict[str, Tensor], official: bool
) -> None:
    batch = golden_batch(golden, 5)
    losses = golden_method(golden, official_loss=official).losses(batch)
    truth = batch.query_labels
    for name, tensor, weight in (("episode", "logits", 1.0), ("auxiliary", "logits_post_pat", 0.1)):
        each = -golden[f"5shot.{tensor}"].log_softmax(-1)[torch.arange(10), truth]
        close(losses[name], weight * (each.sum() if official else each.mean()), name)


@needs_golden(FILE)
def test_without_the_auxiliary_part_the_main_logits_are_left(golden: dict[str, Tensor]) -> None:
    state = official_state(golden)
    found = convert_strm(state, source="golden")
    method = STRM(found.config).eval()
    method.load_state_dict(found.head)
    batch = golden_batch(golden, 1)
    close(method.episode_logits(batch)[0], golden["1shot.logits"], "1shot.logits")
    assert list(method.losses(batch)) == ["episode"]


# ---- against the rules, one patch and one tuple at a time


def slow(weights: dict[str, Tensor], query: Tensor, support: Tensor) -> Tensor:
    """Logits of one episode by loops, without anything of the package."""

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def frame_vector(picture: Tensor) -> Tensor:
        # A grid of 2 over 3 × 3: windows of 2 × 2 that overlap.
        patches = [picture[:, i : i + 2, j : j + 2].amax((1, 2)) for i in (0, 1) for j in (0, 1)]
        x = encoded(torch.stack(patches))
        scores = linear(x, "patches.query") @ linear(x, "patches.key").T
        y = x + weights["patches.gamma"] * scores.softmax(-1) @ linear(x, "patches.value")
        hidden = linear(linear(y, "patches.mlp.0").relu(), "patches.mlp.2").relu()
        return (y + linear(hidden, "patches.mlp.4")).mean(0)

    def clip_vectors(clip: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.stack([frame_vector(picture) for picture in clip])
        x = encoded(frames)
        h = x + linear(linear(x.T, "frames.time.0").relu(), "frames.time.2").T
        return frames, h + linear(linear(h, "frames.mlp.0").relu(), "frames.mlp.2")

    before, after = (
        [torch.stack(part) for part in zip(*map(clip_vectors, side), strict=True)]
        for side in (query, support)
    )
    prefix = "transformers.2."
    part = {n.removeprefix(prefix): x for n, x in weights.items() if n.startswith(prefix)}
    main = cross_transformer(part, before[1], after[1], LABELS, 3)
    weight, bias = (weights[f"distances.2.project.{kind}"] for kind in ("weight", "bias"))
    return main + 0.1 * nearest_tuples(weight, bias, before[0], after[0], LABELS, 3)


def test_logits_and_gradients_are_those_of_the_rules() -> None:
    method, query, support = small()
    leaves = {
        "query": query.requires_grad_(),
        "support": support.requires_grad_(),
        **dict(method.named_parameters()),
    }
    weight = torch.linspace(-1, 2, 9).reshape(3, 3)
    found = logits_of(method, query, support, LABELS)[0]
    ours = torch.autograd.grad((found * weight).sum(), list(leaves.values()))

    double = {name: x.detach().double().requires_grad_() for name, x in leaves.items()}
    expected = slow(double, double["query"], double["support"])
    close(found, expected.float(), "logits")
    theirs = torch.autograd.grad((expected * weight.double()).sum(), list(double.values()))
    for name, one, other in zip(leaves, ours, theirs, strict=True):
        close(one, other.float(), f"gradient of {name}")


def test_gradcheck_of_the_auxiliary_distances() -> None:
    module = TupleDistance(3, frames=3, cardinality=2, out=4).double().eval()

    def run(query: Tensor, support: Tensor, *parameters: Tensor) -> Tensor:
        one, other = module.encode(query)[None], module.encode(support)[None]
        return module(one, other, labels=torch.tensor([1, 0, 1]), way=2)

    torch.manual_seed(1)
    clips = [torch.randn(n, 3, 3, dtype=torch.float64, requires_grad=True) for n in (2, 3)]
    assert torch.autograd.gradcheck(run, (*clips, *module.parameters()))


def test_large_common_part_costs_few_digits() -> None:
    torch.manual_seed(0)
    module = TupleDistance(6, frames=4, cardinality=2, out=8)
    query, support = 1000 + torch.rand(1, 3, 6, 8), 1000 + torch.rand(1, 6, 6, 8)
    found = module(query, support, labels=LABELS, way=3)
    exact = module(query.double(), support.double(), labels=LABELS, way=3)
    torch.testing.assert_close(found, exact.float(), atol=1e-5, rtol=1e-5)


# ---- many episodes, labels, odd clips


def test_episodes_together_are_episodes_one_by_one() -> None:
    method, query, support = small(episodes=3)
    together = logits_of(method, query, support, LABELS, e=3)
    alone = [
        logits_of(method, q, s, LABELS)[0]
        for q, s in zip(query.split(3), support.split(6), strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("labels", [LABELS, torch.tensor([0, 1, 2, 0, 1, 2])])
def test_order_of_supports_changes_nothing(labels: Tensor) -> None:
    method, query, support = small()
    logits = logits_of(method, query, support, labels)
    order = torch.tensor([4, 2, 0, 5, 3, 1])
    found = logits_of(method, query, support[order], labels[order])
    torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-5)
    swapped = logits_of(method, query, support, 2 - labels)
    torch.testing.assert_close(swapped, logits.flip(-1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["zeros", "identical"])
def test_odd_clips_give_finite_values_and_gradients(kind: str) -> None:
    method, query, support = small()
    level = 0.0 if kind == "zeros" else 1.0
    query, support = torch.full_like(query, level), torch.full_like(support, level)
    query.requires_grad_()
    logits = logits_of(method, query, support, LABELS)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_a_clip_is_encoded_alone_and_other_map_sizes_do() -> None:
    method, query, _ = small()
    whole = dict(method.encode(maps(query)))
    assert whole["tuples2"].shape == (3, 6, 3)
    for i in range(3):
        one = method.encode(maps(query[i : i + 1]))
        for name, tensor in take(whole, slice(i, i + 1)).items():
            torch.testing.assert_close(tensor, one[name], atol=1e-5, rtol=1e-5)
    for size in ((1, 1), (2, 5), (14, 14)):
        some = method.encode(maps(torch.rand(1, 4, 6, *size)))
        assert some["keys2"].shape == (1, 8, 5)


def test_dropout_acts_in_training_only_and_on_both_parts() -> None:
    torch.manual_seed(0)
    method, query, _ = small()
    for training in (False, True):
        once, again = (method.train(training).encode(maps(query)) for _ in range(2))
        for name in ("keys2", "values2", "tuples2"):
            assert torch.equal(once[name], again[name]) != training
    part = method.distances["2"].train()
    frames = torch.ones(1, 4, 6)
    assert not torch.equal(part.encode(frames), part.encode(frames))


def test_several_cardinalities_are_averaged() -> None:
    both, query, support = small(config=dataclasses.replace(CONFIG, cardinalities=(2, 3)))
    singles = []
    for c in (2, 3):
        one = STRM(dataclasses.replace(CONFIG, cardinalities=(c,))).eval()
        own = one.state_dict()
        one.load_state_dict({name: both.state_dict()[name] for name in own})
        singles.append(logits_of(one, query, support, LABELS))
    torch.testing.assert_close(
        logits_of(both, query, support, LABELS), torch.stack(singles).mean(0), atol=1e-5, rtol=1e-5
    )


# ---- construction


def test_state_and_configuration_round_trip() -> None:
    method, query, support = small()
    copy = STRM(STRMConfig.from_dict(method.config.to_dict())).eval()
    copy.load_state_dict(method.state_dict())
    assert torch.equal(
        logits_of(copy, query, support, LABELS), logits_of(method, query, support, LABELS)
    )


def test_same_seed_same_weights_over_a_backbone() -> None:
    backbone = build_backbone("tiny")
    config = STRMConfig.for_backbone(backbone, frames=8)
    assert (config.stage, config.channels, config.cardinalities) == ("s7", 16, (2,))
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(STRM(config).eval())
    assert all(
        torch.equal(one, made[1].state_dict()[name]) for name, one in made[0].state_dict().items()
    )
    assert made[0].patches.gamma.item() == 0
    with torch.no_grad():
        features = backbone(torch.rand(2, 8, 3, 64, 64), stages=made[0].stages)
        assert made[0].encode(features)["keys2"].shape == (2, 16, 1152)
    backbone.stages = {}
    with pytest.raises(ArgumentError, match="reads feature maps and tiny has none"):
        STRMConfig.for_backbone(backbone, frames=8)


def test_wrong_clips_labels_and_configurations_are_refused() -> None:
    method, query, support = small()
    with pytest.raises(ArgumentError, match=r"clips are \(3, 6\).*built for \(4, 6\)"):
        method.encode(maps(query[:, :3]))
    with pytest.raises(EpisodeError, match="every class from 0 to 2"):
        logits_of(method, query, support[:3], torch.tensor([0, 2, 2]))
    for values in ({"cardinalities": [9]}, {"dropout": 1.5}, {"grid": 0}, {"channels": 1}):
        with pytest.raises(ArgumentError, match=next(iter(values))):
            STRMConfig.from_dict(values)
