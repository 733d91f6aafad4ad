from __future__ import annotations

import dataclasses

import pytest
import torch
from golden import close, golden_tensors, needs_golden
from torch import Tensor
from tuple_rules import cross_transformer

from a2m2_zoo.backbones import Features, build_backbone
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.base import TrainingBatch, split, take
from a2m2_zoo.methods.blocks.cross_transformer import CrossTransformer
from a2m2_zoo.methods.blocks.tuples import FramePositions, ordered_tuples, tuple_rows
from a2m2_zoo.methods.trx import TRX, TRXConfig
from a2m2_zoo.zoo.convert.trx import convert_trx

FILE = "trx_golden.safetensors"
CONFIG = TRXConfig(channels=6, out=5, frames=4)
LABELS = torch.tensor([2, 0, 1, 2, 2, 0])  # two, one and three shots


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return golden_tensors(FILE)


def golden_method(golden: dict[str, Tensor], **options: bool | float) -> TRX:
    state = {
        key.replace(f"card{c}.sd.", f"transformers.{c - 2}."): value
        for c in (2, 3)
        for key, value in golden.items()
        if key.startswith(f"card{c}.sd.")
    }
    found = convert_trx(state, source="golden")
    method = TRX(dataclasses.replace(found.config, **options))
    method.load_state_dict(found.head)
    return method.eval()


def vectors(pooled: Tensor) -> Features:
    return Features({}, pooled)


def golden_batch(golden: dict[str, Tensor], shots: int) -> TrainingBatch:
    return TrainingBatch(
        vectors(golden[f"in{shots}.target_features"]),
        vectors(golden[f"in{shots}.support_features"]),
        golden[f"in{shots}.support_labels"].long(),
        golden[f"in{shots}.target_labels"].long(),
        5,
    )


def small(seed: int = 0, *, episodes: int = 1, queries: int = 3) -> tuple[TRX, Tensor, Tensor]:
    """A method with every parameter random, and frame vectors with a large common part."""
    generator = torch.Generator().manual_seed(seed)
    method = TRX(CONFIG).eval()
    for parameter in method.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
    query = 1 + torch.randn(episodes * queries, 4, 6, generator=generator)
    support = 1 + torch.randn(episodes * len(LABELS), 4, 6, generator=generator)
    return method, query, support


def logits_of(method: TRX, query: Tensor, support: Tensor, labels: Tensor, *, e: int = 1) -> Tensor:
    one, other = (split(method.encode(vectors(x)), e) for x in (query, support))
    return method.score(one, other, labels=labels, way=int(labels.max()) + 1)


# ---- against the official code


@needs_golden(FILE)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shots", [1, 5])
def test_golden_logits(golden: dict[str, Tensor], shots: int, training: bool) -> None:
    method = golden_method(golden, dropout=0.0).train(training)
    batch = golden_batch(golden, shots)
    close(method.episode_logits(batch)[0], golden[f"trx.{shots}shot.logits"], "trx.logits")
    query, support = (split(method.encode(side), 1) for side in (batch.query, batch.support))
    for c in (2, 3):
        part = method.transformers[str(c)]
        one, other = (
            {n.removesuffix(str(c)): x for n, x in side.items() if n.endswith(str(c))}
            for side in (query, support)
        )
        name = f"card{c}.{shots}shot.logits"
        close(part(one, other, labels=batch.labels, way=5)[0], golden[name], name)


@needs_golden(FILE)
def test_golden_loss_and_accuracy(golden: dict[str, Tensor]) -> None:
    batch = golden_batch(golden, 5)
    summed = golden_method(golden, official_loss=True).losses(batch)
    close(summed["episode"], golden["trx.5shot.loss_sum_over_queries"], "loss_sum_over_queries")
    mean = golden_method(golden).losses(batch)
    assert list(mean) == ["episode"]
    close(mean["episode"] * 10, golden["trx.5shot.loss_sum_over_queries"], "mean of ten queries")
    right = golden_method(golden).episode_logits(batch)[0].argmax(-1) == batch.query_labels
    assert right.float().mean() == golden["trx.5shot.accuracy"]


@needs_golden(FILE)
@pytest.mark.parametrize("cardinality", [2, 3])
def test_golden_tuples_and_positions(golden: dict[str, Tensor], cardinality: int) -> None:
    expected = golden[f"card{cardinality}.tuples"].long()
    assert torch.equal(ordered_tuples(8, cardinality), expected)
    encoding = FramePositions(12, 64).encoding
    torch.testing.assert_close(encoding, golden[f"card{cardinality}.sd.pe.pe"][0])


