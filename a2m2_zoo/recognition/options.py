"""What callers say beside the supports: how queries are read and answered, and how class names take part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo.data.index import clips_inside
from a2m2_zoo.engine.place import Engine
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.episode import Episode
from a2m2_zoo.recognition.supports import ORDER
from a2m2_zoo.recognition.text import ClassNames
from a2m2_zoo.video.inputs import AnyLimits, as_clips, is_path, text_of
from a2m2_zoo.video.layout import laid_out


class TextOptions(TypedDict, total=False):
    """How class names take part, for models with a text tower.

    Attributes:
        class_names: Class → the name that goes into the templates, or a list of prompts that are taken as
            they are. A class that is not in it goes by its own name with ``_`` and ``-`` as spaces.
        text_weight: α in p ∝ p_text^α · p_supports^(1−α). 0, the default, is the supports alone: nothing of
            text is looked at, or loaded. Choose it on validation clips only.
        templates: One or several texts with ``{}`` where the name goes, such as "a photo of {}" (the
            default); their embeddings are averaged.
    """

    class_names: ClassNames | None
    text_weight: float
    templates: str | Sequence[str] | None


class QueryOptions(TypedDict, total=False):
    """How queries are read and answered.

    Attributes:
        top_k: Keep the probabilities of the k most probable classes only.
        reject_below: Mark a prediction as rejected when its ``confidence``, the probability that it is right
            in a world where half of the clips show none of the classes, is lower than this.
        plans: Add to each prediction how its frames were matched; it takes as long as the scores themselves.
        transductive: Answer all clips together: each also learns from the others, see ``ops.transductive``.
            The first answer comes when the last clip has been read, and depends on what it was asked with.
        batch_size: Clips that go through the backbone together, where no CPU computes: there every thread
            takes one. It changes speed, not answers.
        workers: Clips decoded in parallel.
        limits: Bounds on each file; ``{"seconds": 5}`` sets one and leaves the others.
        engine: ``ray``, or an ``a2m2_zoo.engine.Ray`` that says more: the clips are answered by the machines
            of a Ray cluster, each of which must have them under the same path. All are drawn at once; the
            answers are the same, and come in order. ``local`` (or None) is this process.
        layout: How arrays and tensors among the clips hold them: the axes T, C, H and W in their order, and
            of floats the values that are black and white: ``"TCHW"``, ``"CTHW 0..1"``. Without it they are
            bytes (T, H, W, 3). Of the supports, too, where ``classify`` encodes them.
    """

    top_k: int | None
    reject_below: float | None
    plans: bool
    transductive: bool
    batch_size: int | None
    workers: int | None
    limits: AnyLimits
    engine: Engine
    layout: str | None


def given_queries(
    query: Any, name: str = "query", *, layout: str | None = None
) -> tuple[bool, Iterable[Any]]:
    """Whether one clip was given, and the clips; a folder of clips stands for those in it.

    Args:
        query: What was given.
        name: What it is called in messages.
        layout: Of arrays, see ``QueryOptions``.

    Raises:
        ArgumentError: It is neither a clip nor clips.
        VideoNotFoundError: The folder holds none.
    """
    if isinstance(query, Episode):
        raise ArgumentError(f"{name} is an Episode; expected its clips: classify(e.queries, e)")
    swapped = isinstance(query, (SupportBank, Mapping))
    if swapped or (is_path(query) and text_of(query).endswith(".safetensors")):
        what = repr(text_of(query)) if is_path(query) else kind(query)
        raise ArgumentError(f"{name} is {what}; expected a clip or a list of clips: {ORDER}")
    inside = clips_inside(query)
    single, clips = as_clips(query, name) if inside is None else (False, inside)
    return single, laid_out(clips, layout)
