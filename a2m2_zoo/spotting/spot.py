"""Spotting in a file: every frame is decoded once and pushed through a ``Stream``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from a2m2_zoo._utils.arguments import path_text
from a2m2_zoo._utils.notebooks import Bar
from a2m2_zoo.errors import VideoError
from a2m2_zoo.recognition.named import AnyModel
from a2m2_zoo.recognition.supports import AnySupports
from a2m2_zoo.spotting.network import PATIENCE
from a2m2_zoo.spotting.sampling import LATEST
from a2m2_zoo.spotting.segments import Segment
from a2m2_zoo.spotting.sources import open_spotted
from a2m2_zoo.spotting.stream import Stream, StreamOptions
from a2m2_zoo.video.inputs import as_limits

if TYPE_CHECKING:
    from typing_extensions import Unpack


def spot(
    video: str | os.PathLike[str],
    supports: AnySupports,
    *,
    model: AnyModel = None,
    on_damage: Callable[[VideoError], None] | None = None,
    on_progress: Callable[[float, float | None], None] | None = None,
    patience: float = PATIENCE,
    **options: Unpack[StreamOptions],
) -> list[Segment]:
    """Find when the actions of the supports happen in a video.

    Args:
        video: A video file of any length, the address of one (s3://, gs://, hf://, https://) or of a stream
            (rtsp://, udp://, http://); it is read once, and memory does not grow with it.
        supports: As for ``classify``.
        model: The model, its name or path; if None, the one that a bank names, else the default one.
        on_damage: Called with the error of a video that is damaged; what was found is then returned.
            Without it the error is raised.
        on_progress: Called after each frame with its time and the video's length, None if not known.
        patience: Seconds without a frame after which a stream that broke off is given up; 0 ends where it
            breaks off.
        options: How windows are laid and judged: ``window``, ``stride``, ``reject_below`` and the others that
            ``Stream`` takes.

    Returns:
        Segments in the order of time that do not overlap; stretches of a window's length or more in
        which no class fits are segments of label ``UNKNOWN``.

    Raises:
        VideoError: The video cannot be read, or is damaged and ``on_damage`` is not given.
        BankError: The bank was made by another model.
        ArgumentError: A number is out of range.
    """
    bar = Bar()
    tell = on_progress or (lambda at, of: bar("spotting, seconds of video", at, of or 0))
    found = iter_spot(video, supports, model=model, on_progress=tell, patience=patience, **options)
    segments = []
    try:
        for segment in found:
            segments.append(segment)  # noqa: PERF402  # kept when the video breaks off
    except VideoError as error:
        if on_damage is None:
            raise
        on_damage(error)
    return segments


def iter_spot(
    video: str | os.PathLike[str],
    supports: AnySupports,
    *,
    model: AnyModel = None,
    on_progress: Callable[[float, float | None], None] | None = None,
    patience: float = PATIENCE,
    **options: Unpack[StreamOptions],
) -> Iterator[Segment]:
    """The segments of ``spot``, each as soon as it is final.

    Of a damaged video it gives all that can be found, then raises; so it does on Ctrl-C.
    """
    limits = as_limits(options.get("limits"))
    source = path_text("video", video, "the path of one video")
    opened = open_spotted(source, limits, patience=patience)
    try:
        stream = Stream(model, supports, **options)
        timeless = 0
        try:
            for frame, at in opened:
                if abs(at) > LATEST:
                    timeless += 1
                    continue
                yield from stream.push(frame, at)
                if on_progress is not None:
                    on_progress(at, opened.seconds)
        except (VideoError, KeyboardInterrupt):
            yield from stream.close()
            raise
        yield from stream.close()
        if timeless:
            raise VideoError(
                f"{source}: {timeless} frame(s) are stamped with times that are none, and left out"
            )
    finally:
        opened.close()
