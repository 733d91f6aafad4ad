"""Augmentation of a clip's frames: one draw for the whole clip, the same for the same seed.

Frames of one clip are cropped, mirrored and coloured alike, so that what moves is still the action. All
changes of colour are affine in (R, G, B); they are put together into one 3 × 4 matrix a clip, applied once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.data.plans import uniform
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.blocks._config import Config
from a2m2_zoo.video import Preprocess

SIDES = ("query", "both")

# RGB → luma and two axes of chroma (the NTSC standard's YIQ).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = _YIQ[0]
_GREY = np.tile(_LUMA, (3, 1))
# Two places of the crop, coins for flip and grey, four strengths and four keys that order them.
_DRAWS = 12


@dataclass(frozen=True)
class Augment(Config):
    """What may happen to a clip before a backbone sees it. Defaults are MoLo's and HyRSM's, for queries.

    Attributes:
        resize: Side of the square that frames are decoded to and the crop is taken from, in pixels; 0 is
            the ``resize`` of the preprocessing. The crop keeps its ``size``.
        crop: Take the crop at a random place, the same in all frames; else from the middle.
        flip: Probability of mirroring left and right. Set 0 where classes differ by the side they move
            to, as in Something-Something ("pushing from left to right"); the official codes flip there too.
        brightness: β: values are multiplied by a factor from 1 − β to 1 + β.
        contrast: Likewise for the distance to the clip's mean luma.
        saturation: Likewise for the distance of a pixel to its luma.
        hue: Colours are turned about the grey axis by −hue to hue of a full turn, at most 0.5.
        grayscale: Probability of leaving luma alone.
        sides: Which clips are mirrored and coloured: ``"query"`` (as in MoLo's code) or ``"both"``. The crop
            is random on both sides.
    """

    resize: int = 0
    crop: bool = True
    flip: float = 0.5
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.25
    grayscale: float = 0.3
    sides: str = "query"

    def __post_init__(self) -> None:
        self._integer("resize", low=0)
        self._flag("crop")
        self._choice("sides", SIDES)
        for name in ("flip", "brightness", "contrast", "saturation", "hue", "grayscale"):
            self._number(name, low=0.0)
            highest = 0.5 if name == "hue" else 1.0
            if getattr(self, name) > highest:
                raise ArgumentError(
                    f"{name} is {getattr(self, name)}; expected from 0 to {highest:g}"
                )

    def decoding(self, spec: Preprocess) -> Preprocess:
        """How clips are decoded for training: random frames, with room for the crop.

        The aspect ratio is treated as ``spec`` does; of a wide frame the middle square is kept, as in tests.

        Args:
            spec: How clips are decoded in tests.

        Raises:
            ArgumentError: ``resize`` is smaller than the crop.
        """
        whole = spec.crop in ("stretch", "pad")
        side = self.resize or (spec.size if whole else spec.resize)
        if side < spec.size:
            raise ArgumentError(
                f"resize is {side} and the crop {spec.size} pixels; give resize={spec.size} or more"
            )
        crop = "stretch" if spec.crop == "stretch-center" else spec.crop
        return replace(spec, resize=side, size=side, crop=crop, sampling="random")


def augment_clip(
    frames: UInt8[Tensor, "t h w 3"],
    augment: Augment,
    *,
    size: int,
    seed: int,
    appearance: bool = True,
) -> UInt8[Tensor, "t s s 3"]:
    """Crop, mirror and colour the frames of one clip, all alike.

    Args:
        frames: RGB, at least ``size`` high and wide.
        augment: What may happen.
        size: Side of the crop in pixels.
        seed: Any integer; decides everything.
        appearance: Whether to mirror and colour; False is the crop alone.

    Raises:
        ArgumentError: The frames are smaller than the crop.

    >>> clip = torch.zeros(8, 64, 64, 3, dtype=torch.uint8)
    >>> augment_clip(clip, Augment(), size=56, seed=7).shape
    torch.Size([8, 56, 56, 3])
    """
    height, width = frames.shape[1:3]
    if min(height, width) < size:
        raise ArgumentError(
            f"frames are {height} × {width} and the crop {size}; decode them with Augment.decoding"
        )
    draw = uniform(seed, _DRAWS)
    top, left = (
        int(d * (side - size + 1)) if augment.crop else (side - size) // 2
        for d, side in zip(draw[:2], (height, width), strict=True)
    )
    frames = frames[:, top : top + size, left : left + size]
    if not appearance:
        return frames.contiguous()
    if draw[2] < augment.flip:
        frames = frames.flip(2)
    matrix = colour_matrix(frames, augment, draws=draw[3:])
    if matrix is None:
        return frames.contiguous()
    moved = frames.float() @ matrix[:, :3].T + matrix[:, 3]
    return moved.round_().clamp_(0, 255).to(torch.uint8)


def colour_matrix(
    frames: UInt8[Tensor, "t h w 3"], augment: Augment, *, draws: np.ndarray
) -> Float[Tensor, "3 4"] | None:
    """The clip's change of colour as x ↦ A·x + b, in units of 0..255; None if there is none.

    Brightness, contrast, saturation and hue follow each other in a random order, then perhaps grey. Nothing
    is clipped in between. Contrast refers to the mean luma of the whole clip, and hue is turned in YIQ,
    which keeps luma; the official code takes each picture's own mean, and HSV.

    Args:
        frames: RGB, after the crop.
        augment: How strong.
        draws: Nine numbers in [0, 1): grey, four strengths, four keys that order them.
    """
    strengths = np.array(
        [augment.brightness, augment.contrast, augment.saturation, augment.hue]
    ) * (2 * draws[1:5] - 1)
    mean, total = _mean(frames), np.eye(4)
    for kind in np.argsort(draws[5:9], kind="stable"):
        if strengths[kind]:
            # Means pass through affine maps: no picture is computed to find the next mean.
            total = _step(int(kind), float(strengths[kind]), total @ mean) @ total
    if draws[0] < augment.grayscale:
        total = _affine(_GREY) @ total
    if np.array_equal(total, np.eye(4)):
        return None
    return torch.from_numpy(total[:3]).float()


def _step(kind: int, strength: float, mean: np.ndarray) -> np.ndarray:
    """One of the four changes as a 4 × 4 matrix."""
    factor = 1 + strength
    if kind == 0:
        return _affine(factor * np.eye(3))
    if kind == 1:
        return _affine(factor * np.eye(3), shift=-strength * float(_LUMA @ mean[:3]))
    if kind == 2:
        return _affine(factor * np.eye(3) - strength * _GREY)
    angle = 2 * math.pi * strength
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return _affine(np.linalg.inv(_YIQ) @ turn @ _YIQ)


def _affine(linear: np.ndarray, *, shift: float = 0.0) -> np.ndarray:
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = linear, shift
    return whole


def _mean(frames: Tensor) -> np.ndarray:
    mean = frames.reshape(-1, 3).sum(0, dtype=torch.int64).double() / (frames.numel() // 3)
    return np.append(mean.numpy(), 1.0)
