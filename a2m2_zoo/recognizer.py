"""A model that knows its supports: made once, asked as often as you like.

Everything that follows from the supports alone is computed when a ``Recognizer`` is made: their scores with
each other, how far their probabilities can be trusted, what a query of none of the classes looks like, and the
texts of the classes. A query then costs its own decoding, encoding and scores. ``classify``, spotting, the page
and the export answer through it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._typing import Float
from a2m2_zoo.episode import Plan, Prediction, Source
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError
from a2m2_zoo.methods.base import Descriptors
from a2m2_zoo.support_set import SupportSet
from a2m2_zoo.supports import resolve_bank
from a2m2_zoo.text import ClassNames, TextCue, check_weight, class_prompts
from a2m2_zoo.video import Clip, Limits, read_clip, read_clips

if TYPE_CHECKING:
    from a2m2_zoo.bank import SupportBank
    from a2m2_zoo.episode import Episode, Supports
    from a2m2_zoo.model import Model


@dataclass(frozen=True)
class Scores:
    """What a model finds for Q queries.

    Attributes:
        logits: (Q, W) raw scores of the classes.
        probabilities: (Q, W) calibrated, from the supports alone; each row sums to one.
        known: (Q,) probability that a query is of any of the classes; None for a model that cannot tell.
    """

    logits: Float[Tensor, "q w"]
    probabilities: Float[Tensor, "q w"]
    known: Float[Tensor, " q"] | None


class Recognizer:
    """A model bound to its supports. Safe to share between threads.

    Args:
        model: From ``load_model``.
        supports: A mapping {class: [clips]}, a folder with one folder per class, a saved bank's file, an
            ``Episode`` or a ``SupportBank``.
        class_names: Class → the name that goes into the templates, or a list of prompts that are taken as
            they are. A class that is not in it goes by its own name with ``_`` and ``-`` as spaces.
        text_weight: α in p ∝ p_text^α · p_supports^(1−α), for models with a text tower; 0 is the supports
            alone.
        templates: One or several texts with ``{}`` where the name goes.
        workers: Supports decoded in parallel.
        limits: Bounds on each file of the supports.

    Attributes:
        model: The model.
        bank: The supports, encoded.
        supports: What follows from them.

    Raises:
        EpisodeError: The supports are no choice: fewer than two classes, or a class without clips.
        BankError: The bank was made by another model.
        ArgumentError: ``text_weight`` asks for a text tower that the model does not have.

    >>> from a2m2_zoo import load_model
    >>> from a2m2_zoo.data.synthetic import draw_named
    >>> clips = {name: [draw_named(name, 0, studio=2)] for name in ("kick", "squat")}
    >>> recognizer = Recognizer(load_model(), clips)
    >>> recognizer(draw_named("kick", 1, studio=2)).label
    'kick'
    """

    def __init__(
        self,
        model: Model,
        supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
        *,
        class_names: ClassNames | None = None,
        text_weight: float = 0.0,
        templates: str | Sequence[str] | None = None,
        workers: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        bank = resolve_bank(supports, model=model, workers=workers, limits=limits)
        bank.check(model)
        if len(bank.class_names) < 2:
            raise EpisodeError(
                f"the supports have one class, {bank.class_names[0]!r}; expected two or more to choose "
                "from"
            )
        self.model, self.bank = model, bank
        self._labels, self._way = bank.label_tensor, len(bank.class_names)
        self._cue = _cue(model, bank, text_weight, class_names, templates)
        self.supports = SupportSet.encoded(model, bank.descriptors, self._labels, way=self._way)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of ``Scores``."""
        return self.bank.class_names

    def __repr__(self) -> str:
        return f"Recognizer({self.model.id}, {self._way} classes, {len(self._labels)} supports)"

    def __call__(self, query: Source, **options: Any) -> Prediction:
        """The action of one clip; options as of ``classify``.

        Raises:
            VideoError: It cannot be read.
        """
        answer = next(self.iter_classify([query], **options))
        if isinstance(answer, A2M2Error):
            raise answer
        return answer

    def iter_classify(
        self,
        queries: Sequence[Source],
        *,
        top_k: int | None = None,
        reject_below: float | None = None,
        batch_size: int | None = None,
        plans: bool = False,
        workers: int | None = None,
        limits: Limits | None = None,
    ) -> Iterator[Prediction | A2M2Error]:
        """The answers one after the other as they come, an error in place of a clip that cannot be read.

        Memory does not grow with the number of queries.

        Args:
            queries: Clips.
            top_k: Keep the probabilities of the k most probable classes only.
            reject_below: Mark a prediction as rejected when its ``confidence`` is lower than this.
            batch_size: Clips that go through the backbone together. It changes speed, not answers.
            plans: Add how the frames were matched, which takes as long again as the answer's own scores.
            workers: Clips decoded in parallel.
            limits: Bounds on each file.

        Raises:
            ArgumentError: An option is out of range. Raised at the call.
        """
        if top_k is not None and top_k < 1:
            raise ArgumentError(f"top_k is {top_k}; expected 1 or more")
        if batch_size is not None and batch_size < 1:
            raise ArgumentError(f"batch_size is {batch_size}; expected 1 or more")
        if reject_below is not None and not 0 <= reject_below <= 1:
            raise ArgumentError(f"reject_below is {reject_below}; expected a probability, 0 to 1")
        clips = read_clips(queries, self.model.preprocess, workers=workers, limits=limits or Limits())
        answers = _Answers(self, top_k, reject_below, plans)
        return answers.of(clips, len(queries), batch_size or self.model.default_batch_size)

    def scores(self, query: Descriptors) -> Scores:
        """What the supports say of encoded queries.

        Args:
            query: Descriptors of Q clips, from ``Model.encode``.
        """
        return self._scores(query)

    def _scores(self, query: Descriptors) -> Scores:
        model, bank, supports = self.model, self.bank, self.supports
        pairs = None if supports.evidence is None else model.pairs(query, bank.descriptors)
        known = None if pairs is None else supports.known(pairs)
        if pairs is not None and model.method.own_text_weight is None:
            logits = supports.logits(pairs)  # the same means, without scoring every pair again
        else:
            text = None if self._cue is None else self._cue.texts
            logits = model.logits(
                query, bank.descriptors, labels=self._labels, way=self._way, text=text
            ).double()
        return Scores(logits, supports.probabilities(logits), known)

    def plans(self, query: Source | Clip, *, limits: Limits | None = None) -> dict[str, Plan]:
        """For every class its best matching support and how the frames were matched.

        Args:
            query: A clip.
            limits: Bounds on its file.

        Returns:
            Nothing for a method that matches no frames.

        Raises:
            VideoError: It cannot be read.
        """
        clip = query
        if not isinstance(clip, Clip):
            clip = read_clip(clip, self.model.preprocess, limits=limits or Limits())
        return self._plans(self.model.encode([clip]))[0]

    def _plans(self, encoded: Descriptors) -> list[dict[str, Plan]]:
        count = len(next(iter(encoded.values())))
        found = self.model.frame_plans(encoded, self.bank.descriptors)
        if found is None:
            return [{} for _ in range(count)]
        return [self._best(transport, cosines) for transport, cosines in zip(*found, strict=True)]

    def _best(self, transport: Tensor, similarity: Tensor) -> dict[str, Plan]:
        value = (transport * similarity).sum((-2, -1))
        best = {}
        for label, name in enumerate(self.class_names):
            members = (self._labels == label).nonzero()[:, 0]
            n = int(members[value[members].argmax()])
            best[name] = Plan(n, transport[n].numpy().copy(), similarity[n].numpy().copy())
        return best


