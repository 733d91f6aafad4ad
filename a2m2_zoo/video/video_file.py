"""Reading a video file with PyAV.

1. List the packets. Their presentation times give the time line without decoding anything.
2. Choose the times wanted, and for each the last packet from which it can be decoded alone.
3. Decode from there to the wanted packet and resize at once, so that only small pictures are kept.
4. Where the packets do not tell all, or decoding them shows something else than they told, decode
   everything, keep what decodes and choose among it.
"""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from itertools import pairwise
from statistics import median_low
from typing import TYPE_CHECKING

from a2m2_zoo.errors import VideoError, VideoLimitError
from a2m2_zoo.video.clip import Clip, Job
from a2m2_zoo.video.container import File, Table, list_packets, open_video
from a2m2_zoo.video.decoder import Decoder, Run, plan
from a2m2_zoo.video.preprocess import Resizer
from a2m2_zoo.video.sample import is_constant
from a2m2_zoo.video.timeline import Line, reorder, starts_late, time_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_INTRA = 1  # av.video.frame.PictureType.I, which PyAV does not name in every version


def read_video_file(path: File, job: Job) -> Clip:
    """Read the wanted frames of one video file.

    Args:
        path: A regular file, or one that was fetched.
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
        if line is not None and table.skippable:
            clip = _Short(Decoder(path, stream, table, job), table, job).read(line)
            if clip is not None:
                return clip
    return _read_all(path, job, line)


class _Short:
    """The short way: decode only what the wanted frames need, and watch that all is as was told."""

    def __init__(self, decoder: Decoder, table: Table, job: Job) -> None:
        self._decoder, self._table, self._job = decoder, table, job
        self._resize = Resizer(job.spec).whole
        self._interlaced = False
        self._headed = False

    def read(self, line: Line) -> Clip | None:
        """Return the clip, or None if its frames might be others than those of a full decode."""
        table, job = self._table, self._job
        depth = reorder(table)
        if depth is None or (depth == 0 and table.between):
            return None
        expected = len(line.stamps)
        if starts_late(table):
            begun = self._from_the_start(line)
            if begun is None:
                return None
            line = begun
        indices = job.choose(line.times, line.duration)
        wanted = {line.stamps[index]: index for index in indices}
        runs = plan(table, *self._ordinals(line, indices, depth))
        _check_work(sum(run.last - run.first + 1 for run in runs), job)
        found = self._found(runs, wanted)
        if found is None or len(found) < len(wanted) or not self._holds(line, depth):
            return None
        losses = (*_cut(table), *_left_out(len(line.stamps), expected))
        return _clip(job, line, indices, found, losses)

    def _from_the_start(self, line: Line) -> Line | None:
        """Decode up to the second packet that can be begun with, and leave out what does not come.

        A recording often begins amid pictures that refer to others before it.
        """
        table = self._table
        if len(table.keys) < 2:
            return None
        end = table.keys[1]
        _check_work(end, self._job)
        stamps: list[int] = []
        for frame in self._decoder.run(Run(0, end - 1, frozenset(range(end)))):
            if frame.pts is None or (stamps and frame.pts <= stamps[-1]):
                return None
            stamps.append(frame.pts)
        self._headed = True
        promised = {
            time for time, show in zip(table.times[:end], table.shown, strict=False) if show
        }
        if not stamps or not promised.issuperset(stamps) or self._decoder.failures:
            return None
        left_out = promised.difference(stamps)
        return Line.of([s for s in line.stamps if s not in left_out], table.last, table.tick)

    def _ordinals(
        self, line: Line, indices: tuple[int, ...], depth: int
    ) -> tuple[list[int], dict[int, list[int]]]:
        """Return the packets wanted, and for each those whose pictures are shown just before and after.

        Where pictures are stored in another order than shown, their times alone say which is which.
        With its neighbours decoded, a picture whose time is that of another comes out of order.
        """
        found = {time: ordinal for ordinal, time in enumerate(self._table.times)}
        ordinals = [found[line.stamps[index]] for index in indices]
        if not depth:
            return ordinals, {}
        if not is_constant(line.times, line.duration):
            self._decoder.skip_none()  # The more so where times are uneven.
        last = len(line.stamps) - 1
        beside = {
            ordinal: [
                found[line.stamps[max(0, index - 1)]],
                found[line.stamps[min(last, index + 1)]],
            ]
            for ordinal, index in zip(ordinals, indices, strict=True)
        }
        return ordinals, beside

    def _found(
        self, runs: list[Run], wanted: dict[int, int]
    ) -> dict[int, NDArray[np.uint8]] | None:
        """Return the wanted frames by index, or None if something is not as the packets told."""
        table = self._table
        found: dict[int, NDArray[np.uint8]] = {}
        latest: int | None = None
        for run in runs:
            start = table.times[run.first] if run.first else None
            begins = start is not None
            for frame in self._decoder.run(run):
                if frame.pts is None:
                    return None
                if begins and table.flagged:
                    if frame.pict_type != _INTRA or frame.pts != start:
                        return None
                    begins = False
                if start is not None and frame.pts < start:
                    continue  # It refers to what was left out, and is not wanted.
                # Pictures come in the order they are shown, or their times are wrong.
                if latest is not None and frame.pts <= latest:
                    return None
                if frame.is_corrupt:  # What fills its holes comes from all pictures before it.
                    return None
                latest = frame.pts
                self._interlaced = self._interlaced or frame.interlaced_frame
                if frame.pts in wanted:
                    found[wanted[frame.pts]] = self._resize(frame)
        return None if self._decoder.failures else found

    def _holds(self, line: Line, depth: int) -> bool:
        """Check against what only the decoder knows."""
        reorders = self._decoder.reorders
        if depth > 0 and not reorders:
            return False
        if self._table.between is None and depth == 0 and reorders:
            return False  # Pictures are stored in another order than shown, and the times do not say so.
        # Of two fields in packets of their own each has a time, and together they give one picture.
        if self._interlaced and not self._headed:
            begun = self._from_the_start(line)
            return begun is not None and begun.stamps == line.stamps
        return True


def _read_all(path: File, job: Job, guess: Line | None) -> Clip:
    """Decode the whole file to learn what it really holds.

    If it is what the packets told, that is all; otherwise it is decoded once more for the chosen frames.
    """
    container, stream = open_video(path, job, probe=True)
    with closing(container):
        table = list_packets(container, stream, job, probed=True)
        _check_work(len(table.times), job)
        decoder, resize = Decoder(path, stream, table, job), Resizer(job.spec).whole
        indices = job.choose(guess.times, guess.duration) if guess else ()
        hoped = {guess.stamps[index]: index for index in indices} if guess else {}
        times, found, interlaced, patched = [], {}, False, 0
        for frame in decoder.every():
            times.append(frame.pts)
            patched += frame.is_corrupt
            interlaced = interlaced or frame.interlaced_frame
            if frame.pts in hoped:
                found[hoped[frame.pts]] = resize(frame)
        if not times:
            raise VideoError(
                f"{job.name}: none of its {len(table.times)} frames decodes: the file is damaged"
            )
        # Some packets rightly give no picture of their own (the second field of a pair), so where the
        # packets alone do not tell how many there should be, refusals are what is left to count.
        expected = len(times) + decoder.failures
        if guess and table.certain and not interlaced:
            expected = max(expected, len(guess.stamps))
        if guess and times == list(guess.stamps):
            line = guess
        else:
            line = _line(times, table, stream.average_rate)
            indices = job.choose(line.times, line.duration)
            found = _again(path, table, job, set(indices))
    losses = (*_cut(table), *_left_out(len(times), expected), *_patched(patched, len(times)))
    return _clip(job, line, indices, found, losses)


def _line(times: list[int | None], table: Table, rate: Fraction | None) -> Line:
    """Return the line of the frames that came, in the order they came."""
    known = [time for time in times if time is not None]
    line = Line.of(known, table.last, table.tick) if len(known) == len(times) else None
    if line is not None:
        return line
    # Without usable times the frames are taken to follow each other evenly.
    rate = Fraction(rate or 25)
    steps = [after - before for before, after in pairwise(sorted(known)) if after > before]
    if steps:  # An average means little where times jump.
        usual = 1 / (median_low(steps) * table.tick)
        rate = rate if 0.9 < rate / usual < 1.1 else usual
    return Line.even(len(times), rate)


def _again(path: File, table: Table, job: Job, wanted: set[int]) -> dict[int, NDArray[np.uint8]]:
    """Decode from the start once more, and return the wanted frames by their number."""
    # With a decoder of its own: one that has been used has the parameters of the last frames.
    container, stream = open_video(path, job, probe=True)
    found, resize = {}, Resizer(job.spec).whole
    with closing(container):
        for index, frame in enumerate(Decoder(path, stream, table, job).every()):
            if index in wanted:
                found[index] = resize(frame)
            if len(found) == len(wanted):
                return found
    raise VideoError(f"{job.name}: decodes in another way every time: the file is damaged")


def _clip(
    job: Job,
    line: Line,
    indices: tuple[int, ...],
    found: dict[int, NDArray[np.uint8]],
    losses: tuple[str, ...],
) -> Clip:
    if line.gaps:
        job.note(line.note())
    return job.clip(
        [found[index] for index in indices],
        indices,
        times=tuple(float((line.times[i] - line.times[0]) * line.tick) for i in indices),
        count=len(line.times),
        losses=losses,
    )


def _left_out(there: int, expected: int) -> tuple[str, ...]:
    if there >= expected:
        return ()
    return (f"{expected - there} of {expected} frames do not decode and are left out",)


def _patched(damaged: int, there: int) -> tuple[str, ...]:
    if not damaged:
        return ()
    return (f"{damaged} of {there} frames are damaged, and what is missing in them is guessed",)


def _cut(table: Table) -> tuple[str, ...]:
    """Return what there is to say about a file that holds less than its header announces."""
    if table.announced is not None and table.there is not None:
        return (
            f"truncated: its header announces {table.announced:.2f} s, {table.there:.2f} s are there",
        )
    return ("damaged: reading stopped or stumbled before its end",) if table.broken else ()


def _check_work(packets: int, job: Job) -> None:
    if packets > job.limits.frames:
        raise VideoLimitError(
            f"{job.name}: {packets} frames would have to be decoded, more than {job.limits.frames}"
            ": cut the clip, give it key frames, or raise Limits.frames"
        )
