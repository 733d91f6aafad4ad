"""The way in: a path, a folder or an array becomes a clip, and many of them many clips."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from a2m2_zoo._utils.arguments import kind, whole
from a2m2_zoo._utils.cores import decoding_threads
from a2m2_zoo._utils.remote.addresses import RemotePath, place, without_secrets
from a2m2_zoo.errors import A2M2Error, ArgumentError, VideoError, VideoNotFoundError
from a2m2_zoo.video.clip import Clip, Job, Limits, Watch
from a2m2_zoo.video.container import fetch_video, from_address
from a2m2_zoo.video.folders import check_clip_folder
from a2m2_zoo.video.images import read_array, read_folder
from a2m2_zoo.video.inputs import (
    AnyLimits,
    Source,
    as_limits,
    is_array,
    is_clip,
    is_path,
    missing,
    text_of,
)
from a2m2_zoo.video.preprocess import Preprocess
from a2m2_zoo.video.readers import read_decord, read_torchcodec
from a2m2_zoo.video.video_file import read_video_file

_THREADS = "a2m2-video"  # how the names of threads that read begin

READERS: dict[str, Callable[[Path, Job], Clip]] = {
    "pyav": read_video_file,
    "decord": read_decord,
    "torchcodec": read_torchcodec,
}


def read_clip(
    source: Source,
    spec: Preprocess,
    *,
    limits: AnyLimits = None,
    reader: str = "pyav",
    seed: int | None = None,
    strict: bool = False,
    threads: int = 1,
) -> Clip:
    """Read the frames of one clip that a model looks at.

    Args:
        source: A video file (mp4, mkv, webm, avi, mov, ts, gif and others), a folder of pictures
            (png, jpg, bmp, webp, in natural order), the address of either (s3://, gs://, hf://, of a
            file also https://), an array or tensor (T, H, W, 3) of uint8,
            RGB, or a list of pictures of one size: arrays (H, W, 3), or images of PIL or PyAV.
        spec: How many frames, where, and what size.
        limits: What the read may cost.
        reader: "pyav", or "decord" or "torchcodec" where they are installed. For files only.
        seed: An integer, for specs that sample at random.
        strict: Raise where frames are lost (a damaged or truncated file) instead of warning.
        threads: Decoder threads. One is best where many clips are read side by side.

    Returns:
        The clip, with warnings where something was not as it should be.

    Raises:
        VideoNotFoundError: There is no such file or folder.
        VideoLimitError: The source is larger, longer or slower than the limits.
        VideoError: It holds nothing that can be used, or, with ``strict``, not all it announces.
        DependencyError: The reader is not installed.
        ArgumentError: An argument is out of range.

    >>> import numpy as np
    >>> video = np.zeros((30, 120, 160, 3), np.uint8)
    >>> clip = read_clip(video, Preprocess(frames=4, resize=64, size=64))
    >>> clip.frames.shape, clip.indices
    ((4, 64, 64, 3), (3, 11, 18, 26))
    """
    with _told(source):
        return _read(source, spec, as_limits(limits), reader, seed, strict, threads, None)


def read_clips(
    sources: Iterable[Source],
    spec: Preprocess,
    *,
    workers: int | None = None,
    limits: AnyLimits = None,
    reader: str = "pyav",
    seed: int | None = None,
    strict: bool = False,
) -> Iterator[Clip | A2M2Error]:
    """Read many clips side by side, in threads, and yield them in the order they were given.

    A clip that cannot be read is yielded as the error object, so one bad file does not end the
    rest. At most two clips per worker are under way or waiting, whatever the number of sources.
    Closing the iterator (or leaving a loop over it) stops what is under way.

    Args:
        sources: As for :func:`read_clip`; drawn from as they are needed.
        spec: How many frames, where, and what size.
        workers: Threads; by default one per core this process may use, at most 8.
        limits: What each read may cost.
        reader: As for :func:`read_clip`.
        seed: An integer; source i is read with ``seed + i``.
        strict: As for :func:`read_clip`.

    Yields:
        A clip or an error for each source.

    Raises:
        ArgumentError: If workers is below 1 or the reader unknown. Raised at the call.
    """
    workers, bounds = whole("workers", workers), as_limits(limits)
    _check(spec, reader, seed)
    return _in_order(sources, spec, workers or decoding_threads(), bounds, reader, seed, strict)


def _in_order(
    sources: Iterable[Source],
    spec: Preprocess,
    workers: int,
    limits: Limits,
    reader: str,
    seed: int | None,
    strict: bool,
) -> Iterator[Clip | A2M2Error]:
    stop, home = Event(), os.getpid()

    def read(source: Source, number: int) -> Clip | A2M2Error:
        own = None if seed is None else seed + number
        try:
            with _told(source):
                return _read(source, spec, limits, reader, own, strict, 1, stop)
        except A2M2Error as error:
            return error

    pool = ThreadPoolExecutor(workers, thread_name_prefix=_THREADS)
    waiting: deque[Future[Clip | A2M2Error]] = deque()

    def first() -> Clip | A2M2Error:
        if os.getpid() != home:  # A forked child has none of the threads that read.
            raise A2M2Error(
                "this reading began before the process was forked; begin it again in the child"
            )
        return waiting.popleft().result()

    try:
        for number, source in enumerate(sources):
            waiting.append(pool.submit(read, source, number))
            if len(waiting) >= 2 * workers:
                yield first()
        while waiting:
            yield first()
    finally:
        # Also on close and on Ctrl-C: what runs ends at its next packet, what waits never starts.
        # Where nobody closed it, the garbage collector does, in any thread: one of the pool's waits for none.
        stop.set()
        pool.shutdown(wait=not current_thread().name.startswith(_THREADS), cancel_futures=True)


@contextmanager
def _told(source: Any) -> Iterator[None]:
    """Whatever goes wrong in a clip is its error, and ends no batch."""
    try:
        yield
    except A2M2Error:
        raise
    except Exception as error:
        what = " ".join(str(error).split())
        raise VideoError(
            f"{_name(source)}: cannot be read ({type(error).__name__}: {what}): convert it, or report "
            "it with the file"
        ) from error


def _read(
    source: Any,
    spec: Preprocess,
    limits: Limits,
    reader: str,
    seed: int | None,
    strict: bool,
    threads: int,
    stop: Event | None,
) -> Clip:
    _check(spec, reader, seed)
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 64:
        raise ArgumentError(f"threads={threads!r}: give an integer from 1 to 64")
    name = _name(source)
    job = Job(name, spec, limits, Watch(name, limits, stop), seed, strict, threads)
    if not is_path(source):
        return read_array(source, job)
    text = text_of(source)
    if not text:  # Which would otherwise mean the current folder.
        raise VideoNotFoundError("an empty path: give a video file or a folder of pictures")
    path = place(text)
    if isinstance(path, RemotePath):
        return _read_remote(path, job, reader)
    try:
        folder, file, there = path.is_dir(), path.is_file(), path.exists()
    except (OSError, ValueError) as error:  # A name too long, or with a zero byte in it.
        raise VideoError(f"{name}: no usable path: {error}") from None
    if folder:
        check_clip_folder(path, name)
        return read_folder(path, job)
    if file:
        return READERS[reader](path, job)
    if there:
        raise VideoError(f"{name}: neither file nor folder: give a video or a folder of pictures")
    raise VideoNotFoundError(f"{name}: {missing(text)}")


def _read_remote(path: RemotePath, job: Job, reader: str) -> Clip:
    with from_address(job.name):
        if path.is_dir():
            check_clip_folder(path, job.name)
            return read_folder(path, job)
        if reader != "pyav":
            raise VideoError(
                f"{job.name}: {reader} reads files of this machine: take reader='pyav'"
            )
        file = fetch_video(path, job)
        try:
            return read_video_file(file, job)
        finally:
            file.check()


def _check(spec: Preprocess, reader: str, seed: int | None) -> None:
    if not isinstance(spec, Preprocess):
        raise ArgumentError(f"spec is a {type(spec).__name__}: give a Preprocess")
    if reader not in READERS:
        raise ArgumentError(f"reader={reader!r}: give one of {', '.join(READERS)}")
    if spec.sampling == "random" and seed is None:
        raise ArgumentError("sampling='random' needs a seed: pass seed=0, or another integer")


def _name(source: Any) -> str:
    if is_path(source):
        text = without_secrets(text_of(source))
        return text if text.isprintable() and text else repr(text)
    try:
        if is_array(source) and source.ndim:
            return f"array of {source.shape[0]} frames"
        if isinstance(source, (list, tuple)) and is_clip(source):
            return f"list of {len(source)} pictures"
        return kind(source)
    except Exception:  # Whatever it is, it needs a name for the message that says so.
        return f"array ({type(source).__name__})"