@dataclass(frozen=True)
class _Answers:
    """Clips to predictions, under the options of one call."""

    recognizer: Recognizer
    top_k: int | None
    reject_below: float | None
    plans: bool

    def of(
        self, clips: Iterator[Clip | A2M2Error], count: int, batch_size: int
    ) -> Iterator[Prediction | A2M2Error]:
        started = time.perf_counter()
        held: list[Clip | A2M2Error] = []
        for position, clip in enumerate(clips, start=1):
            held.append(clip)
            if len(held) < batch_size and position < count:
                continue
            answered = iter(self._batch([c for c in held if isinstance(c, Clip)], started))
            for item in held:
                yield next(answered) if isinstance(item, Clip) else item
            held, started = [], time.perf_counter()

    def _batch(self, clips: list[Clip], started: float) -> list[Prediction]:
        if not clips:
            return []
        own = self.recognizer
        encoded, vectors = own.model.encode_both(clips, batch_size=len(clips))
        scores = own._scores(encoded)
        probabilities = scores.probabilities
        if own._cue is not None and own.model.method.own_text_weight is None:
            probabilities = own._cue.mixed(probabilities, vectors)
        known = [None] * len(clips) if scores.known is None else scores.known.tolist()
        plans = own._plans(encoded) if self.plans else [{} for _ in clips]
        seconds = (time.perf_counter() - started) / len(clips)
        rows = zip(clips, probabilities.tolist(), known, plans, strict=True)
        return [self._one(*row, seconds) for row in rows]

    def _one(
        self,
        clip: Clip,
        probabilities: list[float],
        known: float | None,
        plans: dict[str, Plan],
        seconds: float,
    ) -> Prediction:
        own = self.recognizer
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
            seconds=seconds,
            warnings=clip.warnings,
            plans=plans,
            text_weight=0.0 if own._cue is None else own._cue.weight,
            prompts={} if own._cue is None else own._cue.prompts,
            known=known,
        )
