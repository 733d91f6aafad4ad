from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import draw_video, still
from makers_models import tiny_model

from a2m2_zoo import build_bank, classify, load_model
from a2m2_zoo.api import default_model
from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.manifest import read_manifest
from a2m2_zoo.ops.ridge import Ridge
from a2m2_zoo.recognition.rejection import (
    FEATURES,
    Evidence,
    fit_table_row,
    known_probability,
    read_table,
    ridge_features,
    shipped_table,
)
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.zoo.load import load_model as load

pytestmark = pytest.mark.usefixtures("seen_once")

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])  # class 2 has one support


def test_features_against_plain_loops() -> None:
    torch.manual_seed(0)
    pairs, queries = torch.randn(6, 6).double(), torch.randn(4, 6).double()
    found = Evidence.of(pairs, LABELS, way=3).features(queries)
    label = LABELS.tolist()
    members = [[n for n in range(6) if label[n] == c] for c in range(3)]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    def score(row: torch.Tensor, c: int, without: int = -1) -> float:
        return mean([float(row[n]) for n in members[c] if n != without])

    other_classes = mean(
        [max(score(pairs[n], c) for c in range(3) if c != label[n]) for n in range(6)]
    )
    nearest = mean(
        [max(float(pairs[n, m]) for m in range(6) if label[m] != label[n]) for n in range(6)]
    )
    own = [mean([score(pairs[n], c, n) for n in members[c]]) for c in (0, 1)]
    own = [(x + mean(own)) / 2 for x in own] + [mean(own)]
    for q in range(4):
        logits = [score(queries[q], c) for c in range(3)]
        best = max(range(3), key=logits.__getitem__)
        expected = [
            logits[best] - other_classes,
            logits[best] - sorted(logits)[1],
            logits[best] - own[best],
            float(queries[q].max()) - nearest,
        ]
        assert found[q].tolist() == pytest.approx(expected, abs=1e-9)


def test_what_all_scores_share_says_nothing() -> None:
    torch.manual_seed(1)
    pairs, queries = torch.randn(2, 6, 6).double(), torch.randn(2, 3, 6).double()
    once = Evidence.of(pairs, LABELS, way=3).features(queries)
    again = Evidence.of(pairs + 7, LABELS, way=3).features(queries + 7)
    torch.testing.assert_close(once, again)
    assert once.shape == (2, 3, sum(map(len, FEATURES["mean"])))


def test_a_support_does_not_vouch_for_itself() -> None:
    torch.manual_seed(2)
    pairs, queries = torch.randn(6, 6).double(), torch.randn(3, 6).double()
    loud = pairs + 100 * torch.eye(6)
    torch.testing.assert_close(
        Evidence.of(pairs, LABELS, way=3).features(queries),
        Evidence.of(loud, LABELS, way=3).features(queries),
    )


def test_one_support_each_leaves_two_features() -> None:
    evidence = Evidence.of(torch.eye(4), torch.arange(4), way=4)
    assert evidence.own is None
    assert evidence.features(torch.randn(5, 4)).shape == (5, 2)


@pytest.mark.parametrize("several", [False, True])
def test_ridge_features_against_plain_loops(several: bool) -> None:
    torch.manual_seed(5)
    labels = LABELS if several else torch.arange(6)
    way = 3 if several else 6
    pairs, queries = torch.randn(6, 6).double(), torch.randn(4, 6).double()
    fitted = Ridge.fit(pairs, labels, way=way)
    found = ridge_features(fitted, labels, queries, several=several)
    scores, spread = fitted.scores(queries), fitted.variance(queries)
    others = fitted.by_the_others()
    reached = [float(others[n, label]) for n, label in enumerate(labels.tolist())]
    for q in range(4):
        order = scores[q].argsort(descending=True).tolist()
        best, answer = float(scores[q, order[0]]), order[0]
        expected = [best, best - float(scores[q, order[1]]), float(spread[q])]
        if several:
            mates = [
                r for r, label in zip(reached, labels.tolist(), strict=True) if label == answer
            ]
            expected += [best - sum(reached) / 6, best - sum(mates) / len(mates)]
        assert found[q].tolist() == pytest.approx(expected, abs=1e-9)


def test_the_fit_recovers_the_weights_that_made_its_data() -> None:
    torch.manual_seed(3)
    x = torch.randn(40_000, 2).double() * torch.tensor([1.0, 20.0])
    known = (x @ torch.tensor([1.5, -0.05]).double() - 0.4).sigmoid().bernoulli()
    assert fit_table_row(x, known) == pytest.approx((-0.4, 1.5, -0.05), abs=0.05)


