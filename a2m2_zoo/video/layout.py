"""Arrays in another order of axes, or with values that are no bytes, where the caller says so.

Nothing is guessed: a clip (3, 8, 3, 3) could be either, and floats of 0 to 1 are bytes of 0 and 1 to whoever
takes them for the other. So a layout is said in a word, ``"TCHW"``, with the range of floats behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.video.inputs import as_numbers, is_array, is_clip, is_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBER = r"-?\d+(?:\.\d+)?"
_WORD = re.compile(rf"([A-Z]+)(?: +({_NUMBER})\.\.({_NUMBER}))?")


@dataclass(frozen=True)
class Layout:
    """How arrays hold a clip.

    Attributes:
        axes: The letters T, H, W and C in their order.
        low: The value that is black, of floats; None for bytes.
        high: The value that is white.
    """

    axes: str
    low: float | None = None
    high: float | None = None

    @classmethod
    def parse(cls, text: Any) -> Layout:
        """From a word such as ``"TCHW"`` or ``"CTHW 0..1"``.

        Raises:
            ArgumentError: It is none.

        >>> Layout.parse("TCHW 0..1")
        Layout(axes='TCHW', low=0.0, high=1.0)
        """
        found = _WORD.fullmatch(text) if isinstance(text, str) else None
        if found is None or sorted(found[1]) != ["C", "H", "T", "W"]:
            raise ArgumentError(
                f"layout is {text!r:.60}; expected the axes T, C, H and W in their order, and of floats "
                "their range: 'TCHW', 'CTHW 0..1', 'THWC 0..255'"
            )
        if found[2] is None:
            return cls(found[1])
        low, high = float(found[2]), float(found[3])
        if not low < high:
            raise ArgumentError(
                f"layout is {text!r:.60}; expected a range that grows, such as 0..1"
            )
        return cls(found[1], low, high)

    def frames(self, array: Any, name: str = "the clip") -> NDArray[np.uint8]:
        """The frames (T, H, W, 3) of an array or tensor in this layout.

        Raises:
            VideoError: It does not fit the layout, or holds values outside its range.
        """
        values = as_numbers(array, name)
        if values.ndim != 4 or values.shape[self.axes.index("C")] != 3:
            raise VideoError(
                f"{name}: shape {values.shape} is not {self.axes} with three channels: give the layout that "
                "it has"
            )
        moved: NDArray[Any] = values.transpose([self.axes.index(axis) for axis in "THWC"])
        if self.low is None or self.high is None:
            if moved.dtype != np.uint8:
                raise VideoError(
                    f"{name}: {moved.dtype}, not bytes: say the range of its values, such as "
                    f"layout='{self.axes} 0..1'"
                )
            return moved.astype(np.uint8, copy=False)
        if moved.dtype.kind not in "fiu" or not moved.size:
            raise VideoError(f"{name}: {moved.dtype} of shape {values.shape} holds no frames")
        low, high = float(moved.min()), float(moved.max())
        slack = 1e-3 * (self.high - self.low)  # a resized picture overshoots by a rounding
        if not (self.low - slack <= low and high <= self.high + slack):
            raise VideoError(
                f"{name}: values from {low:g} to {high:g} where {self.low:g}..{self.high:g} was said: "
                "give the range that they have"
            )
        if moved.dtype.kind == "f" and high <= 1 < self.high / 100 and bool((moved % 1 > 0).any()):
            raise VideoError(
                f"{name}: values from {low:g} to {high:g} where {self.low:g}..{self.high:g} was said, which "
                "is black to the eye: give the range that they have"
            )
        scaled = (moved.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        found: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
        return found


@dataclass(frozen=True)
class Laid:
    """A clip in a layout, turned into frames where it is read, so that its error has its place."""

    array: Any
    layout: Layout

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """That of the frames, as far as it fits."""
        given = tuple(self.array.shape)
        if len(given) != 4:
            return given
        return tuple(given[self.layout.axes.index(axis)] for axis in "THWC")

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Of the array."""
        return self.array.dtype

    def frames(self, name: str) -> NDArray[np.uint8]:
        """The frames (T, H, W, 3).

        Raises:
            VideoError: The array does not fit its layout.
        """
        return self.layout.frames(self.array, name)


def laid_out(clips: Iterable[Any], layout: str | None) -> Iterable[Any]:
    """Clips whose arrays are in a layout; paths and lists of pictures stay what they are.

    Raises:
        ArgumentError: The layout is none. Raised at the call.
    """
    if layout is None:
        return clips
    chosen = Layout.parse(layout)

    def each() -> Iterator[Any]:
        for clip in clips:
            is_one = is_array(clip) and not is_path(clip)
            yield Laid(clip, chosen) if is_one and is_clip(clip) else clip

    return each()