def test_official_sum_does_not_grow_with_the_episodes() -> None:
    method, query, support = small(episodes=2)
    method.config = dataclasses.replace(CONFIG, official_loss=True)
    truth = torch.tensor([0, 1, 2])
    both = TrainingBatch(vectors(query), vectors(support), LABELS, truth, 3)
    each = [
        TrainingBatch(vectors(q), vectors(s), LABELS, truth, 3)
        for q, s in zip(query.split(3), support.split(6), strict=True)
    ]
    expected = torch.stack([method.losses(batch)["episode"] for batch in each]).mean()
    torch.testing.assert_close(method.losses(both)["episode"], expected)


# ---- against the rule, one tuple at a time


def test_logits_and_gradients_are_those_of_tuples_written_out() -> None:
    method, query, support = small()
    query.requires_grad_()
    support.requires_grad_()
    leaves = {"query": query, "support": support, **dict(method.named_parameters())}
    weight = torch.linspace(-1, 2, 9).reshape(3, 3)

    found = logits_of(method, query, support, LABELS)[0]
    ours = torch.autograd.grad((found * weight).sum(), list(leaves.values()))

    double = {name: x.detach().double().requires_grad_() for name, x in leaves.items()}
    parts = [
        cross_transformer(
            {n.removeprefix(f"transformers.{c}."): x for n, x in double.items() if f".{c}." in n},
            double["query"],
            double["support"],
            LABELS,
            3,
        )
        for c in (2, 3)
    ]
    expected = torch.stack(parts).mean(0)
    close(found, expected.float(), "logits")
    theirs = torch.autograd.grad((expected * weight.double()).sum(), list(double.values()))
    for name, one, other in zip(leaves, ours, theirs, strict=True):
        close(one, other.float(), f"gradient of {name}")


def test_gradcheck_with_unequal_shots() -> None:
    module = CrossTransformer(3, frames=3, cardinality=2, out=2).double().eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)

    def run(query: Tensor, support: Tensor, *parameters: Tensor) -> Tensor:
        one, other = (
            {n: x[None] for n, x in module.encode(side).items()} for side in (query, support)
        )
        return module(one, other, labels=torch.tensor([1, 0, 1]), way=2)

    clips = [torch.randn(n, 3, 3, dtype=torch.float64, requires_grad=True) for n in (2, 3)]
    assert torch.autograd.gradcheck(run, (*clips, *module.parameters()))


def test_large_common_part_costs_few_digits() -> None:
    # Squares of what all clips share are a million times those of their differences.
    method, query, support = small()
    for part in method.transformers.values():
        part.key.weight.data.zero_()  # uniform attention: only the distances are looked at
    query, support = query + 1000, support + 1000
    found = logits_of(method, query, support, LABELS)[0]
    exact = [
        cross_transformer(
            {n: x.detach().double() for n, x in part.named_parameters()},
            query.double(),
            support.double(),
            LABELS,
            3,
        )
        for part in method.transformers.values()
    ]
    torch.testing.assert_close(found, torch.stack(exact).mean(0).float(), atol=5e-3, rtol=1e-3)


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
    encoded = split(method.encode(vectors(support)), 1)
    queries = split(method.encode(vectors(query)), 1)
    logits = method.score(queries, encoded, labels=labels, way=3)
    order = torch.tensor([4, 2, 0, 5, 3, 1])
    shuffled = {n: x[:, order] for n, x in encoded.items()}
    found = method.score(queries, shuffled, labels=labels[order], way=3)
    torch.testing.assert_close(found, logits, atol=1e-5, rtol=1e-5)
    swapped = method.score(queries, encoded, labels=2 - labels, way=3)
    torch.testing.assert_close(swapped, logits.flip(-1), atol=1e-5, rtol=1e-5)


def test_shots_of_a_class_are_attended_to_together() -> None:
    method, query, support = small()
    labels = torch.tensor([0, 1, 0, 1])
    logits = logits_of(method, query, support[:4], labels)
    apart = logits_of(method, query, support[:4], torch.arange(4)).unflatten(-1, (2, 2)).mean(-2)
    assert (logits - apart).abs().max() > 0.1
    # The same clip twice is that clip once.
    once = logits_of(method, query, support[:2], torch.tensor([0, 1]))
    twice = logits_of(method, query, support[[0, 1, 0]], torch.tensor([0, 1, 0]))
    torch.testing.assert_close(twice, once, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["zeros", "identical", "huge", "no key"])
