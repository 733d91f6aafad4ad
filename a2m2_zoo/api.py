"""The verbs: build_bank, classify. The only module that joins hub, methods and video for a caller."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt
from torch import Tensor

from a2m2_zoo._arguments import kind, real, remote, whole
from a2m2_zoo._files import exists, is_folder
from a2m2_zoo._workers import apart
from a2m2_zoo.bank import SupportBank
from a2m2_zoo.choice import AnyModel, as_model, default_model
from a2m2_zoo.data.index import VIDEO_SUFFIXES, find_clips, name_left_out
from a2m2_zoo.episode import Episode, Plan, Prediction, Source, Supports, as_mapping
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError, VideoNotFoundError
from a2m2_zoo.loading import models_with_text
from a2m2_zoo.model import Model
from a2m2_zoo.rejection import Judge
from a2m2_zoo.text import ClassNames, TextCue, check_weight, class_prompts
from a2m2_zoo.video import Clip, Limits, read_clips
from a2m2_zoo.video.given import as_clips, as_limits, is_path, text_of
from a2m2_zoo.video.images import SUFFIXES

__all__ = ["build_bank", "classify", "default_model", "iter_classify", "resolve_bank"]

#: Limits, some of them by name, or None for the usual ones.
AnyLimits: TypeAlias = "Limits | Mapping[str, float] | None"

_ORDER = "the clips in question come first, then the supports"


def build_bank(
    supports: str | os.PathLike[str] | Supports | Episode,
    *,
    model: AnyModel = None,
    workers: int | None = None,
    limits: AnyLimits = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> SupportBank:
    """Decode and encode supports once, to classify many queries against them.

    Args:
        supports: A folder with one folder per class, a mapping {class: [clips]}, or an episode.
        model: The model to encode with; the default model if None.
        workers: Clips decoded in parallel; by default one per processor, at most 8.
        limits: Bounds on each file; see ``a2m2_zoo.video.Limits``.
        on_clip: Called after each clip with the clip and None, or the error that it gave. With it, broken
            clips are left out as long as every class keeps one; without it the first one is raised.

    Raises:
        EpisodeError: A class is left without a clip.
        VideoError: A clip cannot be read and ``on_clip`` is not given.
    """
    model = as_model(model)
    labelled = _labelled(supports)
    sources = [clip for _, clip in labelled]
    results = read_clips(sources, model.preprocess, workers=workers, limits=as_limits(limits))
    return SupportBank.build(_sound(labelled, results, on_clip), model)


def _sound(
    labelled: Sequence[tuple[str, Source]],
    results: Iterator[Clip | A2M2Error],
    on_clip: Callable[[Source, A2M2Error | None], None] | None,
) -> Iterator[tuple[str, Clip]]:
    """The clips that could be read, with their class; at the end every class must have had one."""
    missing = {name for name, _ in labelled}
    for (name, source), clip in zip(labelled, results, strict=True):
        failed = clip if isinstance(clip, A2M2Error) else None
        if failed is not None and on_clip is None:
            raise failed
        if on_clip is not None:
            on_clip(source, failed)
        if not isinstance(clip, A2M2Error):
            missing.discard(name)
            yield name, clip
    for name in sorted(missing):
        raise EpisodeError(
            f"no clip of class {name!r} could be read; give it at least one sound clip"
        )


# Of a path nobody knows before it is looked at whether one clip is there, or a folder of clips.
@overload
def classify(  # type: ignore[overload-overlap]  # a str is a path, not a sequence of clips
    query: str | os.PathLike[str],
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: Model | None = ...,
    top_k: int | None = ...,
    reject_below: float | None = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    limits: Limits | None = ...,
    class_names: ClassNames | None = ...,
    text_weight: float = ...,
    templates: str | Sequence[str] | None = ...,
    on_error: Literal["raise", "return"] = ...,
) -> Prediction | Any: ...
@overload
def classify(  # type: ignore[overload-overlap]  # an array is a clip, not clips
    query: npt.NDArray[np.uint8] | Tensor,
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: AnyModel = ...,
    top_k: int | None = ...,
    reject_below: float | None = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    limits: AnyLimits = ...,
    class_names: ClassNames | None = ...,
    text_weight: float = ...,
    templates: str | Sequence[str] | None = ...,
    on_error: Literal["raise", "return"] = ...,
) -> Prediction: ...
@overload
def classify(
    query: Iterable[Source],
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: AnyModel = ...,
    top_k: int | None = ...,
    reject_below: float | None = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    limits: AnyLimits = ...,
    class_names: ClassNames | None = ...,
    text_weight: float = ...,
    templates: str | Sequence[str] | None = ...,
    on_error: Literal["raise"] = ...,
) -> list[Prediction]: ...
@overload
def classify(
    query: Iterable[Source],
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: AnyModel = ...,
    top_k: int | None = ...,
    reject_below: float | None = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    limits: AnyLimits = ...,
    class_names: ClassNames | None = ...,
    text_weight: float = ...,
    templates: str | Sequence[str] | None = ...,
    on_error: Literal["return"],
) -> list[Prediction | A2M2Error]: ...
def classify(
    query: Source | Tensor | Iterable[Source],
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: AnyModel = None,
    top_k: int | None = None,
    reject_below: float | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    limits: AnyLimits = None,
    class_names: ClassNames | None = None,
    text_weight: float = 0.0,
    templates: str | Sequence[str] | None = None,
    on_error: Literal["raise", "return"] = "raise",
) -> Any:
    """Name the action of one clip, or of many, given a few labelled clips per action.

    Args:
        query: A clip: a video file, a folder of image frames, a uint8 array (T, H, W, 3), or a list of
            pictures (arrays (H, W, 3), or images of PIL) in the order they are shown. Or clips: a list, a
            column of a table, a generator (of which no more is drawn than is being read), or a folder of
            clips, which stands for those in it at any depth, see ``a2m2_zoo.data.index.find_clips``.
        supports: A mapping {class: [clips]}, a folder with one folder per class, a saved bank's file, an
            ``Episode`` or a ``SupportBank``.
        model: A model, its name or the path of its checkpoint; the default model if None. One that goes
            by name is loaded once per process.
        top_k: Keep the probabilities of the k most probable classes only.
        reject_below: Mark a prediction as rejected when its ``confidence``, the probability that it is right
            in a world where half of the clips show none of the classes, is lower than this.
        batch_size: Clips that go through the backbone together. It changes speed, not answers.
        workers: Clips decoded in parallel.
        limits: Bounds on each file; ``{"seconds": 5}`` sets one and leaves the others.
        class_names: Class → the name that goes into the templates, or a list of prompts that are taken as
            they are. A class that is not in it goes by its own name with ``_`` and ``-`` as spaces.
        text_weight: α in p ∝ p_text^α · p_supports^(1−α), for models with a text tower. 0 is the supports
            alone: nothing of text is looked at, or loaded. Choose it on validation clips only.
        templates: One or several texts with ``{}`` where the name goes, such as "a photo of {}" (the
            default); their embeddings are averaged.
        on_error: What a clip that cannot be read does: ``raise``, or ``return`` its error in its place so
            that the others are still answered.

    Returns:
        A ``Prediction`` for one clip, a list in the order given for many, and for a folder of clips in the
        order of their names.

    Raises:
        VideoError: A clip cannot be read and ``on_error`` is ``raise``.
        EpisodeError: The supports are no choice: fewer than two classes, or a class without clips.
        BankError: The bank was made by another model.
        ArgumentError: An option is out of range, or ``text_weight`` asks for a text tower that the model
            does not have.
    """
    if on_error not in ("raise", "return"):
        raise ArgumentError(f"on_error is {on_error!r}; expected 'raise' or 'return'")
    inside = _clips_inside(query)
    single, queries = _asked(query) if inside is None else (False, inside)
    model = as_model(model)
    bank = resolve_bank(supports, model=model, workers=workers, limits=limits)
    answers = iter_classify(
        queries,
        bank,
        model=model,
        top_k=top_k,
        reject_below=reject_below,
        batch_size=batch_size,
        workers=workers,
        limits=limits,
        class_names=class_names,
        text_weight=text_weight,
        templates=templates,
    )
    found: list[Prediction | A2M2Error] = []
    for answer in answers:
        if isinstance(answer, A2M2Error) and (single or on_error == "raise"):
            raise answer
        found.append(answer)
    return found[0] if single else found


def _clips_inside(query: object) -> Sequence[Path] | None:
    """The clips of a folder of clips; None for anything else, a single clip included.

    Raises:
        VideoNotFoundError: There are none.
    """
    if not isinstance(query, (str, os.PathLike)) or not os.fspath(query):
        return None
    found = find_clips(query)
    if found.clips == (Path(query),):
        return None
    name_left_out(query, found.left_out)
    if not found.clips:
        raise VideoNotFoundError(f"the folder {os.fspath(query)!r} holds no clip")
    return found.clips


def iter_classify(
    queries: Iterable[Source],
    bank: SupportBank,
    *,
    model: AnyModel,
    top_k: int | None = None,
    reject_below: float | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    limits: AnyLimits = None,
    class_names: ClassNames | None = None,
    text_weight: float = 0.0,
    templates: str | Sequence[str] | None = None,
) -> Iterator[Prediction | A2M2Error]:
    """The answers one after the other as they come, an error in place of a clip that cannot be read.

    Arguments are those of ``classify``. Memory does not grow with the number of queries.
    """
    if not isinstance(bank, SupportBank):
        raise ArgumentError(
            f"the bank is {kind(bank)}; expected a SupportBank, as build_bank gives"
        )
    model, queries = as_model(model), _asked(queries)[1]
    bank.check(model)
    way = len(bank.class_names)
    if way < 2:
        raise EpisodeError(
            f"the supports have one class, {bank.class_names[0]!r}; expected two or more to choose from"
        )
    top_k, batch_size = whole("top_k", top_k), whole("batch_size", batch_size)
    reject_below = real("reject_below", reject_below, "a probability, 0 to 1", least=0, most=1)
    cue = _cue(model, bank, text_weight, class_names, templates)
    return _answers(
        queries,
        bank,
        model,
        cue,
        top_k,
        reject_below,
        batch_size or model.default_batch_size,
        whole("workers", workers),
        as_limits(limits),
    )


def _asked(query: Any) -> tuple[bool, Iterable[Any]]:
    """Whether one clip is in question, and the clips."""
    if isinstance(query, Episode):
        raise ArgumentError("query is an Episode; expected its clips: classify(e.queries, e)")
    swapped = isinstance(query, (SupportBank, Mapping))
    if swapped or (is_path(query) and text_of(query).endswith(".safetensors")):
        what = repr(text_of(query)) if is_path(query) else kind(query)
        raise ArgumentError(f"query is {what}; expected a clip or a list of clips: {_ORDER}")
    return as_clips(query, "query")


def _cue(
    model: Model,
    bank: SupportBank,
    weight: float,
    class_names: ClassNames | None,
    templates: str | Sequence[str] | None,
) -> TextCue | None:
    """The embedded texts of the bank's classes; None where they have no share."""
    check_weight(weight)
    own = model.method.own_text_weight
    if own is not None and own != weight:
        raise ArgumentError(
            f"text_weight is {weight} and the head of {model.id} mixes texts in itself with a weight of "
            f"{own}; give text_weight={own}"
        )
    if weight == 0:
        return None
    if model.text is None:
        raise ArgumentError(
            f"text_weight is {weight} and {model.id} has no text tower; expected 0, or a model on CLIP: "
            + ", ".join(models_with_text())
        )
    prompts = class_prompts(bank.class_names, class_names=class_names, templates=templates)
    return TextCue.of(model.text, prompts, weight=weight)


