"""The same episodes for several methods: their figures, and what is left out of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compare_maker import Guess, GuessConfig
from makers import draw_video, three_classes

from a2m2_zoo.backbones import build_backbone
from a2m2_zoo.data.draws import draw_episodes
from a2m2_zoo.data.index import class_folders
from a2m2_zoo.errors import ArgumentError, CheckpointError, EpisodeError
from a2m2_zoo.evaluation.baselines import build_baseline
from a2m2_zoo.evaluation.bench import Protocol
from a2m2_zoo.evaluation.compare import compare
from a2m2_zoo.evaluation.results import STATUSES, Comparison, Difference
from a2m2_zoo.methods import METHODS, build_method
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.video import read_clip

pytestmark = pytest.mark.usefixtures("seen_once", "two_more_methods")

CLIPS_PER_CLASS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = three_classes(tmp_path_factory.mktemp("data"))
    for i, (name, speed) in enumerate([("right", 3), ("back", -7), ("still", 0), ("fast", 9)]):
        for j in range(3, CLIPS_PER_CLASS) if i < 3 else range(CLIPS_PER_CLASS):
            draw_video(root / name / f"x{j}.mp4", 20 + j, speed=speed)
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


SIZES: dict[str, Any] = {"way": 3, "query": 2, "episodes": 24, "seed": 7}


def run(model: Model, folder: Path, cache: Path, **how: Any) -> Comparison:
    data = how.pop("data", None) or class_folders(folder)
    how = {"methods": ["guess", "a2m2-otam"], "workers": 1, "shots": (1, 2), **SIZES, **how}
    sizes = {name: how.pop(name) for name in ("shots", *SIZES)}
    return compare(model, data, cache=cache, protocol=Protocol(**sizes), **how)


def without_times(found: Comparison) -> Comparison:
    timeless = [dataclasses.replace(r, score_ms=0.0, encode_ms=0.0) for r in found.results]
    return dataclasses.replace(found, results=tuple(timeless))


@pytest.fixture(scope="module")
def found(model: Model, folder: Path, cache: Path) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "guess", (Guess, GuessConfig))
        return run(model, folder, cache)


def test_figures_are_those_of_a_loop_over_single_episodes(
    model: Model, folder: Path, found: Comparison
) -> None:
    data = class_folders(folder)
    clips = [read_clip(p, model.preprocess) for some in data.values() for p in some]
    labels = torch.arange(4).repeat_interleave(CLIPS_PER_CLASS)
    assert found.class_names == tuple(data)
    for shot in (1, 2):
        block = {result.method: result for result in found.of_shot(shot)}
        draw = draw_episodes(labels, Protocol(**SIZES).form(shot))
        right: dict[str, list[float]] = {}
        for name, result in block.items():
            baseline = build_baseline(name, model, seed=7)
            one = dataclasses.replace(model, method=baseline.method)
            encoded = one.encode(clips)
            confusion = np.zeros((4, 4), int)
            right[name] = []
            for e in range(24):
                supports, queries = take(encoded, draw.support[e]), take(encoded, draw.query[e])
                answers = one.logits(queries, supports, labels=draw.labels, way=3).argmax(-1)
                truth = [0, 0, 1, 1, 2, 2]
                right[name].append(100 * float(np.mean(answers.numpy() == truth)))
                for t, a in zip(truth, answers.tolist(), strict=True):
                    confusion[draw.classes[e, t], draw.classes[e, a]] += 1
            assert result.confusion == tuple(map(tuple, confusion.tolist()))
            assert result.accuracy == pytest.approx(np.mean(right[name]))
            assert result.interval == pytest.approx(1.96 * np.std(right[name]) / np.sqrt(24))
            share = 100 * confusion.diagonal() / confusion.sum(1)
            assert result.per_class == pytest.approx(share.tolist())
        for name, result in block.items():
            if name == "a2m2":
                assert result.difference is None
                continue
            paired = np.subtract(right[name], right["a2m2"])
            assert result.difference is not None
            assert result.difference.mean == pytest.approx(paired.mean())
            assert result.difference.interval == pytest.approx(1.96 * paired.std() / np.sqrt(24))
            assert result.difference.class_interval is not None


def test_what_a_comparison_says_of_itself(found: Comparison, folder: Path) -> None:
    assert found.reference == "a2m2"
    assert {(r.method, r.shot) for r in found.results} == {
        (m, s) for m in ("a2m2", "guess", "a2m2-otam") for s in (1, 2)
    }
    for shot in (1, 2):
        accuracies = [r.accuracy for r in found.of_shot(shot)]
        assert accuracies == sorted(accuracies, reverse=True)
    statuses = {r.method: (r.status, r.parameters) for r in found.results}
    assert statuses["guess"] == ("untrained", 16 * 3 + 3)
    assert {status for status, _ in statuses.values()} <= set(STATUSES)
    assert all(r.score_ms > 0 and r.encode_ms > 0 for r in found.results)
    assert all(r.calibration_error is None for r in found.results)
    assert found.receipt["methods"]["guess"]["status"] == "untrained"
    assert found.receipt["data"]["clips"] == 4 * CLIPS_PER_CLASS
    assert str(folder) not in found.to_json()
    assert found.clips == (CLIPS_PER_CLASS,) * 4


@pytest.mark.usefixtures("computed_anew")
def test_the_same_seed_gives_the_same_for_any_number_of_workers(
    model: Model, folder: Path, cache: Path, found: Comparison
) -> None:
    again = run(model, folder, cache, workers=2)
    assert without_times(again).to_json() == without_times(found).to_json()
    other = run(model, folder, cache, seed=8, methods=["a2m2"])
    assert other.of_shot(1)[0].confusion != next(
        r.confusion for r in found.of_shot(1) if r.method == "a2m2"
    )


def test_json_comes_back_equal_and_is_strict(found: Comparison) -> None:
    text = found.to_json()
    assert Comparison.from_json(text) == found
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    with pytest.raises(ArgumentError, match="format 9"):
        Comparison.from_json(json.dumps({**json.loads(text), "format": 9}))
    for rubbish in ("", "[]", "{}", '{"format": 1}', text.replace('"accuracy"', '"luck"')):
        with pytest.raises(ArgumentError, match="not a comparison"):
            Comparison.from_json(rubbish)


def test_bad_clips_and_small_classes_are_left_out_by_name(
    model: Model, folder: Path, cache: Path, tmp_path: Path
) -> None:
    data = {name: list(clips) for name, clips in class_folders(folder).items()}
    broken = tmp_path / "text.mp4"
    broken.write_text("this is a letter, not a clip")
    data["right"].append(broken)
    data["lonely"] = data["still"][:2]
    found = run(model, folder, cache, data=data)
    assert "lonely" not in found.class_names
    named = {(f.kind, f.name): f.reason for f in found.failures}
    assert set(named) == {("clip", "right/text.mp4"), ("class", "lonely")}
    assert named["class", "lonely"] == (
        "has 2 of the 4 clips that 2-shot episodes need; it is left out for every shot"
    )
    assert "\n" not in named["clip", "right/text.mp4"]
    clean = run(model, folder, cache)
    assert found.results[0].confusion == clean.results[0].confusion


def test_too_few_classes_are_one_clear_error(
    model: Model, folder: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(EpisodeError, match=r"4 of 4 classes have the 3 clips .* 5-way"):
        run(model, folder, cache, way=5, shots=(1,))
    with pytest.raises(EpisodeError, match="0 of 4 classes have the 11 clips that 9-shot"):
        run(model, folder, cache, shots=(1, 9))
    # Enough files, but not once those that nobody can read are gone.
    data = {name: list(clips) for name, clips in class_folders(folder).items()}
    for name in ("back", "right"):
        (tmp_path / f"{name}.mp4").write_text("no clip")
        data[name][0] = tmp_path / f"{name}.mp4"
    with pytest.raises(EpisodeError, match="2 of 4 classes"):
        run(model, folder, cache, data=data)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"way": 1}, "way is 1; expected 2 or more"),
        ({"shots": ()}, "expected each once"),
        ({"shots": (1, 1)}, "expected each once"),
        ({"shots": (0,)}, "shot is 0"),
        ({"query": 0}, "query is 0"),
        ({"episodes": 0}, "episodes is 0"),
        ({"methods": []}, "names none"),
        ({"methods": ["guess", "guess"]}, "guess twice"),
    ],
)
def test_wrong_sizes_are_refused(
    model: Model, folder: Path, cache: Path, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        run(model, folder, cache, **how)


def test_a_head_with_scores_that_are_no_numbers_is_left_out_of_the_table(
    model: Model, folder: Path, cache: Path
) -> None:
    found = run(model, folder, cache, methods=["broken"], shots=(1,))
    assert [r.method for r in found.results] == ["a2m2"]
    assert [(f.kind, f.name) for f in found.failures] == [("method", "broken")]
    found.to_json()
    bad = Guess(GuessConfig(channels=16, broken=True))
    own = dataclasses.replace(model, method=bad, method_name="guess")
    with pytest.raises(CheckpointError, match="not finite"):
        run(own, folder, cache, methods=["protonet"], shots=(1,))


def test_where_every_episode_holds_every_class_nothing_is_said_of_other_classes(
    model: Model, folder: Path, cache: Path
) -> None:
    found = run(model, folder, cache, way=4, shots=(1,))
    assert all(r.class_interval is None for r in found.results)
    assert {r.difference.class_interval for r in found.results if r.difference} == {None}
    found.to_json()


def test_all_methods_less_those_that_cannot_stand_on_the_backbone(
    model: Model, monkeypatch: pytest.MonkeyPatch, folder: Path, cache: Path
) -> None:
    for name in set(METHODS) - {"a2m2", "guess"}:
        monkeypatch.delitem(METHODS, name)
    monkeypatch.setattr(model.backbone, "pooled_channels", 101)
    found = run(model, folder, cache, methods=None, shots=(1,), episodes=4)
    controls = {f"a2m2-{a}" for a in ("diagonal", "global", "bimhm", "otam")}
    assert {r.method for r in found.results} == {"a2m2", *controls}
    assert [(f.name, f.reason) for f in found.failures] == [
        ("guess", "a guess stands on small backbones only")
    ]
    with pytest.raises(ArgumentError, match="small backbones only"):
        run(model, folder, cache, methods=["guess"])


def test_without_maps_methods_that_need_the_vector_only_are_compared(
    model: Model, folder: Path, cache: Path
) -> None:
    bare = build_backbone("tiny").eval()
    bare.stages = {}
    plain = dataclasses.replace(
        model,
        backbone=bare,
        backbone_hash="bare",
        method=build_method("protonet", {}).eval(),
        method_name="protonet",
    )
    found = run(plain, folder, cache, methods=None, shots=(1,), episodes=4)
    assert {"protonet", "bimhm", "otam"} <= {r.method for r in found.results}
    refused = {f.name: f.reason for f in found.failures if "maps" in f.reason}
    assert refused.keys() == {"a2m2", "molo", "strm"}
    with pytest.raises(ArgumentError, match="tiny gives no maps and A2M2 reads maps"):
        run(plain, folder, cache, methods=["a2m2"])


def test_the_calibration_error_is_that_of_the_models_own_head(
    model: Model, folder: Path, cache: Path
) -> None:
    found = run(model, folder, cache, methods=["a2m2", "guess"], calibration=True)
    errors = {(r.method, r.shot): r.calibration_error for r in found.results}
    assert 0 <= (errors["a2m2", 2] or -1) <= 1
    assert errors["guess", 2] is None


def test_progress_ends_where_it_should(model: Model, folder: Path, cache: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    run(model, folder, cache, progress=lambda what, done, total: last.update({what: (done, total)}))
    assert set(last) == {"reading clips"} | {
        f"{name}: {what}"
        for name in ("a2m2", "guess", "a2m2-otam")
        for what in ("encoding", "1-shot", "2-shot")
    }
    assert all(done == total for done, total in last.values()), last


def test_ridge_stands_beside_a_methods_own_rule_on_the_same_episodes(
    model: Model, folder: Path, cache: Path
) -> None:
    names = ["a2m2", "a2m2+ridge", "protonet+ridge"]
    done = run(model, folder, cache, methods=names)
    assert {result.method for result in done.results} == set(names)
    assert all(0 <= result.accuracy <= 100 for result in done.results)


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Difference(2.0, 0.5, 1.0, 0.001), "better"),
        (Difference(-2.0, 0.5, 1.0, 0.001), "worse"),
        (Difference(2.0, 0.5, 3.0, 0.001), "better on these classes"),
        (Difference(-2.0, 0.5, None, 0.001), "worse on these classes"),
        (Difference(2.0, 0.5, 1.0, 0.06), "no difference found"),
        (Difference(0.0, 0.0, 0.0, 1.0), "no difference found"),
    ],
)
def test_verdicts(difference: Difference, verdict: str) -> None:
    assert difference.verdict == verdict
