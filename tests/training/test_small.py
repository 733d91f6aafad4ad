"""Small sets: how they are divided, episodes that fit them, and the test of whether training helped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import training_maker as maker
from torch import nn

from a2m2_zoo.backbones import Features
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.methods.protonet import ProtoNet, ProtoNetConfig
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.dataset import Split
from a2m2_zoo.training.recipes import recipe
from a2m2_zoo.training.small import divided, fitted, halved, is_small
from a2m2_zoo.training.validation import Validation
from a2m2_zoo.training.verdict import FEWEST, Verdict, compared


def folders(classes: int, clips: int) -> dict[str, list[Path]]:
    return {f"c{c}": [Path(f"c{c}/{i:02}.mp4") for i in range(clips)] for c in range(classes)}


def every(split: Split) -> list[Path]:
    return sorted(split.clips)


@pytest.mark.parametrize("by", ["classes", "clips"])
def test_each_clip_has_one_place_and_the_seed_decides(by: str) -> None:
    given = folders(10, 20)
    first, again, other = (divided(given, by=by, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.held != other.held
    assert every(first) == sorted(clip for clips in given.values() for clip in clips)
    sizes = [sum(map(len, part.values())) for part in first.parts.values()]
    assert sizes == [120, 40, 40]
    assert first.same is (by == "clips")
    assert list(first.held) == list(first.judged)
    assert (set(first.held) == set(first.train)) is first.same
    assert bool(set(first.held) & set(first.train)) is first.same


def test_classes_are_held_out_where_there_are_enough() -> None:
    assert not divided(folders(8, 20)).same
    assert divided(folders(7, 20)).same
    assert (
        divided(folders(10, 20), share=0.2).held.keys()
        == divided(folders(10, 20), share=0.2, by="classes").held.keys()
    )


def test_what_cannot_be_told_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        EpisodeError,
        match=r": 3 clips of 3 classes would .* at least 6 of 2 classes are needed; use the model",
    ):
        divided(folders(3, 5))
    assert sum(map(len, divided(folders(6, 4)).judged.values())) == FEWEST
    for share in (0, 1, -0.1, 1.5):
        with pytest.raises(ArgumentError, match="the share to hold out is"):
            divided(folders(10, 20), share=share)
    with pytest.raises(ArgumentError, match="expected one of classes, clips"):
        divided(folders(10, 20), by="people")
    with pytest.raises(EpisodeError, match="too few to train on"):
        divided(folders(3, 20), by="classes", share=0.9)
    with pytest.raises(EpisodeError, match="2 clips of 1 class would be left to judge it by"):
        halved(Split(folders(4, 5), {"other": [Path(f"o/{i}.mp4") for i in range(5)]}))


def test_small_is_said_by_classes_and_clips() -> None:
    assert is_small(folders(10, 20))
    assert not is_small(folders(41, 2))
    assert not is_small(folders(5, 201))


@pytest.mark.parametrize(("classes", "clips"), [(10, 20), (3, 10), (6, 4), (8, 8), (2, 16)])
def test_episodes_fit_into_every_set_that_is_taken(classes: int, clips: int) -> None:
    split = divided(folders(classes, clips))
    own = recipe("small").training_config.to_dict()
    config = TrainingConfig.from_dict(fitted(split, {}, own))
    sound, lines = split.sound((), config)
    assert sound == split
    assert not lines
    counts = [len(some) for some in split.train.values()]
    assert config.way <= (config.pool or config.way) <= len(counts)
    assert config.shot + config.query <= min(counts)
    if split.same:  # all clips that are trained on are the supports, as they will be
        assert config.validate_shots == (min(counts),)
    if (classes, clips) == (10, 20):
        assert config.to_dict() == {**own, "pool": 6}


def test_what_was_asked_for_stays() -> None:
    own = recipe("small").training_config.to_dict()
    split = divided(folders(10, 20))
    assert fitted(split, {"way": 4, "shot": 3}, own)["way"] == 4
    made = fitted(split, {"batch": 2}, own)
    assert (made["batch"], made["deals"], made["pool"]) == (2, 1, 0)
    assert fitted(split, {"validate_shots": [3]}, own)["validate_shots"] == [3]
    for name in ("way", "shot", "query", "pool", "deals", "batch"):
        with pytest.raises(ArgumentError, match=name):  # said by the settings, as everywhere
            TrainingConfig.from_dict(fitted(split, {name: "many"}, own))


def test_a_class_that_is_too_small_goes_from_every_side() -> None:
    split = divided(folders(4, 10), by="clips")
    gone = split.train["c1"][1:]
    sound, lines = split.sound(gone, TrainingConfig(way=3, query=2, validate_shots=(1,)))
    assert [list(part) for part in sound.parts.values()] == [["c0", "c2", "c3"]] * 3
    assert lines == ["'c1' has 1 clip, 3 are needed to train on it"]
    split = divided(folders(10, 10))
    name = next(iter(split.held))
    sound, lines = split.sound(
        split.judged[name], TrainingConfig(way=3, query=2, validate_shots=(1,))
    )
    assert name not in sound.held
    assert sound.train == split.train
    assert lines == [f"{name!r} has 0 clips, 1 are needed to tell by whether training helped on it"]


def test_queries_are_those_that_are_asked_about() -> None:
    labels = torch.arange(4).repeat_interleave(6)
    asked = torch.arange(24) % 6 >= 4
    form = EpisodeForm(way=3, shot=2, query=2, episodes=50, seed=3)
    draw = draw_episodes(labels, form, asked=asked)
    assert asked[draw.query].all()
    assert not asked[draw.support].any()
    assert (labels[draw.support] == draw.classes[:, draw.labels]).all()
    assert (labels[draw.query] == draw.classes[:, draw.truth]).all()
    assert draw.query.unique().numel() == 8
    again = draw_episodes(labels, form, asked=asked)
    assert draw.support.equal(again.support)
    for wrong in ({"way": 5}, {"shot": 5}, {"query": 3}):
        with pytest.raises(EpisodeError, match="4 classes, with 4 supports and 2 queries"):
            draw_episodes(labels, EpisodeForm(**{"way": 3, **wrong}), asked=asked)


class Scaled(ProtoNet):
    """Counts the first channels for more: those tell the classes apart."""

    def __init__(self, factor: float) -> None:
        super().__init__(ProtoNetConfig())
        self.factor = nn.Parameter(torch.tensor(factor))

    def encode(self, features: Features) -> dict[str, torch.Tensor]:
        scale = torch.ones(maker.CHANNELS)
        scale[:4] = self.factor.detach()
        return super().encode(Features({}, features.pooled * scale))


def held() -> Validation:
    found, labels = maker.features(6, 12, seed=1)
    names = list("abcdef")
    asked = torch.arange(len(labels)) % 12 >= 4
    return Validation.of_features(found, labels, names=names, training_names=[], asked=asked)


def test_the_verdict_tells_better_from_equal_and_from_worse() -> None:
    config = maker.settings(validate_episodes=200, validate_shots=(1, 3))
    better = compared(Scaled(1.0), Scaled(4.0), held(), config)
    assert better.better
    assert better.difference == pytest.approx(better.after - better.before)
    assert better.difference > better.interval > 0
    assert (better.clips, better.way, better.shots) == (48, 3, (1, 3))
    worse = compared(Scaled(4.0), Scaled(1.0), held(), config)
    assert not worse.better
    assert (worse.difference, worse.p_value) == (-better.difference, better.p_value)
    equal = compared(Scaled(1.0), Scaled(1.0), held(), config)
    assert (equal.better, equal.difference, equal.p_value) == (False, 0.0, 1.0)
    assert compared(Scaled(1.0), Scaled(4.0), held(), config) == better


def test_clips_are_what_is_counted_and_not_episodes() -> None:
    few, many = (
        compared(Scaled(1.0), Scaled(1.3), held(), maker.settings(validate_episodes=count))
        for count in (300, 3000)
    )
    assert few.clips == many.clips == 48
    assert (
        many.interval > 0.5 * few.interval
    )  # ten times the episodes of the same clips tell little more


def test_a_verdict_in_words_and_in_the_receipt() -> None:
    found = Verdict(60.0, 58.5, -1.5, 2.25, 0.2, 40, 4, (1, 5))
    assert found.shown == "-1.5 ± 2.2 points on 40 clips, p = 0.200"
    assert found.to_dict()["better"] is False
    assert found.to_dict()["shots"] == [1, 5]
