"""Episodes straight from videos: decoded in threads ahead of time, augmented, encoded.

What a batch holds depends on the seed, its index and the files alone; what is decoded ahead only decides
when it is there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TypeAlias

import torch
from torch import Tensor

from a2m2_zoo._utils.cores import decoding_threads
from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.errors import ArgumentError, EpisodeError, VideoError
from a2m2_zoo.methods.base import TrainingBatch
from a2m2_zoo.training.augment import Augment, augment_clip
from a2m2_zoo.video import Limits, Preprocess, normalise, read_clip

_AHEAD = 2  # batches decoded before they are asked for
_LIMITS = Limits()

#: Pixels (T, size, size, 3) of a clip, or why there are none.
Decoded: TypeAlias = "Tensor | VideoError"


@dataclass(frozen=True)
class _Slot:
    """A clip's place in a batch."""

    episode: int
    label: int  # class id
    clip: int
    query: bool
    number: int  # among the supports, or queries, of its class in its episode


class VideoSource:
    """Episodes of decoded and augmented clips; an ``EpisodeSource``. Close it, or use it in a ``with``.

    A clip that cannot be read is replaced by the next one of its class that can and is not in the episode,
    which depends on the files alone, not on what was read before.

    Args:
        classes: Class name → its clips. A class's id is its place.
        form: The episodes; E of them are a batch. Its seed is that of frames and augmentation, too.
        backbone: Frozen and put into evaluation mode; batches carry its features beside the frames. None:
            batches carry frames and empty features, for a loop that tunes its backbone.
        preprocess: How clips are read in tests; here frames are drawn at random, one a segment.
        stages: The maps that the method reads.
        augment: None takes every clip as in tests, but for the frames.
        workers: Threads that decode; by default one per core this process may use, at most 8.
        limits: What one clip may cost.
        report: Told, once a clip, which could not be read and why.

    Attributes:
        classes: Number of classes.
        names: Their names, in the order of their ids.
        failures: Clips that could not be read so far → why.

    Raises:
        ArgumentError: The number of workers is below 1.
        EpisodeError: Too few classes, or a class has too few clips.
    """

    def __init__(
        self,
        classes: Mapping[str, Sequence[Path]],
        form: EpisodeForm,
        *,
        backbone: Backbone | None = None,
        preprocess: Preprocess,
        stages: Sequence[str] = (),
        augment: Augment | None = None,
        workers: int | None = None,
        limits: Limits = _LIMITS,
        report: Callable[[str], object] = warnings.warn,
    ) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"workers is {workers}; expected 1 or more")
        self.names = tuple(classes)
        self.classes = len(self.names)
        self.failures: dict[Path, str] = {}
        self._clips = [tuple(clips) for clips in classes.values()]
        self._plan = form.plan(map(len, self._clips))
        self._backbone = None if backbone is None else backbone.eval()
        self._stages = tuple(stages)
        self._preprocess, self._augment = preprocess, augment
        self._limits, self._report = limits, report
        self._decoding = (
            replace(preprocess, sampling="random")
            if augment is None
            else augment.decoding(preprocess)
        )
        self._episodes = form.episodes
        self._stop = Event()
        self._pool = ThreadPoolExecutor(
            workers or decoding_threads(), thread_name_prefix="a2m2-train"
        )
        self._ahead: dict[int, list[Future[Decoded]]] = {}
        self._last: int | None = None

    def batch(self, index: int) -> TrainingBatch:
        """Episodes ``index`` · E to ``index`` · E + E - 1 of the plan, on the CPU.

        The next batches are decoded meanwhile: those that follow if indices go on in the same steps.

        Args:
            index: 0 or more.

        Raises:
            EpisodeError: A class has too few clips that can be read.
            ArgumentError: The source is closed.
        """
        if self._stop.is_set():
            raise ArgumentError("this source is closed; make another one")
        try:
            waiting = self._ahead.pop(index, None) or self._submit(index)
            step = 1 if self._last is None else max(index - self._last, 1)
            self._last = index
            wanted = [index + step * (k + 1) for k in range(_AHEAD)]
            self._cancel(keep=wanted)
            for later in wanted:
                if later not in self._ahead:
                    self._ahead[later] = self._submit(later)
            return self._gathered(index, waiting)
        except BaseException:  # Ctrl-C too: what nobody will ask for is not decoded.
            self._cancel()
            raise

    def close(self) -> None:
        """Stop decoding; returns when the clips that are being decoded are done."""
        self._stop.set()
        self._cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _slots(self, index: int) -> list[_Slot]:
        """Supports and then queries of a batch, each episode by episode and class by class."""
        first = index * self._episodes
        drawn = self._plan.episodes(first, first + self._episodes)
        return [
            _Slot(first + e, int(label), int(clip), query, k)
            for query, places in ((False, drawn.support), (True, drawn.query))
            for e, labels in enumerate(drawn.classes)
            for w, label in enumerate(labels)
            for k, clip in enumerate(places[e, w])
        ]

    def _submit(self, index: int) -> list[Future[Decoded]]:
        return [self._pool.submit(self._read, slot, slot.clip) for slot in self._slots(index)]

    def _cancel(self, *, keep: Sequence[int] = ()) -> None:
        for index in [i for i in self._ahead if i not in keep]:
            for future in self._ahead.pop(index):
                future.cancel()

    def _read(self, slot: _Slot, clip: int) -> Decoded:
        """One clip as it stands in for a slot; run in a thread."""
        path = self._clips[slot.label][clip]
        if path in self.failures:
            return VideoError(self.failures[path])
        own = f"{self._plan.seed}:{slot.episode}:{slot.label}:{slot.query}:{slot.number}"
        seed = int.from_bytes(sha256(own.encode("utf-8", "surrogateescape")).digest()[:8], "big")
        try:
            found = read_clip(path, self._decoding, limits=self._limits, seed=seed)
        except VideoError as error:
            return error
        frames = torch.from_numpy(found.frames)
        augment = self._augment
        if augment is None:
            return frames
        return augment_clip(
            frames,
            augment,
            size=self._preprocess.size,
            seed=seed + 1,
            appearance=slot.query or augment.sides == "both",
        )

    def _gathered(self, index: int, waiting: Sequence[Future[Decoded]]) -> TrainingBatch:
        slots = self._slots(index)
        used = {(slot.episode, slot.label, slot.clip) for slot in slots}
        clips = []
        for slot, future in zip(slots, waiting, strict=True):
            found = future.result()
            if isinstance(found, VideoError):
                self._note(slot, slot.clip, found)
                found = self._replacement(slot, used)
            clips.append(found)
        plan, count = self._plan, self._episodes * self._plan.way * self._plan.shot
        support, query = (
            normalise(torch.stack(some), self._preprocess)
            for some in (clips[:count], clips[count:])
        )
        classes = torch.tensor([slot.label for slot in slots])
        return TrainingBatch(
            query=self._features(query),
            support=self._features(support),
            labels=torch.arange(plan.way).repeat_interleave(plan.shot),
            query_labels=torch.arange(plan.way).repeat_interleave(plan.query),
            way=plan.way,
            support_classes=classes[:count],
            query_classes=classes[count:],
            support_frames=support,
            query_frames=query,
        )

    def _replacement(
        self, slot: _Slot, used: set[tuple[int, int, int]]
    ) -> UInt8[Tensor, "t s s 3"]:
        """The next clip of the class that can be read and is not in the episode."""
        count = len(self._clips[slot.label])
        for clip in [(slot.clip + k) % count for k in range(1, count)]:
            if (slot.episode, slot.label, clip) in used:
                continue
            found = self._read(slot, clip)
            if not isinstance(found, VideoError):
                used.add((slot.episode, slot.label, clip))
                return found
            self._note(slot, clip, found)
        broken = sum(path in self.failures for path in self._clips[slot.label])
        raise EpisodeError(
            f"class {self.names[slot.label]!r} has {count} clips of which {broken} cannot be read, and an "
            f"episode needs {self._plan.shot + self._plan.query}; repair them or leave the class out"
        )

    def _note(self, slot: _Slot, clip: int, error: VideoError) -> None:
        path = self._clips[slot.label][clip]
        if path not in self.failures:
            self.failures[path] = str(error)
            self._report(f"{error}; another clip of {self.names[slot.label]!r} takes its place")

    @torch.no_grad()
    def _features(self, frames: Float[Tensor, "n t 3 h w"]) -> Features:
        if self._backbone is None:
            return Features({}, frames.new_zeros(*frames.shape[:2], 0))
        found: Features = self._backbone(frames, stages=self._stages)
        return found
