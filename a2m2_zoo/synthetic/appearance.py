"""How a clip looks: the figures' clothes and colours, and what the camera does to the picture."""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from a2m2_zoo.synthetic.raster import Canvas, Paint

Colour = tuple[float, float, float]

PARTS = (
    *("trunk", "flank", "shoulders", "hips", "neck", "head", "hair"),
    *(f"{s}_{p}" for s in ("left", "right") for p in ("upper_arm", "forearm", "hand")),
    *(f"{s}_{p}" for s in ("left", "right") for p in ("thigh", "shin", "foot")),
)
"""Names of the painted parts of a body."""


@dataclass(frozen=True)
class Outfit:
    """How one figure is painted.

    Attributes:
        paints: One paint for each of `PARTS`.
        thickness: Factor on the radius of limbs; sticks use one radius for all.
        stick: Whether limbs are lines of even width.
        skirt: Length below the hips in body heights; 0 for trousers.
    """

    paints: dict[str, Paint]
    thickness: float
    stick: bool
    skirt: float


@dataclass(frozen=True)
class Finish:
    """What camera and compression add to the picture.

    Attributes:
        gain: Factor on each plane; shape (3, 1, 1).
        grey: Whether colour is lost.
        vignette: Factor on each pixel, shape (H, W); None for none.
        grain: Noise to add, shape (2H, 2W), cut anew for each frame; None for none.
        soft: Whether the picture is blurred.
        quantum: Coarseness of the 8 × 8 cosine quantiser; 0 for none.
        bars: Rectangles laid over the picture: (top, bottom, left, right, colour), in frame sizes.
    """

    gain: NDArray[np.float32]
    grey: bool
    vignette: NDArray[np.float32] | None
    grain: NDArray[np.float32] | None
    soft: bool
    quantum: float
    bars: tuple[tuple[float, float, float, float, float], ...]


def colour(
    rng: Generator, *, vivid: float = 0.6, bright: float = 0.7, spread: float = 0.22
) -> Colour:
    """A random colour, each plane 0 to 255.

    Args:
        rng: Source of chance.
        vivid: Mean saturation, 0 to 1.
        bright: Mean brightness, 0 to 1.
        spread: Deviation of both.

    Returns:
        Red, green, blue.
    """
    hue = rng.random()
    saturation = np.clip(rng.normal(vivid, spread), 0.0, 1.0)
    value = np.clip(rng.normal(bright, spread), 0.05, 1.0)
    red, green, blue = hsv_to_rgb(float(hue), float(saturation), float(value))
    return 255.0 * red, 255.0 * green, 255.0 * blue


def _skin(rng: Generator) -> Colour:
    tone = rng.random()
    low, high = np.array([92.0, 60.0, 44.0]), np.array([240.0, 204.0, 178.0])
    red, green, blue = low + tone * (high - low)
    return float(red), float(green), float(blue)


def _stick_outfit(rng: Generator) -> Outfit:
    kind = rng.choice(3, p=(0.62, 0.2, 0.18))  # a colour a limb, a colour a side, one colour
    dark = float(rng.uniform(0.45, 0.85))
    colours = {part: colour(rng, vivid=0.85, bright=dark) for part in PARTS}
    if kind:
        left, right, middle = (colour(rng, vivid=0.8, bright=dark) for _ in range(3))
        for part in PARTS:
            side = left if part.startswith("left") else right
            colours[part] = middle if kind == 2 or "_" not in part else side
    if rng.random() < 0.5:
        colours["head"] = _skin(rng)
    colours["hair"] = colours["head"]
    rim = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.2 else 0.0
    paints = {part: Paint(value, outline=rim) for part, value in colours.items()}
    return Outfit(paints, float(rng.uniform(0.010, 0.032)), True, 0.0)