def resolve_bank(
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: Model,
    workers: int | None = None,
    limits: AnyLimits = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> SupportBank:
    """A bank from anything that ``classify`` takes as supports."""
    if isinstance(supports, SupportBank):
        return supports
    if is_path(supports):
        path = Path(text := text_of(supports, "the supports"))
        if not exists(path) and (hint := remote(text)):
            raise ArgumentError(f"supports is {text!r}: {hint}")
        if path.suffix.lower() in {*VIDEO_SUFFIXES, *SUFFIXES} and not is_folder(path):
            raise ArgumentError(
                f"supports is {str(path)!r}, a clip; expected a folder with one folder of clips per "
                f"class, a mapping {{class: [clips]}} or a bank: {_ORDER}"
            )
        if not is_folder(path):
            return SupportBank.load(path)
    given: Any = supports
    return build_bank(given, model=model, workers=workers, limits=limits, on_clip=on_clip)


def _answers(
    queries: Iterable[Source],
    bank: SupportBank,
    model: Model,
    cue: TextCue | None,
    top_k: int | None,
    reject_below: float | None,
    batch_size: int,
    workers: int | None,
    limits: Limits,
) -> Iterator[Prediction | A2M2Error]:
    labels, way = bank.label_tensor, len(bank.class_names)
    scale = model.scale(bank.descriptors, labels=labels, way=way)
    judge = Judge.of(model, bank.descriptors, labels=labels, way=way)
    clips = read_clips(queries, model.preprocess, workers=workers, limits=as_limits(limits))
    started = time.perf_counter()
    while True:
        # A generator of queries is drawn from as its clips are read, and its length never asked for.
        held = list(islice(clips, min(batch_size, sys.maxsize)))
        if not held:
            return
        sound = [c for c in held if not isinstance(c, A2M2Error)]
        answered = iter(
            _predict(sound, bank, model, cue, scale, judge, top_k, reject_below, started)
        )
        for item in held:
            yield item if isinstance(item, A2M2Error) else next(answered)
        started = time.perf_counter()


@apart
def _predict(
    clips: list[Clip],
    bank: SupportBank,
    model: Model,
    cue: TextCue | None,
    scale: float,
    judge: Judge | None,
    top_k: int | None,
    reject_below: float | None,
    started: float,
) -> list[Prediction]:
    if not clips:
        return []
    encoded, vectors = model.encode_both(clips, batch_size=len(clips))
    # Kernels may sum in another order for another number of clips: on a CPU they are scored one by one.
    size = 1 if model.device.type == "cpu" else len(clips)
    found: list[Prediction] = []
    for start in range(0, len(clips), size):
        some = slice(start, start + size)
        part = {name: tensor[some].clone() for name, tensor in encoded.items()}
        found += _scored(
            clips[some], part, vectors[some], bank, model, cue, scale, judge, top_k, reject_below
        )
    seconds = (time.perf_counter() - started) / len(clips)
    return [replace(answer, seconds=seconds) for answer in found]


def _scored(
    clips: list[Clip],
    encoded: dict[str, Tensor],
    vectors: Tensor,
    bank: SupportBank,
    model: Model,
    cue: TextCue | None,
    scale: float,
    judge: Judge | None,
    top_k: int | None,
    reject_below: float | None,
) -> list[Prediction]:
    """The answers of encoded clips, without the time they took."""
    labels, way = bank.label_tensor, len(bank.class_names)
    texts = None if cue is None else cue.texts
    pairs = None if judge is None else model.pairs(encoded, bank.descriptors)
    known: list[float | None] = [None] * len(clips)
    if judge is not None and pairs is not None:
        known = judge.known(pairs).tolist()
    if judge is not None and pairs is not None and model.method.own_text_weight is None:
        logits = judge.logits(pairs)  # the same means, without scoring every pair again
    else:
        logits = model.logits(encoded, bank.descriptors, labels=labels, way=way, text=texts)
    probabilities = (logits.double() * scale).softmax(-1)
    if cue is not None and model.method.own_text_weight is None:
        probabilities = cue.mixed(probabilities, vectors)
    plans = model.frame_plans(encoded, bank.descriptors)
    found = []
    for q, clip in enumerate(clips):
        ranked = sorted(
            zip(bank.class_names, probabilities[q].tolist(), strict=True), key=lambda item: -item[1]
        )
        best, second = ranked[0][1], ranked[1][1]
        sure = best if known[q] is None else best * known[q]
        found.append(
            Prediction(
                query=clip.source,
                label=ranked[0][0],
                probabilities=dict(ranked[:top_k]),
                margin=best - second,
                rejected=reject_below is not None and sure < reject_below,
                frames=clip.indices,
                model=model.id,
                seconds=0.0,
                warnings=clip.warnings,
                plans=_plans(plans, q, bank) if plans else {},
                text_weight=0.0 if cue is None else cue.weight,
                prompts={} if cue is None else cue.prompts,
                known=known[q],
            )
        )
    return found


def _plans(plans: tuple[Tensor, Tensor], q: int, bank: SupportBank) -> dict[str, Plan]:
    """For every class its best matching support and how the frames were matched."""
    transport, similarity = plans[0][q], plans[1][q]
    value = (transport * similarity).sum((-2, -1))
    best = {}
    for label, name in enumerate(bank.class_names):
        members = (bank.label_tensor == label).nonzero()[:, 0]
        n = int(members[value[members].argmax()])
        best[name] = Plan(n, transport[n].numpy().copy(), similarity[n].numpy().copy())
    return best


def _labelled(
    supports: str | os.PathLike[str] | Supports | Episode,
) -> list[tuple[str, Source]]:
    if isinstance(supports, Episode):
        return [
            (supports.class_names[label], clip)
            for clip, label in zip(supports.supports, supports.support_labels, strict=True)
        ]
    return [(name, clip) for name, clips in as_mapping(supports).items() for clip in clips]
