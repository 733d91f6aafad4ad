"""Clips to predictions, under the options of one call: one after the other, or all together."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.methods.base import Descriptors, concatenate
from a2m2_zoo.pose import frames_with_people
from a2m2_zoo.recognition.episode import Plan, Prediction
from a2m2_zoo.video import Clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from a2m2_zoo.recognition.recognizer import Recognizer, Scores

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

    def of(
        self, clips: Iterator[Clip | A2M2Error], batch_size: int
    ) -> Iterator[Prediction | A2M2Error]:
        """The answers as the clips come; an error stays in its place."""
        started = time.perf_counter()
        while held := list(islice(clips, min(batch_size, sys.maxsize))):
            answered = iter(self._batch([c for c in held if isinstance(c, Clip)], started))
            for item in held:
                yield next(answered) if isinstance(item, Clip) else item
            started = time.perf_counter()

    def together(
        self, clips: Iterator[Clip | A2M2Error], batch_size: int
    ) -> Iterator[Prediction | A2M2Error]:
        """The answers when all clips have been read; descriptors are held, pictures are not."""
        started = time.perf_counter()
        held: list[Clip | A2M2Error] = []
        encoded: list[Descriptors] = []
        vectors: list[Tensor] = []
        while some := list(islice(clips, min(batch_size, sys.maxsize))):
            read = [clip for clip in some if isinstance(clip, Clip)]
            if read:
                found = self.recognizer.model.encode_both(read, batch_size=len(read))
                encoded.append(found[0])
                vectors.append(found[1])
            held += [_without_frames(item) if isinstance(item, Clip) else item for item in some]
        read = [item for item in held if isinstance(item, Clip)]
        answered = iter(self._all(read, encoded, vectors, started) if read else ())
        for item in held:
            yield next(answered) if isinstance(item, Clip) else item

    @apart
    def _all(
        self,
        clips: list[Clip],
        encoded: list[Descriptors],
        vectors: list[Tensor],
        started: float,
    ) -> list[Prediction]:
        every = concatenate(encoded)
        scores = self.recognizer.scores_together(every)
        found = self._scored(clips, every, torch.cat(vectors), scores)
        seconds = (time.perf_counter() - started) / len(clips)
        return [replace(answer, seconds=seconds) for answer in found]

    @apart
    def _batch(self, clips: list[Clip], started: float) -> list[Prediction]:
        if not clips:
            return []
        model = self.recognizer.model
        encoded, vectors = model.encode_both(clips, batch_size=len(clips))
        # Kernels may sum in another order for another number of clips: on a CPU they are scored one by one.
        size = 1 if model.device.type == "cpu" else len(clips)
        found: list[Prediction] = []
        for start in range(0, len(clips), size):
            some = slice(start, start + size)
            part = {name: tensor[some].clone() for name, tensor in encoded.items()}
            scores = self.recognizer.scores(part)
            found += self._scored(clips[some], part, vectors[some], scores)
        seconds = (time.perf_counter() - started) / len(clips)
        return [replace(answer, seconds=seconds) for answer in found]

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
        missed = () if seen != 0 else (_NOBODY if own._people else _NOBODY_ANYWHERE,)
        ranked = sorted(zip(own.class_names, probabilities, strict=True), key=lambda item: -item[1])
        best, second = ranked[0][1], ranked[1][1]
        sure = best if known is None else best * known
        return Prediction(
            query=clip.source,
            label=ranked[0][0],
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


def _without_frames(clip: Clip) -> Clip:
    return replace(clip, frames=clip.frames[:0], uncropped=None)