def test_odd_clips_give_finite_values_and_gradients(kind: str) -> None:
    method, query, support = small()
    if kind == "zeros":
        query, support = query * 0, support * 0
    elif kind == "identical":
        query, support = torch.ones_like(query), torch.ones_like(support)
    elif kind == "no key":  # nothing to normalise
        for part in method.transformers.values():
            part.key.weight.data.zero_()
            part.key.bias.data.zero_()
    else:
        query, support = query * 1e4, support * 1e4
    query.requires_grad_()
    logits = logits_of(method, query, support, LABELS)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert query.grad is not None
    assert query.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_a_clip_is_encoded_alone() -> None:
    method, query, _ = small()
    whole = dict(method.encode(vectors(query)))
    for i in range(3):
        one = method.encode(vectors(query[i : i + 1]))
        for name, tensor in take(whole, slice(i, i + 1)).items():
            torch.testing.assert_close(tensor, one[name], atol=1e-5, rtol=1e-5)
    assert {n: tuple(x.shape[1:]) for n, x in whole.items()} == {
        "keys2": (8, 5),
        "scale2": (6,),
        "offset2": (6,),
        "values2": (8, 5),
        "keys3": (12, 5),
        "scale3": (4,),
        "offset3": (4,),
        "values3": (12, 5),
    }


def test_low_precision_training_is_close_to_full() -> None:
    method, query, support = small()
    full = logits_of(method, query, support, LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        low = logits_of(method, query, support, LABELS)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, full, atol=0.5, rtol=0.1)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    method, query, _ = small()
    assert torch.equal(
        method.encode(vectors(query))["keys2"], method.encode(vectors(query))["keys2"]
    )
    method.train()
    assert not torch.equal(
        method.encode(vectors(query))["keys2"], method.encode(vectors(query))["keys2"]
    )


# ---- construction


def test_state_and_configuration_round_trip() -> None:
    method, query, support = small()
    copy = TRX(TRXConfig.from_dict(method.config.to_dict())).eval()
    copy.load_state_dict(method.state_dict())
    assert torch.equal(
        logits_of(copy, query, support, LABELS), logits_of(method, query, support, LABELS)
    )


def test_same_seed_same_weights_over_a_backbone() -> None:
    backbone = build_backbone("tiny")
    config = TRXConfig.for_backbone(backbone, frames=8)
    assert config == TRXConfig(channels=backbone.pooled_channels, frames=8)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(TRX(dataclasses.replace(config, out=8)))
    assert all(
        torch.equal(one, made[1].state_dict()[name]) for name, one in made[0].state_dict().items()
    )
    with torch.no_grad():
        features = backbone(torch.rand(2, 8, 3, 64, 64), stages=[])
        assert made[0].encode(features)["keys3"].shape == (2, 24, 8)
    assert TRXConfig.for_backbone(backbone, frames=2).cardinalities == (2,)
    assert TRXConfig.for_backbone(backbone, frames=1).cardinalities == (1,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cardinalities": ()}, "cardinalities is"),
        ({"cardinalities": (2, 2)}, "cardinalities is"),
        ({"cardinalities": (9,)}, "1 to 8, the frames of a clip"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"channels": 0}, "channels is 0"),
    ],
)
def test_impossible_configurations_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TRXConfig.from_dict(values)


def test_wrong_clips_and_labels_are_refused() -> None:
    method, query, support = small()
    with pytest.raises(ArgumentError, match=r"clips are \(3, 6\).*built for \(4, 6\)"):
        method.encode(vectors(query[:, :3]))
    with pytest.raises(EpisodeError, match="every class from 0 to 2"):
        logits_of(method, query, support[:3], torch.tensor([0, 2, 2]))
    with pytest.raises(ArgumentError, match="1 to 3"):
        ordered_tuples(3, 4)


def test_rows_of_tuples_add_up_to_the_tuples() -> None:
    rows = tuple_rows(5, 3)
    assert rows.shape == (10, 15)
    assert rows.sum(1).eq(3).all()
    for tuple_, row in zip(ordered_tuples(5, 3).tolist(), rows, strict=True):
        assert row.nonzero().flatten().tolist() == [t * 3 + a for a, t in enumerate(tuple_)]
