"""Clips to predictions, under the options of one call: one after the other, or all together."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import torch
from torch import Tensor

from a2m2_zoo._utils.workers import ahead, apart
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.methods.base import Descriptors, concatenate
from a2m2_zoo.pose import frames_with_people
from a2m2_zoo.recognition.episode import Plan, Prediction
from a2m2_zoo.video import Clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from a2m2_zoo.backbones import Features
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.recognition.recognizer import Recognizer, Scores

R = TypeVar("R")
#: A clip, one that went through the backbone before with what came out, or why it cannot be read.
Read: TypeAlias = "Clip | tuple[Clip, Features] | A2M2Error"

_TIE = 1e-6  # of the best probability: classes nearer than that have not been told apart
_NOBODY = (
    "nobody was seen in it, while the supports show people: the answer goes by the pictures alone"
)

_NOBODY_ANYWHERE = (
    "nobody was seen in it, nor in the supports: the answer goes by the pictures alone"
)


@dataclass(frozen=True)
class Answers:
    """Clips to predictions, under the options of one call.

    Attributes:
        recognizer: What answers.
        top_k: Probabilities to keep; None keeps all.
        reject_below: See ``Prediction.rejected``.
        plans: Also give what pictures show.
    """

    recognizer: Recognizer
    top_k: int | None
    reject_below: float | None
    plans: bool

    def of(self, clips: Iterator[Read], batch_size: int) -> Iterator[Prediction | A2M2Error]:
        """The answers as the clips come, several at work at once; an error stays in its place."""
        for found in self._ahead(self._batch, clips, batch_size):
            yield from found

    def together(self, clips: Iterator[Read], batch_size: int) -> Iterator[Prediction | A2M2Error]:
        """The answers when all clips have been read; descriptors are held, pictures are not."""
        started = time.perf_counter()
        held: list[Clip | A2M2Error] = []
        encoded: list[tuple[Descriptors, Tensor]] = []
        for some, found in self._ahead(self._encoded, clips, batch_size):
            held += some
            encoded += [] if found is None else [found]
        read = [item for item in held if isinstance(item, Clip)]
        answered = iter(self._all(read, encoded, started) if read else ())
        for item in held:
            yield next(answered) if isinstance(item, Clip) else item

    def _ahead(
        self, work: Callable[[_Batch], R], clips: Iterator[Read], batch_size: int
    ) -> Iterator[R]:
        device = self.recognizer.model.device
        return ahead(work, _batches(clips, batch_size), device=device)

    def _encoded(
        self, batch: _Batch
    ) -> tuple[list[Clip | A2M2Error], tuple[Descriptors, Tensor] | None]:
        found = batch.encoded(self.recognizer.model)
        return [_without_frames(c) if isinstance(c, Clip) else c for c in batch.items], found

    @apart
    def _all(
        self,
        clips: list[Clip],
        encoded: list[tuple[Descriptors, Tensor]],
        started: float,
    ) -> list[Prediction]:
        every = concatenate([descriptors for descriptors, _ in encoded])
        vectors = torch.cat([means for _, means in encoded])
        scores = self.recognizer.scores_together(every)
        found = self._scored(clips, every, vectors, scores)
        seconds = (time.perf_counter() - started) / len(clips)
        return [replace(answer, seconds=seconds) for answer in found]

    def _batch(self, batch: _Batch) -> list[Prediction | A2M2Error]:
        started, clips = time.perf_counter(), batch.clips
        found: list[Prediction] = []
        if (both := batch.encoded(self.recognizer.model)) is not None:
            found = self._scored(clips, *both, self.recognizer.scores(both[0]))
        seconds = batch.waited + time.perf_counter() - started
        answered = (replace(answer, seconds=seconds / len(clips)) for answer in found)
        return [next(answered) if isinstance(item, Clip) else item for item in batch.items]

    def _scored(
        self, clips: list[Clip], encoded: dict[str, Tensor], vectors: Tensor, scores: Scores
    ) -> list[Prediction]:
        own = self.recognizer
        probabilities = scores.probabilities
        if own._cue is not None and own.model.method.own_text_weight is None:
            probabilities = own._cue.mixed(probabilities, vectors)
        known = [None] * len(clips) if scores.known is None else scores.known.tolist()
        plans = own._plans(encoded) if self.plans else [{} for _ in clips]
        rows = zip(*(clips, probabilities.tolist(), known, plans, own._seen(encoded)), strict=True)
        return [self._prediction(*row) for row in rows]

    def _prediction(
        self,
        clip: Clip,
        probabilities: list[float],
        known: float | None,
        plans: dict[str, Plan],
        people: NDArray[np.float32] | None,
    ) -> Prediction:
        own = self.recognizer
        seen = None if people is None else int(frames_with_people(torch.from_numpy(people)))
        missed: tuple[str, ...] = (
            () if seen != 0 else (_NOBODY if own.shows_people else _NOBODY_ANYWHERE,)
        )
        ranked = sorted(zip(own.class_names, probabilities, strict=True), key=lambda item: -item[1])
        (first, best), (other, second) = ranked[:2]
        tied = best - second <= _TIE * best and not own.supports.alike
        missed += (f"{first!r} and {other!r} are as probable as each other",) if tied else ()
        sure = best if known is None else best * known
        return Prediction(
            query=clip.source,
            label=first,
            probabilities=dict(ranked[: self.top_k]),
            margin=best - second,
            rejected=self.reject_below is not None and sure < self.reject_below,
            frames=clip.indices,
            model=own.model.id,
            seconds=0.0,
            warnings=(*clip.warnings, *missed, *own.warnings),
            plans=plans,
            text_weight=0.0 if own._cue is None else own._cue.weight,
            prompts={} if own._cue is None else own._cue.prompts,
            known=known,
            pose_frames=seen,
            people=people if self.plans else None,
        )


@dataclass(frozen=True)
class _Batch:
    """Clips that are worked on together.

    Attributes:
        items: The clips, an error in place of one that could not be read.
        features: Of each clip that went through the backbone before, by its place among the clips.
        waited: Seconds until all had been read.
    """

    items: list[Clip | A2M2Error]
    features: dict[int, Features]
    waited: float

    @property
    def clips(self) -> list[Clip]:
        return [item for item in self.items if isinstance(item, Clip)]

    def encoded(self, model: Model) -> tuple[dict[str, Tensor], Tensor] | None:
        """Descriptors and mean vectors of the clips; None where there is none."""
        clips = self.clips
        if not self.features:
            return model.encode_both(clips, batch_size=len(clips)) if clips else None
        parts = [
            model.encode_features(self.features[place])
            if place in self.features
            else model.encode_both([clip])
            for place, clip in enumerate(clips)
        ]
        descriptors, means = zip(*parts, strict=True)
        return concatenate([*descriptors]), torch.cat(means)


def _batches(clips: Iterator[Read], size: int) -> Iterator[_Batch]:
    while True:
        started = time.perf_counter()
        taken = list(islice(clips, min(size, sys.maxsize)))
        if not taken:
            return
        items = [item[0] if isinstance(item, tuple) else item for item in taken]
        read = [item for item in taken if not isinstance(item, A2M2Error)]
        features = {place: item[1] for place, item in enumerate(read) if isinstance(item, tuple)}
        yield _Batch(items, features, time.perf_counter() - started)


def _without_frames(clip: Clip) -> Clip:
    return replace(clip, frames=clip.frames[:0], uncropped=None)