def _body_outfit(rng: Generator, light: tuple[float, float, float] | None) -> Outfit:
    skin = _skin(rng)
    shirt = colour(rng, vivid=0.5, bright=0.6)
    trousers = colour(rng, vivid=0.35, bright=0.4) if rng.random() < 0.85 else shirt
    shoes, hair = colour(rng, vivid=0.3, bright=0.3), colour(rng, vivid=0.4, bright=0.25)
    sleeves, legs = rng.random() < 0.55, rng.random() < 0.75
    rim = float(rng.uniform(0.2, 0.5)) if light is None and rng.random() < 0.6 else 0.0
    ambient = float(rng.uniform(0.3, 0.65))
    striped = float(rng.integers(2, 6)) if rng.random() < 0.3 else 0.0
    contrast = float(rng.uniform(0.1, 0.4))

    def cloth(value: Colour, bands: float = 0.0) -> Paint:
        return Paint(value, light, ambient, bands, contrast, rim)

    paints = {}
    for part in PARTS:
        if part in ("neck", "head") or part.endswith("hand"):
            paints[part] = cloth(skin)
        elif part == "hair":
            paints[part] = cloth(hair)
        elif part.endswith("foot"):
            paints[part] = cloth(shoes)
        elif part.endswith("forearm"):
            paints[part] = cloth(shirt, striped) if sleeves else cloth(skin)
        elif part.endswith("shin"):
            paints[part] = cloth(trousers) if legs else cloth(skin)
        elif part.endswith("thigh") or part == "hips":
            paints[part] = cloth(trousers)
        else:
            paints[part] = cloth(shirt, striped if part in ("trunk", "flank") else striped / 2)
    skirt = float(rng.uniform(0.12, 0.24)) if rng.random() < 0.15 else 0.0
    return Outfit(paints, float(rng.uniform(0.85, 1.2)), False, skirt)


def sample_outfits(rng: Generator, style: str) -> tuple[Outfit, Outfit]:
    """Clothes and colours of the two figures.

    Args:
        rng: Source of chance.
        style: One of `STYLES`.

    Returns:
        One outfit for each figure.
    """
    if style == "stick":
        first = _stick_outfit(rng)
        return first, first if rng.random() < 0.6 else _stick_outfit(rng)
    light = None
    if style == "scene" or rng.random() < 0.4:
        around, high = rng.uniform(-np.pi, np.pi), rng.uniform(0.3, 0.9)
        flat = np.sqrt(1 - high**2)
        light = (float(flat * np.cos(around)), float(-flat * abs(np.sin(around))), float(high))
    return _body_outfit(rng, light), _body_outfit(rng, light)


def sample_finish(rng: Generator, style: str, size: int) -> Finish:
    """Camera and compression effects; a drawn stick figure gets next to none.

    Args:
        rng: Source of chance.
        style: One of `STYLES`.
        size: Side of the frame in pixels.

    Returns:
        The effects.
    """
    real = {"stick": 0.15, "capsule": 0.5, "scene": 1.0}[style]
    wears = rng.random(6) < real * np.array([0.18, 0.4, 0.75, 0.4, 0.4, 0.25])
    gain = np.exp(rng.normal(0, 0.09 * real, (3, 1, 1)) + rng.normal(-0.05, 0.2 * real))
    vignette = grain = None
    if wears[1]:
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        radius = axis**2 + (axis**2)[:, None]
        vignette = 1.0 - np.float32(rng.uniform(0.1, 0.4)) * radius
    if wears[2]:
        side = 2 * size
        noise = rng.standard_normal((side, side), dtype=np.float32)
        grain = noise * np.float32(rng.uniform(1.5, 9.0))
    bars: tuple[tuple[float, float, float, float, float], ...] = ()
    if wears[5]:
        thick = float(rng.uniform(0.03, 0.12))
        dark = float(rng.choice((0.0, 12.0, 235.0)))
        kind = int(rng.integers(3))
        bars = ((0.0, thick, 0.0, 1.0, dark), (1.0 - thick, 1.0, 0.0, 1.0, dark))
        if kind == 1:
            bars = ((0.0, 1.0, 0.0, thick, dark), (0.0, 1.0, 1.0 - thick, 1.0, dark))
        elif kind == 2:
            left, top = rng.uniform(0, 0.6), rng.choice((0.04, 0.92))
            widths = np.cumsum(rng.uniform(0.008, 0.03, 14))
            bars = tuple(
                (float(top), float(top + 0.035), float(left + a), float(left + a + 0.008), dark)
                for a in widths
            )
    return Finish(
        gain=gain.astype(np.float32),
        grey=bool(wears[0]),
        vignette=vignette,
        grain=grain,
        soft=bool(wears[3]),
        quantum=float(rng.uniform(4, 22)) if wears[4] else 0.0,
        bars=bars,
    )


