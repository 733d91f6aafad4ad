"""All methods under one protocol: the same clips, the same features, the same episodes."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from traceback import extract_tb
from typing import Any

import numpy as np

from a2m2_zoo._utils.notebooks import Bar
from a2m2_zoo._utils.plugins import said
from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import plain
from a2m2_zoo._version import __version__
from a2m2_zoo.data.lists import Listing
from a2m2_zoo.errors import A2M2Error, ArgumentError, CheckpointError, EpisodeError, PluginError
from a2m2_zoo.evaluation.baselines import Baseline, build_baseline, check_baselines, known_baselines
from a2m2_zoo.evaluation.bench import Bench, Progress, Protocol, Run
from a2m2_zoo.evaluation.dataset import absent, as_listing, copies, used
from a2m2_zoo.evaluation.leaving_out import usable
from a2m2_zoo.evaluation.results import BREAKS, Comparison, Difference, Failure, MethodResult
from a2m2_zoo.evaluation.statistics import (
    class_interval,
    confusion_counts,
    mean_interval,
    paired_p_value,
)
from a2m2_zoo.features import FeatureCache, default_cache
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.zoo.choose import AnyModel, as_model

_STANDARD = Protocol()


@plain()
def compare(
    model: AnyModel,
    data: Mapping[str, Sequence[Path]] | Listing,
    *,
    methods: Sequence[str] | None = None,
    protocol: Protocol = _STANDARD,
    workers: int | None = None,
    cache: str | Path | None = None,
    name: str = "clips",
    calibration: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Run methods over the same episodes of the same clips, on one backbone.

    The model's own head always takes part: all differences are to it. Clips that cannot be read, and
    classes that then have fewer than max(shots) + query clips, are left out for every method and
    named in ``failures``.

    Args:
        model: A model, its name or path; its backbone and preprocessing serve all methods.
        data: Class name → clips, or what ``data.lists`` read, of which ``failures`` then says what is
            missing. Which clips an episode of a seed holds follows from their order and that of
            the classes; the command line sorts both.
        methods: Names that ``build_baseline`` takes; if None ``known_baselines``, less those that cannot
            stand on this backbone.
        protocol: The episodes. With ``open_set`` it is also measured how well queries of other classes are
            told apart, see ``OpenFigures``: the model's own head by its probabilities, others by their best
            score.
        workers: Clips decoded, and threads that score; None chooses. It does not change the result.
        cache: Folder of cached features; ``features.default_cache()`` if None.
        name: What to call the data in the title and the receipt.
        calibration: Also measure how far the probabilities of the model's own head can be trusted.
        progress: Told of every step.

    Raises:
        ArgumentError: A head that was asked for cannot stand on this backbone.
        ModelNotFoundError: A method has an unknown name.
        EpisodeError: Too few classes have enough clips.
        PluginError: The model's own head, of somebody else's code, fails.
    """
    model = as_model(model)
    tell: Progress = progress or Bar()
    baselines, refused = _baselines(model, methods, seed=protocol.seed)
    people = model.pose and any(baseline.method.reads_people for baseline in baselines)
    features = FeatureCache(
        default_cache() if cache is None else cache,
        backbone=model.backbone,
        backbone_hash=model.backbone_hash,
        preprocess=model.preprocess,
        stages=sorted({stage for baseline in baselines for stage in baseline.method.stages}),
        people=people,
    )
    fill = partial(features.fill, workers=workers, progress=partial(tell, "reading clips"))
    listing = as_listing(data)
    gone = absent(listing)
    try:
        classes, left_out = usable(listing.classes, protocol, fill)
    except EpisodeError as error:
        raise EpisodeError("; ".join([str(error), *(line.reason for line in gone)])) from None
    clips = used(classes, listing, features.content)
    bench = Bench(model, features, classes, protocol, calibration, workers, tell)
    measured = [_measured(bench, baseline) for baseline in baselines]
    if isinstance(measured[0], Failure):
        raise PluginError(f"{measured[0].name} {measured[0].reason}")
    runs = [run for found in measured if not isinstance(found, Failure) for run in found]
    failed = [found for found in measured if isinstance(found, Failure)]
    lost = [run for run in runs if not run.sound]
    if lost and lost[0].baseline is baselines[0]:
        raise CheckpointError(f"{model.id!r} gives scores that are not finite; its weights are bad")
    results = [
        result
        for shot in protocol.shots
        for result in _results([r for r in runs if r.draw.shot == shot and r.sound], len(classes))
    ]
    nan = [
        Failure("method", r.baseline.name, f"{r.draw.shot}-shot: its scores are not finite")
        for r in lost
    ]
    counts = tuple(len(clips) for clips in classes.values())
    return Comparison(
        title=f"{name}: {protocol.way}-way {_listed(protocol.shots)}-shot, {len(counts)} classes, "
        f"{sum(counts):,} clips, {counted(protocol.episodes, 'episode')}, seed {protocol.seed}",
        reference=baselines[0].name,
        class_names=tuple(classes),
        clips=counts,
        way=protocol.way,
        shots=protocol.shots,
        query=protocol.query,
        episodes=protocol.episodes,
        seed=protocol.seed,
        model=model.id,
        receipt=_receipt(model, baselines, {"name": name, **clips.facts}, protocol, people=people),
        results=tuple(results),
        failures=(*refused, *failed, *gone, *left_out, *nan),
        copies=copies(clips),
    )


