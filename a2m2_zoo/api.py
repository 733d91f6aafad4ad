"""The verbs: build_bank, classify; thin over ``Recognizer``, with the default model where none is named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from a2m2_zoo._utils.arguments import check_options
from a2m2_zoo._utils.notebooks import length, watched
from a2m2_zoo.errors import A2M2Error, ArgumentError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.episode import Episode, Prediction, Queries, Source, Supports
from a2m2_zoo.recognition.options import QueryOptions, TextOptions, given_queries
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.supports import READING, AnyLimits, AnySupports, encode_supports
from a2m2_zoo.zoo.choose import AnyModel, as_model, default_model

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image
    from torch import Tensor
    from typing_extensions import Unpack

__all__ = ["build_bank", "classify", "default_model", "iter_classify"]


class Options(QueryOptions, TextOptions, total=False):
    """What ``classify`` takes beside the clips: ``QueryOptions`` and ``TextOptions``."""


_TEXT = TextOptions.__annotations__


def build_bank(
    supports: str | os.PathLike[str] | Supports | Episode,
    *,
    model: AnyModel = None,
    workers: int | None = None,
    limits: AnyLimits = None,
    layout: str | None = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> SupportBank:
    """Decode and encode supports once, to classify many queries against them.

    Args:
        supports: A folder with one folder per class, a mapping {class: [clips]} or {class: folder}, or an
            episode.
        model: The model to encode with; the default model if None.
        workers: Clips decoded in parallel; by default one per processor, at most 8.
        limits: Bounds on each file; see ``a2m2_zoo.video.Limits``.
        layout: Of arrays among the supports, see ``QueryOptions``.
        on_clip: Called after each clip with the clip and None, or the error that it gave. With it, broken
            clips are left out as long as every class keeps one; without it the first one is raised.

    Raises:
        EpisodeError: A class is left without a clip.
        VideoError: A clip cannot be read and ``on_clip`` is not given.
    """
    return encode_supports(
        supports, as_model(model), workers=workers, limits=limits, layout=layout, on_clip=on_clip
    )


# Of a path nobody knows before it is looked at whether one clip is there, or a folder of clips.
@overload
def classify(  # type: ignore[overload-overlap]  # a str is a path, not a sequence of clips
    query: str | os.PathLike[str],
    supports: AnySupports,
    *,
    model: AnyModel = ...,
    on_error: Literal["raise", "return"] = ...,
    **options: Unpack[Options],
) -> Prediction | Any: ...
@overload
def classify(  # type: ignore[overload-overlap]  # an array is a clip, not clips
    query: npt.NDArray[Any] | Tensor | Sequence[Image],
    supports: AnySupports,
    *,
    model: AnyModel = ...,
    on_error: Literal["raise", "return"] = ...,
    **options: Unpack[Options],
) -> Prediction: ...
@overload
def classify(  # of arrays the axes tell whether they are pictures or clips
    query: Sequence[npt.NDArray[Any]] | Sequence[Tensor],
    supports: AnySupports,
    *,
    model: AnyModel = ...,
    on_error: Literal["raise", "return"] = ...,
    **options: Unpack[Options],
) -> Any: ...
@overload
def classify(
    query: Iterable[Source],
    supports: AnySupports,
    *,
    model: AnyModel = ...,
    on_error: Literal["raise"] = ...,
    **options: Unpack[Options],
) -> list[Prediction]: ...
@overload
def classify(
    query: Iterable[Source],
    supports: AnySupports,
    *,
    model: AnyModel = ...,
    on_error: Literal["return"],
    **options: Unpack[Options],
) -> list[Prediction | A2M2Error]: ...
def classify(
    query: Queries,
    supports: AnySupports,
    *,
    model: AnyModel = None,
    on_error: Literal["raise", "return"] = "raise",
    **options: Unpack[Options],
) -> Any:
    """Name the action of one clip, or of many, given a few labelled clips per action.

    Args:
        query: A clip: a video file, a folder of image frames, a uint8 array (T, H, W, 3), another array or
            tensor with its ``layout``, or a list of pictures (arrays (H, W, 3), or images of PIL) in the
            order they are shown. Or clips: a list, a column of a table, a generator (of which no more is
            drawn than is being read), or a folder of clips or a pattern (``clips/*.mp4``), which stands for
            those in it at any depth, see ``a2m2_zoo.data.index.find_clips``.
        supports: A mapping {class: [clips]} or {class: folder}, a folder with one folder per class, a saved
            bank's file, an ``Episode`` or a ``SupportBank``.
        model: A model, its name or the path of its checkpoint; if None, the one that a bank names, else
            the default model. One that goes by name is loaded once per process.
        on_error: What a clip that cannot be read does: ``raise``, or ``return`` its error in its place so
            that the others are still answered.
        options: ``top_k``, ``reject_below``, ``plans``, ``transductive``, ``batch_size``, ``workers``,
            ``limits``, ``layout`` and ``engine``, see ``QueryOptions``; ``class_names``, ``text_weight`` and
            ``templates``, see ``TextOptions``.

    Returns:
        A ``Prediction`` for one clip, a list in the order given for many, and for a folder of clips in the
        order of their names.

    Raises:
        VideoError: A clip cannot be read and ``on_error`` is ``raise``.
        EpisodeError: The supports are no choice: fewer than two classes, or a class without clips.
        BankError: The bank was made by another model, or its own is not at hand.
        ArgumentError: An option is out of range, or ``text_weight`` asks for a text tower that the model
            does not have.
    """
    if on_error not in ("raise", "return"):
        raise ArgumentError(f"on_error is {on_error!r}; expected 'raise' or 'return'")
    single, queries = given_queries(query)
    found: list[Prediction | A2M2Error] = []
    answers = _answers(queries, supports, model, options)
    for answer in watched(answers, "classifying", length(queries)):
        if isinstance(answer, A2M2Error) and (single or on_error == "raise"):
            raise answer
        found.append(answer)
    return found[0] if single else found


def iter_classify(
    queries: Queries,
    supports: AnySupports,
    *,
    model: AnyModel = None,
    **options: Unpack[Options],
) -> Iterator[Prediction | A2M2Error]:
    """The answers one after the other as they come, an error in place of a clip that cannot be read.

    Arguments and errors are those of ``classify``. The supports are read here, before the first answer is
    asked for; memory does not grow with the number of queries.
    """
    return _answers(queries, supports, model, options)


def _answers(
    queries: Queries, supports: AnySupports, model: AnyModel, options: Options
) -> Iterator[Prediction | A2M2Error]:
    given: dict[str, Any] = dict(options)
    check_options("classify", given, Options.__annotations__)
    text = {name: given.pop(name) for name in _TEXT if name in given}
    reading = {name: given[name] for name in READING if name in given}
    recognizer = Recognizer(model, supports, **reading, **text)
    return recognizer.iter_classify(queries, **given)
