"""From a decoded frame to what a network eats: resize, crop, normalise.

One description, :class:`Preprocess`, travels with a model's weights. Every source (video, image
folder, array) goes through the same scaler, libswscale, so that they agree with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.errors import ArgumentError, VideoLimitError

if TYPE_CHECKING:
    from av.buffer import Buffer
    from numpy.typing import NDArray
    from torch import Tensor

CROPS = ("center", "stretch", "pad", "stretch-center")
INTERPOLATIONS = ("bilinear", "bicubic", "area")
SAMPLINGS = ("centres", "random")
_LARGEST = 4096
# Flags of libswscale, which PyAV names only since version 18.
_ACCURATE_RND, _BITEXACT = 0x40000, 0x80000


@dataclass(frozen=True)
class Preprocess:
    """How a clip is sampled, resized and normalised before it meets a backbone.

    Attributes:
        frames: Frames taken from a clip.
        resize: Length of the short side (crop "center") or of both (crop "stretch-center") after
            resizing, in pixels; the other crops do not use it.
        size: Side of the square that is kept, in pixels.
        crop: "center" resizes the short side and keeps the middle; "stretch" ignores the aspect
            ratio; "pad" fits the long side and puts black around; "stretch-center" ignores
            the aspect ratio and keeps the middle, as the code of MoLo and its relatives does.
        interpolation: "bilinear", "bicubic" or "area", as libswscale defines them (each widens its
            kernel when shrinking, so none aliases).
        mean: Per channel (R, G, B), in units of pixel / 255.
        std: Per channel (R, G, B), in units of pixel / 255.
        sampling: "centres" takes the middle of each segment, "random" one frame drawn in each.

    Raises:
        ArgumentError: If a value is outside what is listed above.

    >>> Preprocess(frames=16).to_dict()["frames"]
    16
    >>> Preprocess.from_dict(Preprocess(size=112, resize=128).to_dict()).size
    112
    """

    frames: int = 8
    resize: int = 224
    size: int = 224
    crop: str = "center"
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    sampling: str = "centres"

    def __post_init__(self) -> None:
        for name in ("frames", "resize", "size"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
                raise ArgumentError(f"{name}={value!r}: give an integer from 1 to {_LARGEST}")
        for name, known in (
            ("crop", CROPS),
            ("interpolation", INTERPOLATIONS),
            ("sampling", SAMPLINGS),
        ):
            if getattr(self, name) not in known:
                raise ArgumentError(
                    f"{name}={getattr(self, name)!r}: give one of {', '.join(known)}"
                )
        if self.crop in ("center", "stretch-center") and self.resize < self.size:
            raise ArgumentError(
                f"resize={self.resize} is below size={self.size}: the crop needs resize >= size"
            )
        object.__setattr__(self, "mean", _triple("mean", self.mean))
        object.__setattr__(self, "std", _triple("std", self.std))
        if min(self.std) <= 0:
            raise ArgumentError(f"std={self.std}: give three numbers above 0")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Return the description that :meth:`to_dict` wrote.

        Args:
            values: Every field by name, nothing else.

        Raises:
            ArgumentError: If a key is missing or unknown, or a value is out of range.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        missing = [name for name in known if name not in values]
        if unknown or missing:
            problems = [f"unknown {', '.join(unknown)}"] if unknown else []
            problems += [f"missing {', '.join(missing)}"] if missing else []
            raise ArgumentError(f"preprocess: {'; '.join(problems)}: expected {', '.join(known)}")
        return cls(**values)


class Resizer:
    """A scaler that keeps its tables between the frames of one clip. Not for several threads."""

    def __init__(self, spec: Preprocess) -> None:
        self._spec = spec
        self._scaler = VideoReformatter()
        # Rounding that does not depend on which vector instructions the processor has.
        self._how = Interpolation[spec.interpolation.upper()].value | _ACCURATE_RND | _BITEXACT
        # PyAV 17 scales with all cores unless told otherwise; before, with one, and cannot be told.
        self._threads = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}

    def __call__(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the frame as a square (size, size, 3) RGB array, turned as it is displayed."""
        return cropped(self.whole(frame), self._spec)

    def whole(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Return the same before it is cropped: (h, w, 3)."""
        width, height = scaled_size(frame.width, frame.height, self._spec)
        if max(width, height) > _LARGEST * 8:
            raise VideoLimitError(
                f"a frame of {frame.width}x{frame.height} is too narrow to be scaled to "
                f"{width}x{height}: use crop='stretch' or crop='pad'"
            )
        small = self._scaler.reformat(
            frame,
            width,
            height,
            "rgb24",
            interpolation=self._how,
            dst_color_range=ColorRange.JPEG,
            **self._threads,
        )
        # Turned before it is cropped, for the middle of an odd length is not symmetric.
        return turned(np.asarray(small.to_ndarray(), np.uint8), frame)


def cropped(picture: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.uint8]:
    """Return the square (size, size, 3) that a backbone sees of a resized picture."""
    size = spec.size
    height, width = picture.shape[:2]
    if spec.crop == "pad":
        canvas = np.zeros((size, size, 3), np.uint8)
        top, left = (size - height) // 2, (size - width) // 2
        canvas[top : top + height, left : left + width] = picture
        return canvas
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]


def resize_frame(frame: av.VideoFrame, spec: Preprocess) -> UInt8[np.ndarray, "s s 3"]:
    """Resize and crop one frame of any pixel format.

    Args:
        frame: A frame as PyAV decodes it. Its display matrix (rotation, mirror) is applied; a
            non-square pixel aspect ratio is not.
        spec: What size, and how.

    Returns:
        RGB, (size, size, 3), uint8.

    >>> frame = av.VideoFrame(340, 256, "rgb24")
    >>> resize_frame(frame, Preprocess(size=112, resize=128)).shape
    (112, 112, 3)
    """
    return np.ascontiguousarray(Resizer(spec)(frame))


def scaled_size(width: int, height: int, spec: Preprocess) -> tuple[int, int]:
    """Return the width and height that a frame is scaled to before the crop.

    >>> scaled_size(340, 256, Preprocess())
    (298, 224)
    """
    if spec.crop == "stretch":
        return spec.size, spec.size
    if spec.crop == "stretch-center":
        return spec.resize, spec.resize
    if spec.crop == "center":
        short, goal = min(width, height), spec.resize
    else:
        short, goal = max(width, height), spec.size
    scaled = [max(1, (2 * side * goal + short) // (2 * short)) for side in (width, height)]
    return scaled[0], scaled[1]


def normalise(frames: UInt8[Tensor, "*b t h w 3"], spec: Preprocess) -> Float[Tensor, "*b t 3 h w"]:
    """Turn pixels into what a backbone takes: ``(pixel / 255 - mean) / std``, channels first.

    Args:
        frames: RGB, uint8, channels last. Any device.
        spec: Whose mean and standard deviation.

    Returns:
        Float32 on the same device, contiguous.

    Raises:
        ArgumentError: If the frames are not uint8 or not channels last.
    """
    import torch

    if frames.dtype != torch.uint8 or frames.ndim < 4 or frames.shape[-1] != 3:
        raise ArgumentError(
            f"frames {tuple(frames.shape)} {frames.dtype}: give uint8 of shape (..., T, H, W, 3)"
        )
    # (x / 255 - mean) / std as one multiply and one add.
    scale = [1 / (255 * std) for std in spec.std]
    shift = [-mean / std for mean, std in zip(spec.mean, spec.std, strict=True)]
    one = torch.tensor(scale, device=frames.device).view(3, 1, 1)
    two = torch.tensor(shift, device=frames.device).view(3, 1, 1)
    return frames.movedim(-1, -3).to(torch.float32).contiguous().mul_(one).add_(two)


def turned(picture: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Apply a frame's display matrix, rounded to quarter turns and mirrors."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return picture
    # Nine 32-bit numbers; a point (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _display_matrix(frame: av.VideoFrame) -> NDArray[np.int32] | None:
    """Return how a frame is turned, be it by the file's header or by its own EXIF orientation."""
    # Not frame.side_data: that is kept on the frame and points back at it, so that frames pile up until the
    # garbage collector comes by.
    box = cast("Any", SideDataContainer).__new__(SideDataContainer)
    # PyAV stops at a kind it has no name for, such as EXIF; what came before is in the box by then.
    with suppress(ValueError):
        box.__init__(frame)
    with suppress(ValueError):
        for item in box:
            if item.type.name == "DISPLAYMATRIX":
                return np.frombuffer(bytes(cast("Buffer", item)), np.int32)
    return None


def _triple(name: str, value: Any) -> tuple[float, float, float]:
    numbers = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(numbers) != 3 or not all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and abs(number) < 1e6
        for number in numbers
    ):
        raise ArgumentError(f"{name}={value!r}: give three numbers, one for each of R, G, B")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])
