from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import draw_video, three_classes

from a2m2_zoo import load_model
from a2m2_zoo.cli import main
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.openset import draw_open, evaluate_open
from a2m2_zoo.evaluation.results import Comparison
from a2m2_zoo.evaluation.statistics import accuracy_at, auroc
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.support_set import SupportSet

pytestmark = pytest.mark.usefixtures("seen_once")

LABELS = torch.arange(12).repeat_interleave(7)


def clips(spread: float) -> dict[str, torch.Tensor]:
    """Descriptors of a ProtoNet head: twelve directions, and noise."""
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(12, 64), dim=-1)[LABELS]
    return {"mean": centres + spread * torch.randn(len(LABELS), 64)}


def test_the_known_half_is_the_standard_protocol() -> None:
    form = EpisodeForm(way=4, shot=2, query=3, episodes=20, seed=5)
    closed, opened = draw_episodes(LABELS, form), draw_open(LABELS, form)
    known = opened.truth < 4
    assert torch.equal(opened.support, closed.support)
    assert torch.equal(opened.query[:, known], closed.query)
    assert torch.equal(opened.classes, closed.classes)
    assert torch.equal(opened.truth[known], closed.truth)
    assert known.sum() == (~known).sum() == 12
    outliers = LABELS[opened.query[:, ~known]]
    assert not (outliers[:, :, None] == opened.classes[:, None]).any()


def test_too_few_classes_for_outliers() -> None:
    with pytest.raises(EpisodeError, match="12"):
        draw_open(LABELS, EpisodeForm(way=7))


@pytest.mark.parametrize("shot", [1, 3])
def test_figures_against_plain_loops_and_single_episodes(shot: int) -> None:
    model, found = load_model("protonet-lite0"), clips(0.15)
    form = EpisodeForm(way=3, shot=shot, query=2, episodes=15, seed=1)
    outcome = evaluate_open(model.method, found, LABELS, model=model, form=form)
    draw = outcome.draw
    for e in (0, 9):
        support, query = take(found, draw.support[e]), take(found, draw.query[e])
        supports = SupportSet.encoded(model, support, draw.labels, way=3)
        pairs = model.pairs(query, support)
        assert pairs is not None
        known = supports.known(pairs)
        assert known is not None
        best = supports.probabilities(supports.logits(pairs)).amax(-1)
        np.testing.assert_allclose(outcome.known[e], known, atol=1e-5)
        np.testing.assert_allclose(outcome.confidence[e], known * best, atol=1e-5)
        answers = model.logits(query, support, labels=draw.labels, way=3).argmax(-1)
        assert outcome.right[e].tolist() == (answers == draw.truth).tolist()
    figures = outcome.figures()
    areas = []
    for row in outcome.known:
        pairs_won = [(a > b) + (a == b) / 2 for a in row[:6] for b in row[6:]]
        areas.append(sum(pairs_won) / len(pairs_won))
    assert figures.auroc == pytest.approx(np.mean(areas))
    assert figures.accuracy == pytest.approx(100 * outcome.right[:, :6].mean())
    assert figures.accuracy_answered >= figures.accuracy
    assert figures.calibration_error is not None
    baseline = evaluate_open(model.method, found, LABELS, form=form)
    assert not baseline.calibrated
    assert baseline.figures().calibration_error is None
    assert np.array_equal(baseline.right, outcome.right)


def test_workers_do_not_change_the_result() -> None:
    model, found, form = load_model("protonet-lite0"), clips(0.2), EpisodeForm(shot=5, episodes=100)
    one, many = (
        evaluate_open(model.method, found, LABELS, model=model, form=form, workers=workers)
        for workers in (1, 3)
    )
    assert np.array_equal(one.known, many.known)
    assert np.array_equal(one.confidence, many.confidence)


def test_clear_classes_are_told_from_outliers_and_noise_is_not() -> None:
    model, form = load_model("protonet-lite0"), EpisodeForm(shot=5, episodes=300)
    clear, noise = (
        evaluate_open(model.method, clips(s), LABELS, model=model, form=form).figures()
        for s in (0.02, 50.0)
    )
    assert clear.auroc > 0.99
    assert clear.auroc_pooled > 0.95
    assert clear.accuracy == 100
    assert noise.auroc == pytest.approx(0.5, abs=0.03)


def test_auroc_and_accuracy_at_coverage() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 9, 200) / 9, random.random(200) < 0.3
    wins = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(wins))
    assert accuracy_at(scores, positive, 1.0) == pytest.approx(positive.mean())


def test_open_set_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = three_classes(tmp_path / "data")
    for i in range(3):
        draw_video(data / "fast" / f"f{i}.mp4", 20 + i, speed=11)
    shared = ["--way", "2", "--episodes", "30", "--cache", str(tmp_path / "c"), "--open-set"]
    result = tmp_path / "r.json"
    call = ["compare", str(data), "--methods", "a2m2,otam", "--shot", "1,2", *shared]
    assert main([*call, "--out", str(result)]) == 0
    text = capsys.readouterr().out
    assert "open set" in text
    assert "AUROC" in text
    assert "Best raw score where no probability of being right is fitted: otam" in text
    found = Comparison.from_json(result.read_text())
    assert Comparison.from_json(found.to_json()) == found
    for row in found.results:
        assert row.open is not None
        assert row.open.accuracy == pytest.approx(
            row.accuracy
        )  # the known half is the standard one
        assert (row.open.calibration_error is None) == (row.method == "otam")
    older = json.loads(result.read_text())
    for row in older["results"]:
        del row["open"]
    before = Comparison.from_json(json.dumps(older))
    assert before == replace(found, results=tuple(replace(r, open=None) for r in found.results))
    assert main(["evaluate", str(data), "--shot", "1", *shared]) == 0
    assert "AUROC" in capsys.readouterr().out
    call = ["evaluate", str(data), "--shot", "1", *shared, "--way", "3"]
    assert main(call) == 2
    assert "3 known and 3 unknown" in capsys.readouterr().err