def test_weights_between_the_fitted_shots() -> None:
    rows = {1: (9.0, 0.0, 0.0), 2: (1.0, *4 * (0.0,)), 8: (3.0, *4 * (0.0,))}
    for shot, expected in ((1, 9.0), (2, 1.0), (4, 2.0), (8, 3.0), (16, 3.0)):
        features = torch.randn(2, 2 if shot == 1 else 4, dtype=torch.float64)
        found = known_probability(features, rows, shot=shot)
        assert torch.logit(found).tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_the_embedded_models_have_weights_of_their_own() -> None:
    embedded = [m.id for m in read_manifest().models.values() if m.status == "embedded"]
    assert len(embedded) >= 3
    for name in embedded:
        table = shipped_table(load_model(name).weights_hash)
        assert table is not None, f"{name} changed; run tools/fit_rejection.py"
        rules = ["mean"] if name == "protonet-lite0" else ["mean", "ridge"]
        few = 1 + sum(len(FEATURES[rule][0]) for rule in rules)
        many = few + sum(len(FEATURES[rule][1]) for rule in rules)
        assert {k: len(row) for k, row in table.items()} == {1: few, 2: many, 5: many, 10: many}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for i in range(4):
        draw_video(root / "right" / f"{i}.mp4", 20 + i)
        draw_video(root / "back" / f"{i}.mp4", 20 + i, speed=-7)
        still(root / "still" / f"{i}.mp4", 20 + i)
    return root


def test_classify_says_unknown(clips: Path) -> None:
    supports = {name: sorted((clips / name).glob("[012].mp4")) for name in ("right", "back")}
    model = default_model()
    bank = build_bank(supports, model=model)
    queries = [clips / name / "3.mp4" for name in ("right", "back", "still")]
    right, back, outlier = found = classify(queries, bank)
    assert right.known is not None
    assert back.known is not None
    assert outlier.known is not None
    assert min(right.known, back.known) > outlier.known
    for answer in found:
        assert answer.confidence == pytest.approx(answer.probability * (answer.known or 0))
        assert answer.to_dict()["confidence"] == pytest.approx(answer.confidence, abs=1e-6)
    between = (min(right.confidence, back.confidence) + outlier.confidence) / 2
    rejected = [p.rejected for p in classify(queries, bank, reject_below=between, batch_size=2)]
    assert rejected == [False, False, True]
    supports = SupportSet.encoded(model, bank.descriptors, bank.label_tensor, way=2)
    assert supports.pairs is not None
    known = supports.known(supports.pairs)
    assert known is not None
    sure = known * supports.probabilities(supports.logits(supports.pairs)).amax(-1)
    assert sure.shape == (6,)
    assert ((sure > 0) & (sure < 1)).all()


def test_other_models_keep_to_the_probability_alone(clips: Path, tmp_path: Path) -> None:
    own = default_model()
    torch.manual_seed(0)
    own.method.state_dict()  # its weights are not touched: the copy below is another model
    own.save(tmp_path / "other.safetensors")
    other = load(tmp_path / "other.safetensors")
    with torch.no_grad():
        next(other.method.parameters()).mul_(1.01)
    other.save(tmp_path / "changed.safetensors")
    changed = load(tmp_path / "changed.safetensors")
    assert shipped_table(changed.weights_hash) is None
    answer = classify(
        clips / "right" / "3.mp4",
        {name: [clips / name / "0.mp4"] for name in ("right", "back")},
        model=changed,
        reject_below=0.5,
    )
    assert answer.known is None
    assert answer.confidence == answer.probability >= 0.5
    assert not answer.rejected
    assert "known" not in answer.to_dict()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"0": [1, 2, 3]},
        {"1": [1, 2]},
        {"1": [1, 2, 3], "2": [1, 2, 3]},
        {"1": [1, 2, float("nan")]},
        {"1": [1, 2, True]},
        {"1": [1, 2, "3"]},
        {"1": [1, 2, 1e300]},
        {"one": [1, 2, 3]},
    ],
)
def test_weights_in_a_header_are_looked_at(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="weights of rejection"):
        read_table(given, "mean")


def test_a_model_keeps_its_own_weights(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path)
    table = {1: (0.5, 1.0, 2.0)}
    replace(load_model(folder), rejection=table).save(folder / "model.safetensors")
    model = load_model(folder)
    assert model.table == table
    draw_video(tmp_path / "a.mp4")
    still(tmp_path / "b.mp4")
    one = {"a": [tmp_path / "a.mp4"], "b": [tmp_path / "b.mp4"]}
    answer = classify(tmp_path / "a.mp4", one, model=model)
    assert answer.known is not None
    assert answer.confidence == answer.probability * answer.known
    two = {name: clips * 2 for name, clips in one.items()}  # it has no weights for more supports
    assert classify(tmp_path / "a.mp4", two, model=model).known is None
    record = {**model.record(), "rejection": {"1": [1.0]}}
    weights = model.method.weights()
    checkpoint.save(folder / "model.safetensors", weights, kind="model", record=record)
    with pytest.raises(CheckpointError, match="for 1 supports are no such weights"):
        load_model(folder)


def test_weights_shipped_are_such_weights() -> None:
    for name in ("a2m2-lite0", "protonet-lite0"):
        model = load_model(name)
        assert model.table is not None
        rule = model.method.rule
        texts = {str(shot): list(row) for shot, row in model.table.items()}
        assert read_table(texts, rule) == dict(model.table)
