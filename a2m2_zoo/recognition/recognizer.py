"""A model that knows its supports: made once, asked as often as you like.

Everything that follows from the supports alone is computed once: their scores with each other and the texts
of the classes when a ``Recognizer`` is made, how far probabilities can be trusted and what a query of none of
the classes looks like with the first query. A query then costs its own decoding, encoding and scores.
``classify``, spotting, the page and the command line answer through it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from a2m2_zoo._utils.arguments import check_options, flag, kind, real, whole
from a2m2_zoo._utils.notebooks import length, watched
from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.words import counted
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.engine import as_engine, in_order, run
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError
from a2m2_zoo.methods.base import Descriptors, take
from a2m2_zoo.pose import frames_with_people
from a2m2_zoo.recognition.answers import Answers, Read
from a2m2_zoo.recognition.cautions import cautions
from a2m2_zoo.recognition.clustered import MakeAnswers
from a2m2_zoo.recognition.episode import Plan, Prediction, Queries, Source
from a2m2_zoo.recognition.named import AnyModel, model_for
from a2m2_zoo.recognition.options import QueryOptions, TextOptions, given_queries
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.recognition.supports import READING, AnySupports, resolve_bank, saved_bank
from a2m2_zoo.recognition.text import text_cue
from a2m2_zoo.video import Clip, read_clip, read_clips
from a2m2_zoo.video.inputs import AnyLimits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
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
        model: From ``load_model``, a model's name or the path of its checkpoint; if None, the one that a
            bank names, else the default model.
        supports: A mapping {class: [clips]}, a folder with one folder per class, a saved bank's file, an
            ``Episode`` or a ``SupportBank``.
        workers: Supports decoded in parallel.
        limits: Bounds on each file of the supports.
        layout: Of arrays among the supports, see ``QueryOptions``.
        text: See ``TextOptions``.

    Attributes:
        model: The model.
        bank: The supports, encoded.
        text: How class names take part.
        supports: What follows from them.
        shows_people: Whether somebody is seen in any support, and so counts.

    Raises:
        EpisodeError: The supports are no choice: fewer than two classes, or a class without clips.
        BankError: The bank was made by another model.
        ArgumentError: ``text_weight`` asks for a text tower that the model does not have.

    >>> from a2m2_zoo import load_model
    >>> from a2m2_zoo.synthetic import draw_named
    >>> clips = {name: [draw_named(name, 0, studio=2)] for name in ("kick", "squat")}
    >>> recognizer = Recognizer(load_model(), clips)
    >>> recognizer(draw_named("kick", 1, studio=2)).label
    'kick'
    """

    def __init__(
        self,
        model: AnyModel,
        supports: AnySupports,
        *,
        workers: int | None = None,
        limits: AnyLimits = None,
        layout: str | None = None,
        **text: Unpack[TextOptions],
    ) -> None:
        check_options("Recognizer", text, (*TextOptions.__annotations__, *READING))
        supports = saved_bank(supports) or supports
        model = model_for(model, supports)
        bank = resolve_bank(supports, model=model, workers=workers, limits=limits, layout=layout)
        bank.check(model)
        if len(bank.class_names) < 2:
            raise EpisodeError(
                f"the supports have one class, {bank.class_names[0]!r}; expected two or more to choose "
                "from"
            )
        self.model, self.bank, self.text = model, bank, text
        self._labels, self._way = bank.label_tensor, len(bank.class_names)
        self._cue = text_cue(model, bank.class_names, **text)
        self._descriptors = dict(bank.descriptors)
        people = self._descriptors.get("people")
        self.shows_people = people is not None and bool(frames_with_people(people).any())
        against = model.against(self._descriptors)
        self.supports = SupportSet.encoded(
            model, self._descriptors, self._labels, way=self._way, against=against
        )
        self._against = None if self.supports.pairs is None else against

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What to know of every answer because of the supports, one sentence each."""
        return cautions(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of ``Scores``."""
        return self.bank.class_names

    def __repr__(self) -> str:
        supports = counted(len(self._labels), "support")
        return f"Recognizer({self.model.id}, {self._way} classes, {supports})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew from model, supports and options where it is copied, or sent to another process."""
        return partial(type(self), **self.text), (self.model, self.bank)

    def __call__(self, query: Source, **options: Unpack[QueryOptions]) -> Prediction:
        """The action of one clip.

        Raises:
            VideoError: It cannot be read.
            ArgumentError: It is no clip or several, or an option is out of range.
        """
        single, clips = given_queries(query, layout=options.get("layout"))
        if not single:
            raise ArgumentError(
                f"query is {kind(query)} of clips; expected one clip, or classify(queries)"
            )
        answer = next(self._answers(clips, options))
        if isinstance(answer, A2M2Error):
            raise answer
        return answer

    def classify(self, queries: Queries, **options: Unpack[QueryOptions]) -> list[Prediction]:
        """The action of each clip, in their order.

        Raises:
            VideoError: A clip cannot be read; ``iter_classify`` gives the answers of the others.
            ArgumentError: An option is out of range.
        """
        found = []
        answers = self.iter_classify(queries, **options)
        for answer in watched(answers, "classifying", length(queries)):
            if isinstance(answer, A2M2Error):
                raise answer
            found.append(answer)
        return found

    def iter_classify(
        self, queries: Queries, **options: Unpack[QueryOptions]
    ) -> Iterator[Prediction | A2M2Error]:
        """The answers one after the other as they come, an error in place of a clip that cannot be read.

        Memory does not grow with the number of queries; a generator is drawn from as its clips are read.

        Raises:
            ArgumentError: An option is out of range. Raised at the call.
            DependencyError: ``engine`` is ``ray``, which is not installed. Raised at the call.
            EngineError: The cluster is not there, or a machine of it lacks what is needed.
        """
        clips = given_queries(queries, layout=options.get("layout"))[1]
        return self._answers(clips, options)

    def iter_read(
        self, clips: Iterable[Read], **options: Unpack[QueryOptions]
    ) -> Iterator[Prediction | A2M2Error]:
        """The answers for clips that were read already.

        Args:
            clips: Decoded clips, or pairs of a clip without frames and its features from this backbone,
                as ``features.read_through`` gives; errors stay in their place.
            options: Those of ``iter_classify`` that are not about reading.

        Raises:
            ArgumentError: An option is out of range. Raised at the call.
        """
        check_options("a recogniser's answer", options, QueryOptions.__annotations__)
        top_k, size = whole("top_k", options.get("top_k")), options.get("batch_size")
        size = self.model.batch_size(size)
        reject_below = options.get("reject_below")
        reject_below = real("reject_below", reject_below, "a probability, 0 to 1", least=0, most=1)
        read = iter(clips)
        answers = Answers(self, top_k, reject_below, flag("plans", options.get("plans", False)))
        if flag("transductive", options.get("transductive", False)):
            if self.supports.rule != "ridge":
                raise ArgumentError(
                    "transductive answers come from ridge regression over pairs of clips, and "
                    f"{self.model.id} answers otherwise; leave it out, or take a model with shots 'ridge'"
                )
            return answers.together(read, size)
        return answers.of(read, size)

    def _answers(
        self, clips: Iterable[Source], options: QueryOptions
    ) -> Iterator[Prediction | A2M2Error]:
        where = as_engine(options.get("engine"))
        if where is not None:
            if options.get("transductive", False):
                raise ArgumentError(
                    "transductive answers need all clips in one place, and engine spreads them over "
                    "machines; leave one of them out"
                )
            self.iter_read((), **options)  # which refuses options before a clip is sent
            return in_order(run(clips, MakeAnswers.of(self, options), engine=where))
        read = read_clips(
            clips,
            self.model.preprocess,
            workers=options.get("workers"),
            limits=options.get("limits"),
        )
        return self.iter_read(read, **options)

    @apart
    def scores(self, query: Descriptors) -> Scores:
        """What the supports say of encoded queries.

        Args:
            query: Descriptors of Q clips, from ``Model.encode``.
        """
        model, supports = self.model, self.supports
        pairs = None if self._against is None else self._against(query)
        known = None if pairs is None else supports.known(pairs)
        if pairs is not None and model.method.own_text_weight is None:
            logits = supports.logits(pairs)  # the same, without scoring every pair again
        else:
            text = None if self._cue is None else self._cue.texts
            logits = model.logits(
                query, self._descriptors, labels=self._labels, way=self._way, text=text
            ).double()
        return Scores(logits, supports.probabilities(logits), known)

    @apart
    @torch.inference_mode()
    def scores_together(self, query: Descriptors) -> Scores:
        """What the supports and the other queries say of encoded queries, see ``ops.transductive``.

        Args:
            query: Descriptors of Q clips, from ``Model.encode``; the model answers by ridge regression.
        """
        supports = self.supports
        rows = [take(query, slice(i, i + 1)) for i in range(len(next(iter(query.values()))))]
        pairs, among = (
            torch.cat(list(each(against, rows)))
            for against in (self._against, self.model.against(query))
            if against is not None  # never: the rule is ridge regression, over pairs
        )
        logits = supports.logits_together(pairs, among)
        return Scores(logits, supports.probabilities(logits), supports.known(pairs))

    def plans(self, query: Source | Clip, *, limits: AnyLimits = None) -> dict[str, Plan]:
        """For every class its best matching support and how the frames were matched.

        Args:
            query: A clip.
            limits: Bounds on its file.

        Returns:
            Nothing for a method that matches no frames.

        Raises:
            VideoError: It cannot be read.
        """
        return self._plans(self._encoded(query, limits))[0]

    def with_plans(self, prediction: Prediction, query: Source | Clip) -> Prediction:
        """The prediction of a clip with what pictures show of it: how its frames were matched, and people.

        See ``plans``.
        """
        encoded = self._encoded(query)
        return replace(prediction, plans=self._plans(encoded)[0], people=self._seen(encoded)[0])

    def _encoded(self, query: Source | Clip, limits: AnyLimits = None) -> Descriptors:
        clip = query
        if not isinstance(clip, Clip):
            clip = read_clip(clip, self.model.preprocess, limits=limits)
        return self.model.encode([clip])

    def _seen(self, encoded: Descriptors) -> list[NDArray[np.float32] | None]:
        """The people of each clip, where they were looked for."""
        count, people = len(next(iter(encoded.values()))), encoded.get("people")
        if people is None or not self.model.pose:
            return [None] * count
        return [clip.numpy().copy() for clip in people.float()]

    @apart
    def _plans(self, encoded: Descriptors) -> list[dict[str, Plan]]:
        count = len(next(iter(encoded.values())))
        found = self.model.frame_plans(encoded, self._descriptors)
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
