"""Frames in, segments out: the one path behind files, cameras and ``push``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, cast

import av
import numpy as np
import torch

from a2m2_zoo._utils.arguments import kind, real
from a2m2_zoo._utils.workers import apart, each
from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.recognition.named import AnyModel, model_for
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.supports import AnySupports, saved_bank
from a2m2_zoo.spotting.sampling import Filled, Sampler, seconds
from a2m2_zoo.spotting.segments import (
    REJECT_CLOSED_SET,
    REJECT_OPEN_SET,
    Rule,
    Segment,
    Segmenter,
)
from a2m2_zoo.spotting.windows import (
    STRIDE,
    FeatureRing,
    PeopleRing,
    Window,
    make_grid,
    window_lengths,
)
from a2m2_zoo.video import normalise
from a2m2_zoo.video.clip import check_size, whole_pictures
from a2m2_zoo.video.gaps import GAP
from a2m2_zoo.video.inputs import AnyLimits, as_limits, as_numbers
from a2m2_zoo.video.preprocess import Resizer, cropped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.recognition.model import Model

_ANEW = 4  # frames in a row that each begin the stream anew, until that is said


class StreamOptions(TypedDict, total=False):
    """How windows are laid over a video and judged: what ``Stream`` takes, by the same names."""

    window: float | Sequence[float] | None
    stride: float
    reject_below: float | None
    rule: Rule | None
    gap: float
    limits: AnyLimits
    on_windows: Callable[[Sequence[Window]], None] | None


def default_threshold(model: Model) -> float:
    """The ``reject_below`` of a stream that is given none."""
    return REJECT_CLOSED_SET if model.table is None else REJECT_OPEN_SET


class Stream:
    """Spots actions in frames as they come. Not for several threads at once; make one for each.

    Frames are put on a time grid, each is encoded once however many windows hold it, and the maps of the
    longest window are kept, so memory does not grow with time. A backbone that mixes frames encodes every
    window anew, and its frames are kept. So it is with people, who are followed from
    slot to slot where the model compares them (``Model.pose``) and the supports show somebody.

    Args:
        model: The recogniser, its name or path; if None, the one that a bank names, else the default one.
        bank: The supports, encoded by that model; or its file, or clips, as for ``classify``.
        window: Length in seconds of the windows that are scored, or several; by default lengths that suit
            the supports, see ``window_lengths``.
        stride: Seconds between two windows of one length, at most the shortest length.
        reject_below: Moments whose best class is less likely right are of no class; that of ``rule`` if
            None.
        rule: How windows become segments.
        gap: Seconds without a frame, or back in time, after which the stream begins anew: what was
            open ends, and no window reaches over the break.
        limits: Its ``megapixels`` bound the frames.
        on_windows: Called with the windows of each moment, for those who want the scores themselves.

    Attributes:
        grid: When it looks.

    Raises:
        BankError: The bank was made by another model, or the file is no bank.
        VideoError: A clip of the supports cannot be read.
        EpisodeError: The bank has one class only.
        ArgumentError: A number is out of range.

    >>> from a2m2_zoo import build_bank, load_model
    >>> from a2m2_zoo.synthetic import draw_named
    >>> model = load_model()
    >>> bank = build_bank({n: [draw_named(n, 0, studio=2)] for n in ("kick", "squat")}, model=model)
    >>> stream = Stream(model, bank, window=2.0, reject_below=0.0)
    >>> clip = draw_named("kick", 1, frames=32, studio=2)
    >>> early = [s for i, frame in enumerate(clip) for s in stream.push(frame, i / 16)]
    >>> [segment.label for segment in early + stream.close()]
    ['kick']
    """

    def __init__(
        self,
        model: AnyModel,
        bank: AnySupports,
        *,
        window: float | Sequence[float] | None = None,
        stride: float = STRIDE,
        reject_below: float | None = None,
        rule: Rule | None = None,
        gap: float = GAP,
        limits: AnyLimits = None,
        on_windows: Callable[[Sequence[Window]], None] | None = None,
    ) -> None:
        supports = saved_bank(bank) or bank
        model = model_for(model, supports)
        self._recognizer = Recognizer(model, supports)
        bank = self._recognizer.bank
        gap = _seconds("gap", gap, most=60)
        stride = _seconds("stride", stride, most=math.inf)
        frames = model.preprocess.frames
        if window is None:
            window = window_lengths(bank)
        several = window if isinstance(window, (list, tuple)) else (window,)
        lengths = [_seconds("window", length, most=math.inf) for length in several]
        self.grid = make_grid(lengths, stride=stride, frames=frames)
        self._model = model
        rule = Rule() if rule is None else rule
        if not isinstance(rule, Rule):
            raise ArgumentError(f"rule is {kind(rule)}; expected an a2m2_zoo.spotting.Rule")
        if reject_below is None:
            reject_below = rule.reject_below
        if reject_below is None:
            reject_below = default_threshold(model)
        rule = replace(rule, reject_below=reject_below)
        self._share = rule.known_share
        self._sampler: Sampler[av.VideoFrame] = Sampler(step=self.grid.step, gap=gap)
        self._segmenter = Segmenter(bank.class_names, self.grid, rule)
        # The frame that a slot repeats may be older than the window by the gap.
        self._capacity = self.grid.lengths[-1] + math.ceil(gap / self.grid.step) + 1
        self._ring = FeatureRing(self._capacity)
        self._limits = as_limits(limits)
        self._on_windows = on_windows
        self._closed = False
        self._anew = 0  # frames in a row that began the stream anew
        self._begin()

    def _begin(self) -> None:
        self._resize = Resizer(self._model.preprocess)
        self._slots = 0
        self._last = -1  # the last slot that was scored
        # Slot → the slot that first showed its frame, and that frame as long as it is not encoded.
        self._first: dict[int, int] = {}
        self._fresh: dict[int, NDArray[np.uint8]] = {}
        # Slot → its whole picture, as long as nobody was looked for in it.
        self._unsearched: dict[int, NDArray[np.uint8]] = {}
        reads = self._model.method.reads_people and self._recognizer.shows_people
        self._people = PeopleRing(self._capacity, runtime=self._model.runtime) if reads else None

    @property
    def late(self) -> int:
        """Frames that were passed over since they came after a later one, or twice."""
        return self._sampler.late

    def push(self, frame: Any, timestamp: float) -> list[Segment]:
        """Take the next frame.

        Args:
            frame: RGB, (H, W, 3) uint8: an array or a tensor; or a frame of PyAV.
            timestamp: When it was shown, in seconds on any clock, that of ``time.time()`` too. What comes
                late is passed over; a jump of more than ``gap`` begins the stream anew.

        Returns:
            The segments that became final, in the order of time; mostly none. A segment is final at most
            one longest window after its end.

        Raises:
            ArgumentError: The frame or its time is none, or the stream was closed.
            VideoError: The frame is of no device that computes.
            VideoLimitError: The frame is too large.
        """
        if self._closed:
            raise ArgumentError("the stream is closed; make a new one")
        found: list[Segment] = []
        picture, at = self._checked(frame), seconds(timestamp)
        if self._sampler.breaks(at):
            found += self._finish()
            self._sampler.restart()
            self._anew += 1
            if self._anew == _ANEW:
                warnings.warn(
                    f"each of {_ANEW} frames came too long after the one before it and began the stream "
                    "anew: nothing is found so. Timestamps are in seconds, not milliseconds; of a stream "
                    "that is so slow, raise gap",
                    stacklevel=2,
                )
        else:
            self._anew = 0
        for filled in self._sampler.push(picture, at):
            self._keep(filled)
            if self._slots % self.grid.stride == 0:
                found += self._score(self.grid.lengths)
        return found

    def close(self) -> list[Segment]:
        """The segments that are left. Nothing can be pushed afterwards; closing twice gives nothing."""
        if self._closed:
            return []
        found = self._finish()
        self._closed = True
        return found

    def _checked(self, frame: Any) -> av.VideoFrame:
        if not isinstance(frame, av.VideoFrame):
            array = as_numbers(frame, "the frame")
            if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
                raise ArgumentError(
                    f"a frame has shape {array.shape}, {array.dtype}; expected RGB (H, W, 3), uint8"
                )
            # A copy: cameras like to write the next picture over the last one.
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")
        picture = cast("av.VideoFrame", frame)
        check_size("the frame", picture.width, picture.height, self._limits)
        return picture

    def _keep(self, filled: Filled[av.VideoFrame]) -> None:
        """Remember what a slot shows, and forget what no window can hold any more."""
        slot = filled.slot
        if filled.repeated:
            self._first[slot] = self._first[slot - 1]
        else:
            self._first[slot] = slot
            picture = self._resize.whole(filled.item)
            crop = np.ascontiguousarray(cropped(picture, self._model.preprocess))
            self._fresh[slot] = crop
            if self._people is not None:
                whole = whole_pictures([picture])
                self._unsearched[slot] = crop if whole is None else whole[0]
        self._first.pop(slot - self.grid.lengths[-1], None)
        self._fresh.pop(slot - self._capacity, None)
        self._slots = slot + 1

    def _finish(self) -> list[Segment]:
        """Score what has not been scored, and settle everything."""
        found: list[Segment] = []
        if self._slots - 1 > self._last:
            lengths = [n for n in self.grid.lengths if n <= self._slots]
            # What is shorter than every window is scored as a whole, as a clip is.
            found += self._score(lengths or [self._slots])
        found += self._segmenter.close()
        self._begin()
        return found

    def _score(self, lengths: Sequence[int]) -> list[Segment]:
        """Score all windows that end with the last slot."""
        ready = [length for length in lengths if length <= self._slots]
        if not ready:
            self._search()
            return []
        windows = self._scored(ready)
        self._last = self._slots - 1
        if self._on_windows is not None:
            self._on_windows(windows)
        return self._segmenter.push(windows, begun=self._sampler.origin)

    @apart
    @torch.inference_mode()
    def _scored(self, ready: Sequence[int]) -> list[Window]:
        last = self._slots - 1
        held = [[self._first[slot] for slot in self.grid.slots(last, n)] for n in ready]
        needed = sorted({slot for slots in held for slot in slots} & self._fresh.keys())
        # People first: what is first runs in this very thread, and to its end after Ctrl-C, too.
        mixed: list[Features] = []

        def encode() -> None:
            if self._model.backbone.mixes_frames:
                mixed.append(self._windows(held))
            else:
                self._encode(needed)

        jobs: list[Callable[[], None]] = [self._search, encode]
        list(each(lambda job: job(), jobs))
        features = mixed[0] if mixed else self._ring.gather(held)
        if self._people is not None:
            features = replace(features, people=self._people.gather(held))
        scores = self._recognizer.scores(self._model.method.encode(features))
        known = [None] * len(ready) if scores.known is None else scores.known.tolist()
        end = self._sampler.origin + (last + 0.5) * self.grid.step
        starts = [max(end - length * self.grid.step, self._sampler.origin) for length in ready]
        return [
            Window(start, end, chances, raw, sure, self._share)
            for start, chances, raw, sure in zip(
                starts, scores.probabilities.numpy(), scores.logits.numpy(), known, strict=True
            )
        ]

    @apart
    @torch.inference_mode()
    def _search(self) -> None:
        """Follow people into the slots that came since, each once."""
        if self._people is None:
            return
        for slot in tuple(self._unsearched):
            self._people.search(slot, self._unsearched[slot])
            del self._unsearched[slot]

    def _windows(self, held: Sequence[Sequence[int]]) -> Features:
        """Encode windows as clips, for a backbone that mixes their frames."""
        frames = np.stack([np.stack([self._fresh[slot] for slot in slots]) for slots in held])
        pixels = normalise(torch.from_numpy(frames), self._model.preprocess)
        found: Features = self._model.backbone(pixels, stages=self._model.method.stages)
        return found

    def _encode(self, slots: Sequence[int]) -> None:
        """Encode frames that a window needs and none has needed before."""
        if not slots:
            return
        frames = torch.from_numpy(np.stack([self._fresh[slot] for slot in slots]))[None]
        pixels = normalise(frames, self._model.preprocess)
        features: Features = self._model.backbone(pixels, stages=self._model.method.stages)
        self._ring.write(slots, features)
        # Forgotten only now: after Ctrl-C in the middle the frames are still there to be scored.
        for slot in slots:
            del self._fresh[slot]


def _seconds(name: str, value: Any, *, most: float) -> float:
    """A length of time.

    Raises:
        ArgumentError: It is none, or too long.
    """
    span = "seconds above 0" if most == math.inf else f"seconds above 0 and at most {most:g}"
    found = real(name, value, span, least=0, most=most)
    if not found:
        raise ArgumentError(f"{name} is {value!r}; expected {span}")
    return found