def _baselines(
    model: Model, methods: Sequence[str] | None, *, seed: int
) -> tuple[list[Baseline], list[Failure]]:
    """Heads, the model's own first, and those that cannot stand here where none was asked for."""
    names = list(known_baselines(model) if methods is None else methods)
    check_baselines(names, model)
    own, *others = dict.fromkeys((model.method_name, *names))
    found = [_built(name, model, seed=seed, strict=methods is not None) for name in others]
    baselines = [build_baseline(own, model), *(r for r in found if isinstance(r, Baseline))]
    return baselines, [r for r in found if isinstance(r, Failure)]


def _measured(bench: Bench, baseline: Baseline) -> list[Run] | Failure:
    """A method at every number of shots, or what an error of somebody else's code was, and where."""
    try:
        return list(bench.runs(baseline))
    except Exception as error:
        module = type(baseline.method).__module__
        if isinstance(error, A2M2Error) or module.startswith("a2m2_zoo."):
            raise
        file = getattr(sys.modules.get(module), "__file__", None) or ""
        inside = [frame for frame in extract_tb(error.__traceback__) if frame.filename == file]
        where = f" ({Path(file).name}, line {inside[-1].lineno})" if inside else ""
        return Failure("method", baseline.name, f"{BREAKS} {said(error)}{where}")


def _built(name: str, model: Model, *, seed: int, strict: bool) -> Baseline | Failure:
    try:
        return build_baseline(name, model, seed=seed)
    except ArgumentError as error:
        if strict:
            raise
        return Failure("method", name, str(error))


def _results(runs: Sequence[Run], count: int) -> list[MethodResult]:
    """Results at one number of shots, best first; the reference's run comes first."""
    reference = runs[0].percent_right
    results = [_result(run, None if run is runs[0] else reference, count) for run in runs]
    return sorted(results, key=lambda result: -result.accuracy)


def _result(run: Run, reference: np.ndarray | None, count: int) -> MethodResult:
    classes, right = run.draw.classes.numpy(), run.percent_right
    accuracy, interval = mean_interval(right)
    confusion = confusion_counts(classes, run.logits.argmax(-1).numpy(), count=count)
    queries, hits = confusion.sum(1).tolist(), confusion.diagonal().tolist()
    difference = None
    if reference is not None:
        paired = right - reference
        difference = Difference(
            *mean_interval(paired),
            class_interval(paired, classes, count=count),
            paired_p_value(paired),
        )
    return MethodResult(
        method=run.baseline.name,
        shot=run.draw.shot,
        status=run.baseline.status,
        parameters=run.baseline.parameters,
        accuracy=accuracy,
        interval=interval,
        class_interval=class_interval(right, classes, count=count),
        calibration_error=run.calibration_error,
        per_class=tuple(100 * h / n if n else None for h, n in zip(hits, queries, strict=True)),
        confusion=tuple(map(tuple, confusion.tolist())),
        difference=difference,
        score_ms=run.score_ms,
        encode_ms=run.encode_ms,
        open=run.open,
    )


def _receipt(
    model: Model,
    baselines: Sequence[Baseline],
    data: Mapping[str, Any],
    protocol: Protocol,
    *,
    people: bool,
) -> dict[str, Any]:
    return {
        "a2m2_zoo": __version__,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in ("torch", "numpy", "av")},
        "model": {
            "id": model.id,
            "weights_hash": model.weights_hash,
            "backbone": model.backbone_name,
            "backbone_hash": model.backbone_hash,
            "runtime": model.runtime,
            "people": people,
            "preprocess": model.preprocess.to_dict(),
        },
        "data": dict(data),
        "protocol": {**asdict(protocol), "shots": list(protocol.shots)},
        "methods": {
            baseline.name: {
                "status": baseline.status,
                "parameters": baseline.parameters,
                "weights_hash": baseline.weights_hash,
                "config": baseline.method.config.to_dict(),
            }
            for baseline in baselines
        },
    }


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
