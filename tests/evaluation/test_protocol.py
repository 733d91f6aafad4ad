from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from a2m2_zoo import load_model
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm, EpisodePlan
from a2m2_zoo.errors import EpisodeError
from a2m2_zoo.evaluation.protocol import evaluate
from a2m2_zoo.evaluation.statistics import expected_calibration_error, mean_interval
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import take
from a2m2_zoo.methods.rules import fit_rule
from a2m2_zoo.recognition.calibration import fitted_scale, shipped_scale
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.recognition.support_set import SupportSet

COUNTS = (6, 4, 5, 7)
LABELS = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("a2m2-lite0")


def clips(model: Model) -> dict[str, torch.Tensor]:
    """Unit descriptors that lean towards their class."""
    generator = torch.Generator().manual_seed(0)
    assert isinstance(model.method, A2M2)
    size = len(model.method.layout)

    def lean(*shape: int) -> torch.Tensor:
        centres = torch.randn(4, *shape, generator=generator)
        noise = torch.randn(len(LABELS), *shape, generator=generator)
        return torch.nn.functional.normalize(centres[LABELS] + 2.5 * noise, dim=-1)

    return {"moments": lean(size, 528), "pooled": lean(1280)}


@pytest.mark.parametrize("centring", [5.0, 0.0])
@pytest.mark.parametrize("shot", [1, 3])
@pytest.mark.parametrize("shots", ["scores", "ridge"])
def test_the_protocol_is_a_loop_over_episodes(
    model: Model, shot: int, centring: float, shots: str
) -> None:
    changed = {"centring": centring, "shots": shots}
    method = A2M2(dataclasses.replace(model.method.config, **changed))
    method.load_state_dict(model.method.state_dict())
    ours = dataclasses.replace(model, method=method)
    encoded = clips(ours)
    outcome = evaluate(
        ours, encoded, LABELS, form=EpisodeForm(way=3, shot=shot, episodes=7, seed=2)
    )
    drawn = EpisodePlan(COUNTS, way=3, shot=shot, query=1, seed=2).episodes(0, 7)
    first = np.concatenate([[0], np.cumsum(COUNTS)[:-1]])
    labels = torch.arange(3).repeat_interleave(shot)
    for e in range(7):
        s = (first[drawn.classes[e]][:, None] + drawn.support[e]).ravel()
        q = (first[drawn.classes[e]][:, None] + drawn.query[e]).ravel()
        supports, queries = take(encoded, torch.from_numpy(s)), take(encoded, torch.from_numpy(q))
        with torch.inference_mode():
            logits = ours.logits(queries, supports, labels=labels, way=3)
        torch.testing.assert_close(outcome.logits[e], logits, atol=2e-5, rtol=1e-4)
        scale = SupportSet.encoded(ours, supports, labels, way=3).scale
        top, answer = (logits.double() * scale).softmax(-1).max(-1)
        assert outcome.right[e].tolist() == (answer == torch.arange(3)).tolist()
        np.testing.assert_allclose(outcome.confidence[e], top.numpy(), atol=1e-3)


def test_no_source_stands_on_both_sides() -> None:
    labels = torch.arange(4).repeat_interleave(6)
    sources = torch.arange(6).repeat(4)  # one clip of each class in each of six recordings
    form = EpisodeForm(way=3, shot=2, episodes=50, seed=4)
    draw = draw_episodes(labels, form, sources=sources)
    for e in range(50):
        assert labels[draw.query[e]].tolist() == draw.classes[e].tolist()
        assert labels[draw.support[e]].tolist() == draw.classes[e].repeat_interleave(2).tolist()
        assert not set(sources[draw.query[e]].tolist()) & set(sources[draw.support[e]].tolist())
    again = draw_episodes(labels, dataclasses.replace(form, episodes=20), sources=sources)
    assert torch.equal(again.support, draw.support[:20])
    with pytest.raises(EpisodeError, match="share no source"):
        draw_episodes(labels, form, sources=torch.zeros_like(sources))


def test_the_scale_of_many_shots_is_the_leave_one_out_fit(model: Model) -> None:
    encoded = take(clips(model), torch.tensor([0, 1, 2, 6, 7, 8]))
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    pairs = model.pairs(encoded, encoded)
    assert pairs is not None
    scored = fit_rule("mean", pairs, labels, way=2).by_the_others()
    expected = fitted_scale(scored, labels, prior=shipped_scale(model.scales, 3))
    assert float(SupportSet.encoded(model, encoded, labels, way=2).scale) == pytest.approx(
        float(expected)
    )


def test_few_clips_are_refused(model: Model) -> None:
    with pytest.raises(EpisodeError, match="5-way episodes need 5 classes"):
        evaluate(model, clips(model), LABELS, form=EpisodeForm(episodes=1))
    with pytest.raises(EpisodeError, match="need 5 clips per class"):
        evaluate(model, clips(model), LABELS, form=EpisodeForm(way=2, shot=4, episodes=1))


def test_interval_and_calibration_against_plain_formulas() -> None:
    values = np.random.default_rng(0).random(50)
    mean, half = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    assert half == pytest.approx(1.96 * np.sqrt(((values - mean) ** 2).mean()) / math.sqrt(50))
    confidence = np.random.default_rng(1).random(400)
    right = np.random.default_rng(2).random(400) < 0.5
    total = 0.0
    for b in range(15):
        inside = (confidence >= b / 15) & ((confidence < (b + 1) / 15) | (b == 14))
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert expected_calibration_error(confidence, right) == pytest.approx(total)
