"""What a clip, or a number of clips, may be when it is given from Python.

A *picture* is an image of PIL or an array (H, W, 3). A *clip* is a path, an array or tensor (T, H, W, 3) of
uint8, or a list of pictures in the order they are shown. *Clips* are anything that gives clips one after the
other, a generator too; what could be read in two ways is refused in one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo._utils.arguments import is_content, kind, remote
from a2m2_zoo._utils.machine import unseen
from a2m2_zoo.errors import ArgumentError, VideoError
from a2m2_zoo.video.clip import Limits

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    #: A clip: a video file, a folder of image frames, an array (T, H, W, 3) of uint8 or, with its layout,
    #: another, or a list of pictures.
    Source: TypeAlias = (
        str
        | bytes
        | os.PathLike[Any]
        | NDArray[Any]
        | Tensor
        | Sequence[Image]
        | Sequence[NDArray[Any]]
        | Sequence[Tensor]
    )
else:
    Source: TypeAlias = Any

#: Limits, some of them by name, or None for the usual ones.
AnyLimits: TypeAlias = "Limits | Mapping[str, float] | None"
#: What is expected where one clip is.
CLIP = "a path of a video or of a folder of pictures, a uint8 array (T, H, W, 3), or a list of pictures"
_LOOKED_AT = 10_000  # items of a list that are looked at to see whether it is one clip


def is_path(value: Any) -> TypeGuard[str | bytes | os.PathLike[Any]]:
    """Whether it is text, bytes or a path object."""
    return isinstance(value, (str, bytes, os.PathLike))


def is_array(value: Any) -> bool:
    """Whether it is an array or a tensor of numbers."""
    return hasattr(value, "ndim") and hasattr(value, "dtype") and not _is_text(value)


def is_picture(value: Any) -> bool:
    """Whether it is an image of PIL, or an array with the axes of one."""
    return _is_image(value) or (is_array(value) and value.ndim in (2, 3))


def is_clip(value: Any) -> bool:
    """Whether it is one clip, of whatever layout: a path, an array, or a list of pictures."""
    if is_path(value):
        return True
    if isinstance(value, (list, tuple)):
        return bool(value) and all(is_picture(item) for item in islice(value, _LOOKED_AT))
    return is_picture(value) or (is_array(value) and value.ndim == 4)


def as_clips(value: Any, name: str) -> tuple[bool, Iterable[Any]]:
    """Whether one clip was given, and the clips; a generator is not run ahead of.

    What is no clip among the clips is left where it is: reading it gives an error in its place.

    Raises:
        ArgumentError: It is neither a clip nor clips.
    """
    if is_picture(value):
        what = "one picture" if _is_image(value) else _described(value)
        raise ArgumentError(f"{name} is {kind(value)}: {what}; expected {CLIP}")
    if is_clip(value):
        return True, [value]
    if isinstance(value, (bytearray, memoryview)):
        raise ArgumentError(
            f"{name} is {kind(value)}; expected {CLIP}: write a video's bytes to a file and give its path"
        )
    if isinstance(value, Mapping):
        raise ArgumentError(f"{name} is {kind(value)}; expected a list of its clips")
    if isinstance(value, Set) and not hasattr(
        value, "mapping"
    ):  # the keys of a mapping have an order
        raise ArgumentError(
            f"{name} is {kind(value)}, which has no order; expected a list of clips"
        )
    if hasattr(value, "columns"):
        raise ArgumentError(
            f"{name} is {kind(value)}; expected one column of it, such as frame['path']"
        )
    if hasattr(value, "read"):
        raise ArgumentError(f"{name} is {kind(value)}, an open file; expected its path")
    if getattr(value, "ndim", 1) == 0 or (is_array(value) and value.ndim != 5):
        raise ArgumentError(f"{name} is {kind(value)}: {_described(value)}; expected {CLIP}")
    if not isinstance(value, Iterable):
        raise ArgumentError(f"{name} is {kind(value)}; expected {CLIP}; or a list of clips")
    return False, value


def as_limits(value: Any) -> Limits:
    """Limits as they are, from a mapping of some of them, or the usual ones for None.

    Raises:
        ArgumentError: It is something else, or names a limit that there is not.
    """
    if value is None or isinstance(value, Limits):
        return value or Limits()
    known = tuple(Limits.__dataclass_fields__)
    if not isinstance(value, Mapping):
        raise ArgumentError(
            f"limits is {kind(value)}; expected a2m2_zoo.video.Limits({', '.join(known)}), or a dict"
        )
    if unexpected := [key for key in value if key not in known]:
        raise ArgumentError(f"limits has the key {unexpected[0]!r}; expected {', '.join(known)}")
    return Limits(**value)


def text_of(value: str | bytes | os.PathLike[Any], name: str = "the clip") -> str:
    """A path as text.

    Raises:
        VideoError: They are the bytes of a file, not of its path.
    """
    if is_content(value):
        raise VideoError(
            f"{name} is {len(value)} bytes that are no path: write a video's bytes to a file and give "
            "its path"
        )
    return os.fsdecode(value)


def missing(text: str) -> str:
    """What to do about a path behind which there is nothing."""
    return remote(text) or unseen()


def as_frames(source: Any, name: str) -> NDArray[np.uint8]:
    """The frames (T, H, W, 3) of a clip that is no path.

    Raises:
        VideoError: It is something else; the message says what and how to turn it into frames.
    """
    if hasattr(source, "layout") and hasattr(source, "frames"):  # see video.layout.Laid
        laid: NDArray[np.uint8] = source.frames(name)
        return laid
    if isinstance(source, (list, tuple)) and not is_clip(source):
        inside = f" of {kind(source[0])[2:]} and so on" if source else " without a picture"
        raise VideoError(f"{name}: {kind(source)}{inside} is no clip: give {CLIP}")
    if isinstance(source, (list, tuple)):
        return _stacked(source, name)
    if _is_image(source):
        raise VideoError(f"{name}: one picture is no clip: give a list of pictures")
    if not is_array(source):
        raise VideoError(f"{name}: nothing that can be read: give {CLIP}")
    if "uint8" not in str(source.dtype) or source.ndim != 4 or source.shape[-1] != 3:
        raise VideoError(f"{name}: {_described(source)}: give RGB frames (T, H, W, 3), uint8")
    if 0 in tuple(source.shape):
        what = "at least one frame" if not len(source) else "frames with pixels"
        raise VideoError(f"{name}: {_described(source)}: give {what}")
    return as_numbers(source, name)


def _stacked(pictures: list[Any] | tuple[Any, ...], name: str) -> NDArray[np.uint8]:
    arrays = [as_numbers(_pixels(p) if _is_image(p) else p, name) for p in pictures]
    for array in arrays:
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
            raise VideoError(
                f"{name}: a picture with {_described(array, picture=True)}: "
                "give RGB pictures (H, W, 3), uint8"
            )
        if array.shape != arrays[0].shape:
            raise VideoError(
                f"{name}: pictures of {arrays[0].shape[:2]} and {array.shape[:2]} pixels in one clip: "
                "give pictures of one size"
            )
    return np.stack(arrays)


def as_numbers(source: Any, name: str) -> NDArray[Any]:
    """A tensor of any device, an array or an image as a NumPy array."""
    try:
        if hasattr(source, "detach"):
            source = source.detach().cpu()
            if str(source.dtype) == "torch.bfloat16":  # which NumPy does not know
                source = source.float()
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise VideoError(f"{name}: {kind(source)} that is no array ({reason})") from error


def _described(value: Any, *, picture: bool = False) -> str:
    """Shape and type, and which layout that would be."""
    shape, words, axes = tuple(value.shape), "", ""
    if len(shape) == 4 and shape[-1] == 3:
        axes = "THWC"
    elif len(shape) == 4:
        if shape[1] == 3:
            words, axes = (
                ", which is (T, C, H, W): move the channels to the end, permute(0, 2, 3, 1)",
                "TCHW",
            )
        elif shape[0] == 3:
            words, axes = (
                ", which is (C, T, H, W): move the channels to the end, permute(1, 2, 3, 0)",
                "CTHW",
            )
        elif shape[-1] == 4:
            words = ", with four channels: leave out the last"
        elif shape[-1] == 1:
            words = ", which is grey: repeat the channel three times"
    elif len(shape) == 3 and not picture:
        words = (
            ", one picture" if shape[-1] == 3 else ", pictures without channels or one of (C, H, W)"
        )
    elif len(shape) == 5:
        words = ", a batch of clips: give it as the queries, or its clips one by one"
    if "uint8" not in str(value.dtype) and len(shape) > 2:
        words += ", not bytes: turn values from 0..1 or 0..255 into uint8"
        axes = axes and f"{axes} 0..1"
    if words and axes:
        words += f', or say layout="{axes}" to what takes a layout'
    return f"shape {shape}, {str(value.dtype).removeprefix('torch.')}{words}"


def _is_image(value: Any) -> bool:
    """Whether it is an image of PIL, or a frame of PyAV."""
    return hasattr(value, "getpixel") or hasattr(value, "to_ndarray")


def _pixels(image: Any) -> Any:
    if hasattr(image, "to_ndarray"):
        return image.to_ndarray(format="rgb24")
    return image.convert("RGB")


def _is_text(value: Any) -> bool:
    """Whether it is an array of words or of other objects, or a column of them."""
    return getattr(value.dtype, "kind", "") in ("U", "S", "O", "T")
