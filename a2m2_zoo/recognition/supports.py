"""From labelled clips, in any of the forms a caller has them in, to a bank."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from a2m2_zoo._utils.arguments import remote
from a2m2_zoo._utils.files import exists, is_folder
from a2m2_zoo._utils.notebooks import watched
from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo.data.index import VIDEO_SUFFIXES
from a2m2_zoo.errors import A2M2Error, ArgumentError, EpisodeError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.episode import Episode, Source, as_mapping
from a2m2_zoo.video import Clip, read_clips
from a2m2_zoo.video.images import SUFFIXES
from a2m2_zoo.video.inputs import AnyLimits as AnyLimits  # for the verbs too
from a2m2_zoo.video.inputs import is_path, text_of
from a2m2_zoo.video.layout import laid_out

if TYPE_CHECKING:
    from a2m2_zoo.recognition.episode import Supports
    from a2m2_zoo.recognition.model import Model

#: What ``classify`` takes as supports.
AnySupports: TypeAlias = "str | os.PathLike[str] | Supports | Episode | SupportBank"

#: Options of ``resolve_bank``, by which supports are read.
READING = ("workers", "limits", "layout")
ORDER = "the clips in question come first, then the supports"


def encode_supports(
    supports: str | os.PathLike[str] | Supports | Episode,
    model: Model,
    *,
    workers: int | None = None,
    limits: AnyLimits = None,
    layout: str | None = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> SupportBank:
    """Decode and encode supports; see ``a2m2_zoo.build_bank``."""
    labelled = _labelled(supports)
    sources = laid_out([clip for _, clip in labelled], layout)
    results = read_clips(sources, model.preprocess, workers=workers, limits=limits)
    if on_clip is None:
        results = watched(results, "reading supports", len(labelled))
    return SupportBank.build(_sound(labelled, results, on_clip), model)


def resolve_bank(
    supports: str | os.PathLike[str] | Supports | Episode | SupportBank,
    *,
    model: Model,
    workers: int | None = None,
    limits: AnyLimits = None,
    layout: str | None = None,
    on_clip: Callable[[Source, A2M2Error | None], None] | None = None,
) -> SupportBank:
    """A bank from what ``classify`` takes as supports, without people where the model looks for none."""
    if (bank := saved_bank(supports)) is not None:
        return replace(bank, descriptors=model.as_encoded(bank.descriptors))
    given: Any = supports
    return encode_supports(
        given, model, workers=workers, limits=limits, layout=layout, on_clip=on_clip
    )


def saved_bank(supports: AnySupports) -> SupportBank | None:
    """The bank that supports are, or that lies where they say; None where they are clips.

    Raises:
        BankError: The file is damaged, or no bank.
        ArgumentError: It is one clip.
    """
    if isinstance(supports, SupportBank):
        return supports
    if is_path(supports):
        path = place(text := text_of(supports, "the supports"))
        if (hint := remote(text)) and not exists(path):
            raise ArgumentError(f"supports is {text!r}: {hint}")
        if path.suffix.lower() in {*VIDEO_SUFFIXES, *SUFFIXES} and not is_folder(path):
            raise ArgumentError(
                f"supports is {str(path)!r}, a clip; expected a folder with one folder of clips per "
                f"class, a mapping {{class: [clips]}} or a bank: {ORDER}"
            )
        if not is_folder(path):
            return SupportBank.load(path)
    return None


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


def _labelled(
    supports: str | os.PathLike[str] | Supports | Episode,
) -> list[tuple[str, Source]]:
    if isinstance(supports, Episode):
        return [
            (supports.class_names[label], clip)
            for clip, label in zip(supports.supports, supports.support_labels, strict=True)
        ]
    return [(name, clip) for name, clips in as_mapping(supports).items() for clip in clips]
