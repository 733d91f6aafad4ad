"""Frames in, segments out: the one path behind files, cameras and ``push``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.spotting.sampling import Sampler
from a2m2_zoo.spotting.segments import Rule, Segment, Segmenter
from a2m2_zoo.spotting.windows import STRIDE, FeatureRing, Window, make_grid, window_lengths
from a2m2_zoo.video import Limits, normalise
from a2m2_zoo.video.clip import check_size
from a2m2_zoo.video.preprocess import Resizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from a2m2_zoo.bank import SupportBank
    from a2m2_zoo.model import Model


class Stream:
    """Spots actions in frames as they come. Not for several threads at once; make one for each.

    Frames are put on a time grid, each is encoded once however many windows hold it, and the maps of the
    longest window are kept, so memory does not grow with time.

    Args:
        model: The recogniser.
        bank: The supports, encoded by that model.
        windows: Lengths in seconds of the windows that are judged; by default lengths that suit the
            supports, see ``window_lengths``.
        stride: Seconds between two windows of one length, at most the shortest length.
        reject_below: Windows whose best class is less probable are of no class; that of ``rule`` if None.
        rule: How windows become segments.
        gap: Seconds without a frame, or back in time, after which the stream begins anew: what was
            open ends, and no window reaches over the break.
        limits: Its ``megapixels`` bound the frames.
        on_windows: Called with the windows of each moment, for those who want the scores themselves.

    Attributes:
        grid: When it looks.

    Raises:
        BankError: The bank was made by another model.
        EpisodeError: The bank has one class only.
        ArgumentError: A number is out of range.

    >>> from a2m2_zoo import build_bank, load_model
    >>> from a2m2_zoo.data.synthetic import draw_named
    >>> model = load_model()
    >>> bank = build_bank({n: [draw_named(n, 0, studio=2)] for n in ("kick", "squat")}, model=model)
    >>> stream = Stream(model, bank, windows=(2.0,), reject_below=0.0)
    >>> clip = draw_named("kick", 1, frames=32, studio=2)
    >>> early = [s for i, frame in enumerate(clip) for s in stream.push(frame, i / 16)]
    >>> [segment.label for segment in early + stream.close()]
    ['kick']
    """

    def __init__(
        self,
        model: Model,
        bank: SupportBank,
        *,
        windows: Sequence[float] | None = None,
        stride: float = STRIDE,
        reject_below: float | None = None,
        rule: Rule | None = None,
        gap: float = 1.0,
        limits: Limits | None = None,
        on_windows: Callable[[Sequence[Window]], None] | None = None,
    ) -> None:
        bank.check(model)
        if len(bank.class_names) < 2:
            raise EpisodeError(
                f"the supports have one class, {bank.class_names[0]!r}; expected two or more to choose "
                "from"
            )
        if not gap > 0:
            raise ArgumentError(f"gap is {gap}; expected seconds above 0")
        frames = model.preprocess.frames
        lengths = window_lengths(bank) if windows is None else windows
        self.grid = make_grid(lengths, stride=stride, frames=frames)
        rule = rule or Rule()
        if reject_below is not None:
            rule = Rule(**{**vars(rule), "reject_below": reject_below})
        self._model, self._bank = model, bank
        self._labels = bank.label_tensor
        self._scale = model.scale(bank.descriptors, labels=self._labels, way=len(bank.class_names))
        self._sampler: Sampler[av.VideoFrame] = Sampler(step=self.grid.step, gap=gap)
        self._segmenter = Segmenter(bank.class_names, self.grid, rule)
        self._ring = FeatureRing(self.grid.lengths[-1])
        self._limits = limits or Limits()
        self._on_windows = on_windows
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._resize = Resizer(self._model.preprocess)
        self._waiting: list[tuple[int, NDArray[np.uint8] | None]] = []  # None: as the slot before
        self._judged = 0

    @property
    def late(self) -> int:
        """Frames that were passed over since they came after a later one, or twice."""
        return self._sampler.late

    def push(self, frame: Any, timestamp: float) -> list[Segment]:
        """Take the next frame.

        Args:
            frame: RGB, (H, W, 3) uint8: an array or a tensor; or a frame of PyAV.
            timestamp: When it was shown, in seconds on any clock that does not jump. What comes late is
                passed over.

        Returns:
            The segments that became final, in the order of time; mostly none. A segment is final at most
            one longest window after its end.

        Raises:
            ArgumentError: The frame or its time is none, or the stream was closed.
            VideoLimitError: The frame is too large.
        """
        if self._closed:
            raise ArgumentError("the stream is closed; make a new one")
        found: list[Segment] = []
        picture = self._checked(frame)
        if self._sampler.breaks(timestamp):
            found += self._finish()
            self._sampler.restart()
        for filled in self._sampler.push(picture, timestamp):
            small = None if filled.repeated else np.ascontiguousarray(self._resize(filled.item))
            self._waiting.append((filled.slot, small))
            if (filled.slot + 1) % self.grid.stride == 0:
                found += self._judge(self.grid.lengths)
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
            if hasattr(frame, "detach"):
                frame = frame.detach().cpu().numpy()
            array = np.asarray(frame)
            if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or not array.size:
                raise ArgumentError(
                    f"a frame has shape {array.shape}, {array.dtype}; expected RGB (H, W, 3), uint8"
                )
            # A copy: cameras like to write the next picture over the last one.
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24")
        picture = cast("av.VideoFrame", frame)
        check_size("the frame", picture.width, picture.height, self._limits)
        return picture

    def _finish(self) -> list[Segment]:
        """Judge what has not been judged, and settle everything."""
        found: list[Segment] = []
        if self._waiting:
            slots = self._waiting[-1][0] + 1
            lengths = [n for n in self.grid.lengths if n <= slots]
            # What is shorter than every window is judged as a whole, as a clip is.
            short = [] if self._judged else [slots]
            found += self._judge(lengths or short)
        found += self._segmenter.close()
        self._begin()
        return found

    @torch.inference_mode()
    def _judge(self, lengths: Sequence[int]) -> list[Segment]:
        """Encode the frames that wait, and score all windows that end with the last of them."""
        last = self._encode_waiting()
        ready = [length for length in lengths if length <= last + 1]
        if not ready:
            return []
        places = [self.grid.slots(last, length) for length in ready]
        found = self._model.method.encode(self._ring.gather(places))
        logits = self._model.logits(
            found, self._bank.descriptors, labels=self._labels, way=len(self._bank.class_names)
        )
        scores = logits.double()
        probabilities = (scores * self._scale).softmax(-1).numpy()
        end = self._sampler.origin + (last + 0.5) * self.grid.step
        windows = [
            Window(max(end - length * self.grid.step, self._sampler.origin), end, chances, raw)
            for length, chances, raw in zip(ready, probabilities, scores.numpy(), strict=True)
        ]
        self._judged += len(windows)
        if self._on_windows is not None:
            self._on_windows(windows)
        return self._segmenter.push(windows)

    def _encode_waiting(self) -> int:
        """Encode every frame that waits, once, and return the number of the last slot."""
        waiting, self._waiting = self._waiting, []
        fresh = [(slot, picture) for slot, picture in waiting if picture is not None]
        if fresh:
            frames = torch.from_numpy(np.stack([picture for _, picture in fresh]))[None]
            pixels = normalise(frames, self._model.preprocess)
            features: Features = self._model.backbone(pixels, stages=self._model.method.stages)
            self._ring.write([slot for slot, _ in fresh], features)
        for slot, picture in waiting:
            if picture is None:
                self._ring.repeat(slot)
        return waiting[-1][0]
