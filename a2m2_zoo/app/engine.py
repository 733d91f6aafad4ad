"""What every visitor of the page shares: the model, the drawn clips, the rules about files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo.api import build_bank
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.store import Store
from a2m2_zoo.errors import A2M2Error, BankError, DependencyError, VideoLimitError
from a2m2_zoo.recognition.bank import SupportBank
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.supports import resolve_bank
from a2m2_zoo.report.explain import explain
from a2m2_zoo.report.timeline import draw_timeline, frames_of
from a2m2_zoo.spotting import Segment, Window, spot
from a2m2_zoo.spotting.cutting import cut_segment
from a2m2_zoo.video import read_clip, read_clips

if TYPE_CHECKING:
    from a2m2_zoo.archive import Archive, Hit
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.video import Clip

_AT_ONCE = 8  # clips that are read before the next look whether to go on
# How errors name the limits that programs may raise: after what else can be done, or alone.
_ELSE, _ALONE = (re.compile(rf"{before} raise Limits\.\w+") for before in (",? or", ":"))
_SHOTS, _STUDIO = 2, 2  # as in `a2m2 demo`
_LONG_VIDEO = ("jump", "wave", "squat", "kick")


@dataclass(frozen=True)
class Answer:
    """The answer for one clip.

    Attributes:
        prediction: The answer.
        picture: Why, as a picture; None where matplotlib is missing.
    """

    prediction: Prediction
    picture: Path | None


@dataclass(frozen=True)
class Spotted:
    """What was found in a video.

    Attributes:
        segments: The segments in order.
        picture: Scores over time; None where matplotlib is missing or no window was scored.
        damage: The error of a video that is damaged behind what was found; empty if it is sound.
    """

    segments: tuple[Segment, ...]
    picture: Path | None
    damage: str


@dataclass(frozen=True)
class Drawn:
    """Generated clips of a few actions.

    Attributes:
        bank: Supports of each action.
        queries: (clip, its action), none of them among the supports.
        long_video: A longer video in which several actions follow each other.
    """

    bank: SupportBank
    queries: tuple[tuple[Path, str], ...]
    long_video: Path


class Engine:
    """Computes for the page. Safe to share between threads; one computation runs at a time.

    Args:
        model: The recogniser.
        folder: A folder of its own; nothing outside it is ever read for a visitor.
        limits: What visitors may cost.
        start: Classes that every visitor begins with.
        archive: Videos in which visitors may look for their classes; made by the same model.
    """

    def __init__(
        self,
        model: Model,
        folder: Path,
        *,
        limits: AppLimits,
        start: SupportBank | None = None,
        archive: Archive | None = None,
    ) -> None:
        if start is not None:
            start.check(model)
        self.model, self.limits, self.start, self.archive = model, limits, start, archive
        self.folder = folder.resolve()
        self.files = self.folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.store = Store(self.files, limits)
        self._one = threading.Lock()
        self._drawing = threading.Lock()
        self._ended = threading.Event()

    def end(self) -> None:
        """Break off what is being computed, and compute no more."""
        self._ended.set()

    def encode(
        self, name: str, files: Sequence[Path]
    ) -> tuple[SupportBank | None, list[A2M2Error]]:
        """The clips that can be read as a bank of one class, and the errors of the others."""
        bank: SupportBank | None = None
        errors: list[A2M2Error] = []

        def sound(part: Sequence[Path]) -> Iterator[tuple[str, Clip]]:
            found = read_clips(part, self.model.preprocess, limits=self.limits.video)
            for path, clip in zip(part, found, strict=True):
                if isinstance(clip, A2M2Error):
                    errors.append(clip)
                else:
                    yield name, replace(clip, source=path.name)

        for at in range(0, len(files), _AT_ONCE):
            with self._one:
                self._go_on()
                clips = sound(files[at : at + _AT_ONCE])
                first = next(clips, None)
                if first is not None:
                    made = SupportBank.build(chain([first], clips), self.model)
                    bank = bank.add(made) if bank else made
        return bank, errors

    def load_bank(self, path: Path) -> SupportBank:
        """A bank that a visitor sent, checked down to the shape of what will be computed with.

        Raises:
            BankError: It is broken, too large for the page, or of another model.
        """
        bank = resolve_bank(SupportBank.load(path), model=self.model)
        bank.check(self.model)
        shapes = {n: (tuple(t.shape[1:]), t.dtype) for n, t in bank.descriptors.items()}
        frames = self.model.preprocess.frames
        finite = all(bool(t.isfinite().all()) for t in bank.descriptors.values())
        if shapes != self._shapes or not finite or bank.thumbnails.shape[1] != frames:
            raise BankError(
                f"{path.name!r} does not hold what {self.model.id} computes; save it again"
            )
        if len(bank.labels) > self.limits.clips or len(bank.class_names) > self.limits.classes:
            raise BankError(
                f"{path.name!r} has {len(bank.class_names)} classes and {len(bank.labels)} clips; the page "
                f"takes {self.limits.classes} classes and {self.limits.clips} clips"
            )
        # A path of the machine where it was made is nobody's business here.
        return replace(bank, sources=tuple(Path(source).name for source in bank.sources))

    def recognizer(self, bank: SupportBank) -> Recognizer:
        """The model bound to a visitor's classes."""
        with self._one:
            self._go_on()
            return Recognizer(self.model, bank)

    def classify(
        self, path: Path, recognizer: Recognizer, *, reject_below: float, picture: Path
    ) -> Answer:
        """The action of one clip; ``picture`` is where the explanation goes.

        Raises:
            VideoError: The clip cannot be read.
        """
        with self._one:
            self._go_on()
            answer = recognizer(
                path, reject_below=reject_below, limits=self.limits.video, plans=True
            )
            named = replace(answer, query=path.name)
            if not answer.plans:
                return Answer(named, None)
            clip = read_clip(path, self.model.preprocess, limits=self.limits.video)
            try:
                return Answer(named, explain(named, clip, recognizer.bank, picture))
            except DependencyError:
                return Answer(named, None)

    def spot(
        self, path: Path, bank: SupportBank, *, reject_below: float | None, picture: Path
    ) -> Spotted:
        """When the actions of ``bank`` happen in a video.

        Raises:
            VideoError: The video cannot be read at all.
            VideoLimitError: It is too long.
        """
        windows: list[Window] = []
        damage: list[A2M2Error] = []
        longest = 60 * self.limits.video_minutes

        def check(at: float, length: float | None) -> None:
            self._go_on()
            if max(at, length or 0.0) > longest:
                raise VideoLimitError(
                    f"{path.name} is longer than {self.limits.video_minutes:g} minutes; cut it, or use "
                    "`a2m2 spot`"
                )

        with self._one:
            segments = spot(
                path,
                bank,
                model=self.model,
                reject_below=reject_below,
                limits=self.limits.video,
                on_damage=damage.append,
                on_windows=windows.extend,
                on_progress=check,
            )
            if any(isinstance(error, VideoLimitError) for error in damage):
                raise damage[0]
            if damage and not windows:
                raise damage[0]
            said = str(damage[0]) if damage else ""
            drawn: Path | None = None
            if windows:
                strip = frames_of(path, megapixels=self.limits.video.megapixels)
                try:
                    drawn = draw_timeline(
                        segments, windows, bank.class_names, picture, title=path.name, strip=strip
                    )
                except DependencyError:
                    drawn = None
            return Spotted(tuple(segments), drawn, said)

    def find(self, bank: SupportBank, count: int) -> list[Hit]:
        """Where the classes are seen in the archive, ``count`` places of each."""
        assert self.archive is not None  # the page has no such tab without one
        with self._one:
            self._go_on()
            return self.archive.find(bank, k=count)

    def cut(self, video: str, segment: Segment, path: Path) -> Path:
        """A stretch of a video of the archive as a clip that browsers play.

        Raises:
            VideoError: The video is not there any more, or is another one.
        """
        with self._one:
            self._go_on()
            return cut_segment(video, segment, path, limits=self.limits.video)

    def drawn(self) -> Drawn:
        """The generated clips, drawn when they are first asked for."""
        with self._drawing:
            return self._drawn

    def plain(self, error: object) -> str:
        """What an error says, without the folders of this machine and what no visitor can do."""
        said = re.sub(re.escape(str(self.folder)) + r"(?:[\\/][^\\/\s'\"]+)*[\\/]", "", str(error))
        return _ALONE.sub(": give a smaller or shorter one", _ELSE.sub("", said))

    def explain_error(self, error: Exception) -> str:
        """One line for the page, whatever went wrong."""
        if isinstance(error, A2M2Error):
            return self.plain(error)
        if isinstance(error, MemoryError):
            return "there is not enough memory for that; give a smaller or shorter video"
        return (
            f"that did not work ({type(error).__name__}); try another clip, the page is still there"
        )

    def _go_on(self) -> None:
        if self._ended.is_set():
            raise A2M2Error("the page is being closed")

    @cached_property
    def _drawn(self) -> Drawn:
        from a2m2_zoo.data.index import class_folders
        from a2m2_zoo.synthetic import draw_named, write_dataset, write_video

        root = self.folder / "drawn"
        for part, clips, seed in (("supports", _SHOTS, 0), ("queries", 1, 1)):
            if not (root / part).exists():
                write_dataset(
                    root / part, clips=clips, seed=seed, named=True, style="scene", studio=_STUDIO
                )
        queries: list[tuple[Path, str]] = []
        for name, clips_of in class_folders(root / "queries").items():
            for path in clips_of:
                plain = path.rename(root / f"unseen-{len(queries) + 1}{path.suffix}")
                queries.append((plain, name))
        long_video = root / "several-actions.mp4"
        parts = [
            draw_named(n, 5, seed=1, frames=48, style="scene", studio=_STUDIO) for n in _LONG_VIDEO
        ]
        write_video(long_video, np.concatenate(parts))
        with self._one:
            bank = build_bank(root / "supports", model=self.model)
        names = tuple(Path(source).name for source in bank.sources)
        return Drawn(replace(bank, sources=names), tuple(queries), long_video)

    @cached_property
    def _shapes(self) -> dict[str, tuple[tuple[int, ...], object]]:
        spec = self.model.preprocess
        blank = read_clip(np.zeros((spec.frames, 64, 64, 3), np.uint8), spec)
        found = self.model.encode([blank])
        return {name: (tuple(t.shape[1:]), t.dtype) for name, t in found.items()}
