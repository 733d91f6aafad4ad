"""Clips to windows: read, cut and encoded, in this process or in a worker of a cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from a2m2_zoo._utils.remote.addresses import place
from a2m2_zoo._utils.workers import ahead
from a2m2_zoo.archive.codec import Codec
from a2m2_zoo.archive.cutting import Cut, Cutting, is_long, whole_cut, windows
from a2m2_zoo.archive.rows import ClipRows, Window, poster_of, stamp_of
from a2m2_zoo.engine import Work
from a2m2_zoo.errors import A2M2Error, VideoError
from a2m2_zoo.video import Clip, Limits, read_clips
from a2m2_zoo.video.content import content_hash

if TYPE_CHECKING:
    from a2m2_zoo.recognition.model import Model


@dataclass(frozen=True)
class End:
    """Stands behind the windows of a clip.

    Attributes:
        error: Why it has none.
        warnings: What to know of it.
    """

    error: A2M2Error | None = None
    warnings: tuple[str, ...] = ()


#: The windows of a clip and what to know of it, or why it has none.
Made: TypeAlias = "tuple[tuple[Window, ...], tuple[str, ...]] | A2M2Error"


@dataclass(frozen=True, eq=False)
class ClipEncoder:
    """Clips to windows. Nothing here knows where windows are kept.

    Attributes:
        model: Encodes.
        codec: Of the archive's descriptors.
        cutting: The archive's.
        workers: Clips decoded in parallel; None for the default of ``read_clips``.
        limits: What a short clip may cost; of long ones their ``megapixels`` count.
    """

    model: Model
    codec: Codec
    cutting: Cutting
    workers: int | None = None
    limits: Limits = field(default_factory=Limits)

    def pieces(self, clips: Iterable[Path]) -> Iterator[Window | End]:
        """The windows of clips in their order, each clip's end behind its own, while others are read.

        However long a clip is, few of its windows are at hand.
        """
        size, cuts = self.model.batch_size(), self._cuts(clips)
        batches = iter(lambda: list(islice(cuts, size)), [])
        for made in ahead(self._encoded, batches, device=self.model.device):
            yield from made

    def work(self, clips: Iterable[Path]) -> Iterator[Made]:
        """What is made of clips, in their order, each in one piece."""
        found: list[Window] = []
        with closing(cast("Generator[Window | End, None, None]", self.pieces(clips))) as pieces:
            for piece in pieces:
                if isinstance(piece, Window):
                    found.append(piece)
                    continue
                yield piece.error or (tuple(found), piece.warnings)
                found = []

    def _cuts(self, clips: Iterable[Path]) -> Iterator[Cut | End]:
        waiting: deque[Path] = deque()

        def drawn() -> Iterator[Path]:
            for path in clips:
                waiting.append(path)
                yield path

        spec, workers = self.model.preprocess, self.workers
        for clip in read_clips(drawn(), spec, workers=workers, limits=self.limits):
            yield from self._of(waiting.popleft(), clip)

    def _of(self, path: Path, clip: Clip | A2M2Error) -> Iterator[Cut | End]:
        if isinstance(clip, A2M2Error):
            yield End(clip)
            return
        if not is_long(clip, self.cutting):
            yield whole_cut(clip)
            yield End(warnings=clip.warnings)
            return
        there, damage = False, tuple[str, ...]()
        try:
            for cut in windows(path, self.model.preprocess, self.cutting, limits=self.limits):
                there = True
                yield cut
        except VideoError as error:  # of a damaged one there is what came before
            if not there:
                yield End(error)
                return
            damage = (str(error),)
        yield End(warnings=damage)

    def _encoded(self, cuts: list[Cut | End]) -> list[Window | End]:
        held = [cut for cut in cuts if isinstance(cut, Cut)]
        packed: Iterator[bytes] = iter(())
        if held:
            encoded = self.model.encode([cut.clip for cut in held], batch_size=len(held))
            packed = iter(self.codec.pack(encoded))
        return [
            cut
            if isinstance(cut, End)
            else Window(cut.start, cut.end, cut.rate, next(packed), poster_of(cut.clip.wide))
            for cut in cuts
        ]


@dataclass(frozen=True)
class MakeWindows:
    """Makes an encoder's work, see ``a2m2_zoo.engine.Make``.

    Attributes:
        encoder: On the CPU; each worker moves it to where it computes.
    """

    encoder: ClipEncoder

    @classmethod
    def of(cls, encoder: ClipEncoder) -> MakeWindows:
        """What encodes as ``encoder`` does."""
        return cls(replace(encoder, model=encoder.model.to("cpu")))

    def __call__(self) -> Work[Path, Made]:
        """The work."""
        from a2m2_zoo.engine.worker import own_device

        model = self.encoder.model
        device = own_device() if model.runtime == "torch" else "cpu"
        return replace(self.encoder, model=model.to(device)).work


def clip_rows(
    path: str | os.PathLike[str],
    model: Model,
    codec: Codec,
    cutting: Cutting,
    *,
    limits: Limits | None = None,
) -> ClipRows:
    """All rows of a clip, by itself: what a worker of your own on another machine calls.

    The same bits as ``Archive.add`` writes for it.

    Args:
        path: A video file or a folder of pictures.
        model: Encodes.
        codec: Of the archive's descriptors.
        cutting: The archive's.
        limits: What a short clip may cost; of long ones their ``megapixels`` count.

    Raises:
        VideoError: It cannot be read.
    """
    stamp, key = stamp_of(path), content_hash(path)  # one that changes meanwhile has an old stamp
    encoder = ClipEncoder(model, codec, cutting, limits=limits or Limits())
    (made,) = encoder.work([place(path)])
    if isinstance(made, A2M2Error):
        raise made
    return ClipRows.of(path, key, stamp, *made)
