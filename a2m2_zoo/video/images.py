"""Frames that are already apart: a folder of pictures, or an array."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.error import FFmpegError

from a2m2_zoo._utils.files import read_regular
from a2m2_zoo.errors import VideoError, VideoLimitError
from a2m2_zoo.video.clip import Clip, Job, check_size
from a2m2_zoo.video.container import decoder_pixels
from a2m2_zoo.video.inputs import as_frames
from a2m2_zoo.video.preprocess import Resizer

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from numpy.typing import NDArray

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# What a picture's first bytes say, and the decoder for it. Going by content and calling the decoder
# directly, no demuxer gets to interpret a file name such as "%03d.png".
_KINDS = (
    (re.compile(rb"\x89PNG"), "png"),
    (re.compile(rb"\xff\xd8"), "mjpeg"),
    (re.compile(rb"BM"), "bmp"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
)

# The part after the point of a number such as 0.25, which has no second point.
_DECIMAL = re.compile(r"(?<![\d.])\d+\.(\d+)(?!\.?\d)", re.ASCII)


def read_folder(folder: Path, job: Job) -> Clip:
    """Read the wanted pictures of a folder, in natural order (``2.png`` before ``10.png``).

    Args:
        folder: Where the pictures lie; sub-folders and other files are passed over.
        job: What is wanted of it.

    Raises:
        VideoError: If there is no picture, none decodes, or in a strict job a wanted one does not.
        VideoLimitError: If a picture is too large, or there are too many.
    """
    try:
        inside = list(folder.iterdir())
    except OSError as error:
        raise VideoError(f"{job.name}: cannot be listed: {error.strerror}") from None
    paths = in_order(
        path for path in inside if path.suffix.lower() in SUFFIXES and path.name[0] != "."
    )
    if not paths:
        raise VideoError(f"{job.name}: no pictures in this folder: expected {', '.join(SUFFIXES)}")
    if len(paths) > job.limits.frames:
        raise VideoLimitError(
            f"{job.name}: {len(paths)} pictures, more than {job.limits.frames}: "
            "split the folder or raise Limits.frames"
        )
    resize = Resizer(job.spec).whole
    indices = _choose(len(paths), job)
    try:
        found = {index: resize(_picture(paths[index], job)) for index in set(indices)}
        return _clip(job, indices, found, len(paths), ())
    except VideoLimitError:
        raise
    except VideoError as error:
        if job.strict:
            raise
        first = str(error).removeprefix(f"{job.name}/")
    good = [path for path in paths if _decodes(path, job)]
    if not good:
        raise VideoError(f"{job.name}: none of its {len(paths)} pictures decodes: {first}")
    indices = _choose(len(good), job)
    found = {index: resize(_picture(good[index], job)) for index in set(indices)}
    lost = f"{len(paths) - len(good)} of {len(paths)} pictures do not decode and are left out"
    return _clip(job, indices, found, len(good), (lost,))


def read_array(source: Any, job: Job) -> Clip:
    """Take the wanted frames of an array.

    Args:
        source: (T, H, W, 3) uint8, RGB: a NumPy array, a torch tensor, or a list of pictures.
        job: What is wanted of it.

    Raises:
        VideoError: If shape or type are others.
        VideoLimitError: If a frame is too large.
    """
    array = as_frames(source, job.name)
    count, height, width, _ = array.shape
    check_size(job.name, width, height, job.limits)
    resize = Resizer(job.spec).whole
    indices = _choose(count, job)
    found = {
        index: resize(av.VideoFrame.from_ndarray(np.ascontiguousarray(array[index]), "rgb24"))
        for index in set(indices)
    }
    return _clip(job, indices, found, count, ())


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort the names of one folder so that digits are numbers.

    ``t0.25`` comes before ``t0.5``, as a decimal fraction does; but where one name ends in 10, 20, ... after
    the point and another is shorter (``1.2`` and ``1.10``), these are two numbers each, as in a version.

    >>> [path.name for path in in_order(map(Path, ["t0.5.png", "t0.25.png", "t0.125.png"]))]
    ['t0.125.png', 't0.25.png', 't0.5.png']
    >>> [path.name for path in in_order(map(Path, ["f1.10.png", "f1.9.png", "f1.2.png"]))]
    ['f1.2.png', 'f1.9.png', 'f1.10.png']
    """
    paths = list(paths)
    fractions = [match[1] for path in paths for match in _DECIMAL.finditer(path.name)]
    counted = len({len(fraction) for fraction in fractions}) > 1 and any(
        len(fraction) > 1 and fraction[0] != "0" and fraction[-1] == "0" for fraction in fractions
    )
    return sorted(paths, key=lambda path: natural(path, decimals=not counted))


def natural(path: Path, *, decimals: bool = True) -> list[tuple[Fraction, str]]:
    """Return a sort key that reads digits as numbers.

    Args:
        path: Its name counts.
        decimals: Two numbers with a point between them are one, as long as no third follows.

    >>> [path.name for path in sorted(map(Path, ["f10.png", "f2.png", "f1.png"]), key=natural)]
    ['f1.png', 'f2.png', 'f10.png']
    """
    pattern = r"((?<![\d.])\d+\.\d+(?!\.?\d)|\d+)" if decimals else r"(\d+)"
    pieces = re.split(pattern, path.name.lower(), flags=re.ASCII)
    # Numbers lie at odd places. The name as it is settles what they leave open ("1" and "01").
    key = [
        (Fraction(piece), "") if index % 2 else (Fraction(0), piece)
        for index, piece in enumerate(pieces)
    ]
    return [*key, (Fraction(0), path.name)]


def _choose(count: int, job: Job) -> tuple[int, ...]:
    return job.choose(range(count), Fraction(count))


def _picture(path: Path, job: Job) -> av.VideoFrame:
    """Decode one picture.

    Raises:
        VideoError: If it cannot be decoded.
        VideoLimitError: If it is too large.
    """
    job.watch.check()
    name = f"{job.name}/{path.name}"
    try:
        data = read_regular(path, most=8 * job.limits.pixels + 65_536)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise VideoLimitError(
                f"{name}: {error.strerror} for a picture of {job.limits.megapixels:g} megapixels: "
                "shrink it or raise Limits.megapixels"
            ) from None
        raise VideoError(f"{name}: cannot be read: {error.strerror}") from None
    kind = next((kind for start, kind in _KINDS if start.match(data)), None)
    if kind is None:
        raise VideoError(f"{name}: its content is no PNG, JPEG, BMP or WebP picture")
    decoder = cast("VideoCodecContext", av.CodecContext.create(kind, "r"))
    decoder.thread_count = 1
    decoder.options = {"max_pixels": decoder_pixels(job.limits)}
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except (FFmpegError, ValueError):
        frames = []
    if not frames:
        raise VideoError(
            f"{name}: a {kind.replace('mjpeg', 'jpeg')} picture that is damaged or has more than "
            f"{job.limits.megapixels:g} megapixels"
        )
    check_size(name, frames[0].width, frames[0].height, job.limits)
    return frames[0]


def _decodes(path: Path, job: Job) -> bool:
    try:
        _picture(path, job)
    except VideoLimitError:
        raise
    except VideoError:
        job.watch.check()
        return False
    return True


def _clip(
    job: Job,
    indices: tuple[int, ...],
    found: dict[int, NDArray[np.uint8]],
    count: int,
    losses: tuple[str, ...],
) -> Clip:
    return job.clip([found[i] for i in indices], indices, times=(), count=count, losses=losses)
