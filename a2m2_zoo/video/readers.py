"""Other decoders for the same clips: decord and torchcodec, where somebody has them installed.

They choose frames by index among those the library counts, resize through the same scaler, and
return the same :class:`~a2m2_zoo.video.Clip`. What they do not do: apply rotation or edit lists,
hold the limits while they decode, or say where a file is damaged.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from a2m2_zoo.errors import A2M2Error, DependencyError, VideoError, VideoLimitError
from a2m2_zoo.video.clip import Clip, Job, check_size
from a2m2_zoo.video.container import open_video
from a2m2_zoo.video.preprocess import Resizer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_decord(path: Path, job: Job) -> Clip:
    """Read the wanted frames of a file with decord.

    Raises:
        DependencyError: If decord is not installed.
        VideoError: If it cannot read the file.
        VideoLimitError: If the file is beyond the limits.
    """
    try:
        import decord
    except (ImportError, OSError) as error:
        raise _unusable("decord", error) from None

    def get(chosen: Callable[[int], tuple[int, ...]]) -> tuple[int, NDArray[np.uint8], list[float]]:
        opened = decord.VideoReader(str(path), num_threads=job.threads)
        indices = list(chosen(len(opened)))
        starts = opened.get_frame_timestamp(range(len(opened)))[:, 0]
        frames = opened.get_batch(indices).asnumpy()
        return len(opened), frames, [float(starts[i] - starts[0]) for i in indices]

    return _read(path, job, "decord", get)


def read_torchcodec(path: Path, job: Job) -> Clip:
    """Read the wanted frames of a file with torchcodec.

    Raises:
        DependencyError: If torchcodec is not installed, or does not load (it wants its own
            version of torch and a system FFmpeg).
        VideoError: If it cannot read the file.
        VideoLimitError: If the file is beyond the limits.
    """
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise _unusable("torchcodec", error) from None

    def get(chosen: Callable[[int], tuple[int, ...]]) -> tuple[int, NDArray[np.uint8], list[float]]:
        opened = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=job.threads)
        batch = opened.get_frames_at(list(chosen(len(opened))))
        start = float(opened.metadata.begin_stream_seconds or 0.0)
        times = [float(time) - start for time in batch.pts_seconds]
        return len(opened), batch.data.numpy(), times

    return _read(path, job, "torchcodec", get)


def _read(path: Path, job: Job, reader: str, get: Callable[..., Any]) -> Clip:
    # Opened with PyAV first: it refuses playlists and giant pictures, which the others would read.
    open_video(path, job, probe=False)[0].close()
    indices: tuple[int, ...] = ()

    def chosen(count: int) -> tuple[int, ...]:
        nonlocal indices
        if count < 1:
            raise VideoError(f"{job.name}: holds no frame")
        if count > job.limits.frames:
            raise VideoLimitError(
                f"{job.name}: {count} frames, more than {job.limits.frames}: raise Limits.frames"
            )
        indices = job.choose(range(count), Fraction(count))
        return indices

    try:
        count, frames, times = get(chosen)
    except A2M2Error:
        raise
    except Exception as error:  # Each library has errors of its own, of no common base.
        text = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise VideoError(f"{job.name}: {reader} cannot read it: {text}") from None
    job.watch.check()
    check_size(job.name, frames.shape[2], frames.shape[1], job.limits)
    resize = Resizer(job.spec).whole
    pictures = [
        resize(av.VideoFrame.from_ndarray(np.ascontiguousarray(f), "rgb24")) for f in frames
    ]
    return job.clip(pictures, indices, times=tuple(times), count=count, losses=())


def _unusable(package: str, error: Exception) -> DependencyError:
    if isinstance(error, ImportError):
        return DependencyError(
            f'reader="{package}" needs the package {package}: '
            f'pip install "a2m2_zoo[{package}]", or leave reader="pyav"'
        )
    reason = str(error).splitlines()[0]
    return DependencyError(
        f'reader="{package}": the package is there and does not load ({reason}): '
        'mend its installation, or leave reader="pyav"'
    )
