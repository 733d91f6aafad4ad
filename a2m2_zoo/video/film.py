"""Reading a video file with PyAV.

1. List the packets. Their presentation times give the time line without decoding anything.
2. Choose the times wanted, and for each the last key frame it can be decoded from.
3. Decode from there to the wanted packet and resize at once, so that only small pictures are kept.
4. If a wanted picture does not come, decode everything, keep what decodes and choose among it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo.errors import VideoError, VideoLimitError
from a2m2_zoo.video.clip import Clip, Job
from a2m2_zoo.video.container import Table, list_packets, open_video
from a2m2_zoo.video.decoder import Decoder, plan
from a2m2_zoo.video.preprocess import Resizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Line:
    """When each shown frame appears and how long the whole lasts, in ticks of ``tick`` seconds."""

    times: tuple[int, ...]
    duration: Fraction
    tick: Fraction

    @classmethod
    def of(cls, times: list[int], last: int, tick: Fraction) -> Line:
        """Return the line of frames at increasing times, the last of which stays ``last`` ticks."""
        span = times[-1] - times[0]
        mean = Fraction(span, len(times) - 1) if len(times) > 1 else Fraction(1)
        # Writers that do not know how long the last frame stays put 0 or one tick.
        return cls(tuple(times), span + (Fraction(last) if 2 * last >= mean else mean), tick)


def read_film(path: str | Path, job: Job) -> Clip:
    """Read the wanted frames of one video file.

    Args:
        path: A regular file.
        job: What is wanted of it.

    Raises:
        VideoError: If nothing decodes, or in a strict job if something does not.
        VideoLimitError: If a limit is passed.
    """
    container, stream = open_video(path, job, probe=False)
    with closing(container):
        table = list_packets(container, stream, job, probed=False)
        if not table.times:
            raise VideoError(
                f"{job.name}: holds no frame: the file is empty or cut off at its start"
            )
        line = time_line(table)
        if line is not None:
            indices = job.choose(line.times, line.duration)
            ordinals = {time: ordinal for ordinal, time in enumerate(table.times)}
            runs = plan(table, [ordinals[line.times[index]] for index in indices])
            _check_work(sum(run.last - run.first + 1 for run in runs), job)
            wanted = {line.times[index]: index for index in indices}
            decoder, resize = Decoder(path, stream, table, job), Resizer(job.spec)
            found: dict[int, NDArray[np.uint8]] = {}
            believed, latest = True, line.times[0] - 1
            for frame in (frame for run in runs for frame in decoder.run(run)):
                if frame.pts in wanted:
                    found[wanted[frame.pts]] = resize(frame)
                    # Pictures come in the order they are shown, or their times are wrong.
                    believed, latest = believed and frame.pts > latest, frame.pts
            if believed and len(found) == len(wanted):
                return _clip(job, line, indices, found, _cut(table, line))
    return _read_all(path, job, expected=0 if line is None else len(line.times))


def time_line(table: Table) -> Line | None:
    """Return the shown frames in their order, or None where the packets do not tell."""
    shown = [time for time, show in zip(table.times, table.shown, strict=True) if show]
    known = sorted(time for time in shown if time is not None)
    # Two packets with one time could not be told apart in what the decoder returns.
    unique = len(known) == len(shown) and len(set(table.times)) == len(table.times)
    if not known or not unique or not table.ordered:
        return None
    return Line.of(known, table.last, table.tick)


def _read_all(path: str | Path, job: Job, *, expected: int) -> Clip:
    """Decode the whole file to learn what it really holds, then once more for the chosen frames."""
    container, stream = open_video(path, job, probe=True)
    with closing(container):
        table = list_packets(container, stream, job, probed=True)
        _check_work(len(table.times), job)
        decoder, resize = Decoder(path, stream, table, job), Resizer(job.spec)
        times = [frame.pts for frame in decoder.every()]
        if not times:
            raise VideoError(
                f"{job.name}: none of its {len(table.times)} frames decodes: the file is damaged"
            )
        # Some packets rightly give no picture of their own (the second field of a pair), so where the
        # packets alone do not tell how many there should be, refusals are what is left to count.
        expected = max(expected, len(times) + decoder.failures)
        known = [time for time in times if time is not None]
        if len(known) == len(times) and all(a < b for a, b in pairwise(known)):
            line = Line.of(known, table.last, table.tick)
        else:  # Without usable times the frames are taken to follow each other evenly.
            rate = stream.average_rate or Fraction(25)
            line = Line.of(list(range(len(times))), 1, 1 / Fraction(rate))
        indices = job.choose(line.times, line.duration)
        wanted = set(indices)
        found = {}
        for index, frame in enumerate(decoder.every()):
            if index in wanted:
                found[index] = resize(frame)
            if len(found) == len(wanted):
                break
    losses = _cut(table, line)
    if len(times) < expected:
        lost = f"{expected - len(times)} of {expected} frames do not decode and are left out"
        losses = (lost, *losses)
    return _clip(job, line, indices, found, losses)


def _clip(
    job: Job,
    line: Line,
    indices: tuple[int, ...],
    found: dict[int, NDArray[np.uint8]],
    losses: tuple[str, ...],
) -> Clip:
    return job.clip(
        [found[index] for index in indices],
        indices,
        times=tuple(float((line.times[i] - line.times[0]) * line.tick) for i in indices),
        count=len(line.times),
        losses=losses,
    )


def _cut(table: Table, line: Line) -> tuple[str, ...]:
    """Return what there is to say about a file that holds less than its header announces."""
    length = float(line.duration * line.tick)
    slack = max(3 * length / len(line.times), 0.02 * length)
    if table.announced is not None and table.announced - length > slack:
        return (
            f"truncated: its header announces {table.announced:.2f} s, {length:.2f} s are there",
        )
    return ("damaged: reading stopped or stumbled before its end",) if table.broken else ()


def _check_work(packets: int, job: Job) -> None:
    if packets > job.limits.frames:
        raise VideoLimitError(
            f"{job.name}: {packets} frames would have to be decoded, more than {job.limits.frames}"
            ": cut the clip, give it key frames, or raise Limits.frames"
        )