def _cosines() -> NDArray[np.float32]:
    k, n = np.arange(8.0)[:, None], np.arange(8.0)
    basis = np.cos(np.pi * (n + 0.5) * k / 8.0) * 0.5
    basis[0] *= np.sqrt(0.5)
    return np.asarray(basis, np.float32)


_DCT = _cosines()
_COARSENESS = (0.6 + 0.35 * np.add.outer(np.arange(8), np.arange(8))).astype(np.float32)


def quantise(canvas: Canvas, quantum: float) -> Canvas:
    """Round the cosine coefficients of 8 × 8 blocks, as block-based codecs do.

    Args:
        canvas: Planes (3, H, W); what does not fill a block at the right and bottom is left alone.
        quantum: Step of the lowest coefficient; higher ones get coarser steps.

    Returns:
        The canvas with blocking and ringing.
    """
    rows, columns = canvas.shape[1] // 8 * 8, canvas.shape[2] // 8 * 8
    if not rows or not columns:
        return canvas
    blocks = np.ascontiguousarray(canvas[:, :rows, :columns]).reshape(3, rows // 8, 8, columns)
    coded = (np.matmul(_DCT, blocks).reshape(-1, 8) @ _DCT.T).reshape(
        3, rows // 8, 8, columns // 8, 8
    )
    steps = (quantum * _COARSENESS)[:, None]
    coded = np.rint(coded / steps) * steps
    back = (coded.reshape(-1, 8) @ _DCT).reshape(3, rows // 8, 8, columns)
    result: Canvas = canvas.copy()
    result[:, :rows, :columns] = np.matmul(_DCT.T, back).reshape(3, rows, columns)
    return result


def develop(canvas: Canvas, finish: Finish, moment: float) -> NDArray[np.uint8]:
    """Apply the effects and turn planes into a picture.

    Args:
        canvas: Planes (3, H, W), 0 to 255; used up.
        finish: Effects.
        moment: Time of the frame, which chooses its grain.

    Returns:
        The frame, (H, W, 3).
    """
    height, width = canvas.shape[1:]
    if finish.soft:
        canvas[:, 1:-1] = 0.25 * (canvas[:, :-2] + canvas[:, 2:]) + 0.5 * canvas[:, 1:-1]
        canvas[:, :, 1:-1] = 0.25 * (canvas[:, :, :-2] + canvas[:, :, 2:]) + (
            0.5 * canvas[:, :, 1:-1]
        )
    if finish.grey:
        canvas[:] = 0.3 * canvas[0] + 0.55 * canvas[1] + 0.15 * canvas[2]
        canvas *= finish.gain.mean()
    else:
        canvas *= finish.gain
    if finish.vignette is not None:
        canvas *= finish.vignette
    if finish.grain is not None:
        down, right = int(moment * 7919.0 * height) % height, int(moment * 6271.0 * width) % width
        canvas += finish.grain[down : down + height, right : right + width]
    for top, bottom, left, right_edge, value in finish.bars:
        rows = slice(int(top * height), int(bottom * height))
        canvas[:, rows, int(left * width) : int(right_edge * width)] = value
    if finish.quantum:
        canvas = quantise(canvas, finish.quantum)
    np.clip(canvas, 0.0, 255.0, out=canvas)
    frame: NDArray[np.uint8] = canvas.transpose(1, 2, 0).astype(np.uint8, order="C")
    return frame
