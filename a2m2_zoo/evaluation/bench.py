"""Measuring heads on the same episodes: encode once, score every episode, keep the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones import Features
from a2m2_zoo.data.draws import Draw, draw_episodes, labelled
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.baselines import Baseline
from a2m2_zoo.evaluation.openset import OpenFigures, evaluate_open
from a2m2_zoo.evaluation.protocol import evaluate, score_draw
from a2m2_zoo.features import FeatureCache, encode_clips
from a2m2_zoo.methods.base import Descriptors, Method, take
from a2m2_zoo.recognition.model import Model

#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
_TIMED = 8  # episodes that are scored together, three times, to time a method


@dataclass(frozen=True)
class Protocol:
    """Which episodes methods are compared on: those of one form at several numbers of shots.

    Attributes:
        way: Classes per episode.
        shots: Supports per class; one block of results each.
        query: Queries per class.
        episodes: How many.
        seed: Of the episodes, and of the weights of heads that are built for a comparison.
        open_set: Also ask queries of as many classes without supports.
    """

    way: int = 5
    shots: tuple[int, ...] = (1, 5)
    query: int = 1
    episodes: int = 10_000
    seed: int = 0
    open_set: bool = False

    def __post_init__(self) -> None:
        sizes = {"way": self.way, "query": self.query, "episodes": self.episodes}
        for name, size in (*sizes.items(), *(("shot", shot) for shot in self.shots)):
            if size < 1 + (name == "way"):
                raise ArgumentError(f"{name} is {size}; expected {1 + (name == 'way')} or more")
        if not self.shots or len(set(self.shots)) < len(self.shots):
            raise ArgumentError(f"shots are {list(self.shots)}; expected each once, such as 1, 5")

    def form(self, shot: int) -> EpisodeForm:
        """The episodes at one number of shots."""
        return EpisodeForm(
            way=self.way, shot=shot, query=self.query, episodes=self.episodes, seed=self.seed
        )

    @property
    def need(self) -> int:
        """Clips that every class must have, the same for all shots so that classes are the same."""
        return max(self.shots) + self.query

    @property
    def classes(self) -> int:
        """Classes that an episode takes, with and without supports."""
        return 2 * self.way if self.open_set else self.way


@dataclass(frozen=True)
class Run:
    """One method at one number of shots, not yet scored; see ``results.MethodResult``."""

    baseline: Baseline
    draw: Draw
    logits: Float[Tensor, "e q w"]
    calibration_error: float | None
    score_ms: float
    encode_ms: float
    open: OpenFigures | None = None

    @property
    def percent_right(self) -> Float[np.ndarray, " e"]:
        """Of every episode."""
        right: np.ndarray = (self.logits.argmax(-1) == self.draw.truth).numpy()
        return np.asarray(100 * right.mean(1))

    @property
    def sound(self) -> bool:
        """Whether all scores are finite numbers."""
        return bool(self.logits.isfinite().all())


@dataclass(frozen=True)
class Bench:
    """Where every method is measured."""

    model: Model
    features: FeatureCache
    classes: Mapping[str, Sequence[Path]]
    protocol: Protocol
    calibration: bool
    workers: int | None
    tell: Progress

    def runs(self, baseline: Baseline) -> Iterator[Run]:
        """The baseline at every number of shots."""
        clips, labels = labelled(self.classes)
        watched = _Watched(
            self.features.read(clips), len(clips), f"{baseline.name}: encoding", self.tell
        )
        start = time.perf_counter()
        descriptors = encode_clips(baseline.method, watched)
        encode_ms = 1000 * (time.perf_counter() - start - watched.waited) / len(clips)
        for shot in self.protocol.shots:
            label, form = f"{baseline.name}: {shot}-shot", self.protocol.form(shot)
            how: dict[str, Any] = {
                "workers": self.workers,
                "progress": lambda done, total, label=label: self.tell(label, done, total),
            }
            error = None
            if self.calibration and baseline.method is self.model.method:
                found = evaluate(self.model, descriptors, labels, form=form, **how)
                draw, logits, error = found.draw, found.logits, found.calibration_error
            else:
                draw = draw_episodes(labels, form)
                logits = score_draw(baseline.method, descriptors, draw, **how)
            figures = None
            if self.protocol.open_set and bool(logits.isfinite().all()):
                own = self.model if baseline.method is self.model.method else None
                figures = evaluate_open(
                    baseline.method, descriptors, labels, model=own, form=form, **how
                ).figures()
            yield Run(
                baseline,
                draw,
                logits,
                error,
                _score_ms(baseline.method, descriptors, draw, device=self.model.device),
                encode_ms,
                figures,
            )


class _Watched(Iterator[Features]):
    """Features with a report of progress and the time their reading took."""

    def __init__(
        self, features: Iterator[Features], total: int, label: str, tell: Progress
    ) -> None:
        self.features, self.total, self.label, self.tell = features, total, label, tell
        self.done, self.waited = 0, 0.0

    def __next__(self) -> Features:
        start = time.perf_counter()
        try:
            self.tell(self.label, self.done, self.total)
            found = next(self.features)
            self.done += len(found.pooled)
            return found
        finally:
            self.waited += time.perf_counter() - start


@torch.inference_mode()
def _score_ms(
    method: Method, descriptors: Descriptors, draw: Draw, *, device: torch.device
) -> float:
    """Milliseconds per episode: the best of three batches of a few episodes, after one to warm up."""
    some = slice(0, _TIMED)
    query, support = (
        {k: v.to(device) for k, v in take(descriptors, index[some]).items()}
        for index in (draw.query, draw.support)
    )
    labels = draw.labels.to(device)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        method.score(query, support, labels=labels, way=draw.way).cpu()
        times.append(time.perf_counter() - start)
    return 1000 * min(times[1:]) / len(draw.support[some])
