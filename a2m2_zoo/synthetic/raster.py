"""Drawing with numpy: capsules, boxes and soft discs by their distance function.

A canvas is a float32 array of planes (3, H, W) with values 0 to 255, because numpy adds a plane
faster than it adds every third number. Each shape touches only its own rectangle; edges are one
pixel soft.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]


@dataclass(frozen=True)
class Paint:
    """How a surface looks.

    Attributes:
        colour: Red, green, blue, 0 to 255.
        light: Direction the light comes from (right, down, out of the image) for a rounded look.
        ambient: Share of the colour left in the shade, 0 to 1.
        stripes: Bands along a limb; 0 for a plain surface.
        contrast: Strength of the bands, 0 to 1.
        outline: Darkening of the rim, 0 to 1.
    """

    colour: tuple[float, float, float]
    light: tuple[float, float, float] | None = None
    ambient: float = 0.5
    stripes: float = 0.0
    contrast: float = 0.0
    outline: float = 0.0


def _window(
    canvas: Canvas, left: float, top: float, right: float, bottom: float
) -> tuple[int, int, int, int] | None:
    """The rectangle's whole pixels inside the canvas, or None if there are none."""
    height, width = canvas.shape[1:]
    x0, x1 = max(int(left) - 1, 0), min(int(right) + 2, width)
    y0, y1 = max(int(top) - 1, 0), min(int(bottom) + 2, height)
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _blend(region: Canvas, alpha: Canvas, colour: tuple[float, float, float], tone: object) -> None:
    for plane, value in zip(region, colour, strict=True):
        shaded = value if tone is None else value * tone  # type: ignore[operator]
        plane += alpha * (shaded - plane)


def capsule(
    canvas: Canvas,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    paint: Paint,
) -> None:
    """Draw a limb: a line with round ends whose radius may change along it.

    Args:
        canvas: Planes to draw on, changed in place.
        start: Column, row, radius in pixels.
        end: Column, row, radius in pixels.
        paint: Its surface.
    """
    (ax, ay, ra), (bx, by, rb) = start, end
    where = _window(
        canvas,
        min(ax - ra, bx - rb),
        min(ay - ra, by - rb),
        max(ax + ra, bx + rb),
        max(ay + ra, by + rb),
    )
    if where is None:
        return
    x0, y0, x1, y1 = where
    x = np.arange(x1 - x0, dtype=np.float32) + np.float32(x0 - ax)
    y = (np.arange(y1 - y0, dtype=np.float32) + np.float32(y0 - ay))[:, None]
    dx, dy = bx - ax, by - ay
    inverse = 1.0 / max(dx * dx + dy * dy, 1e-6)
    along = x * (dx * inverse) + y * (dy * inverse)
    np.clip(along, 0.0, 1.0, out=along)
    across_x = x - along * dx
    across_y = y - along * dy
    radius = ra + (rb - ra) * along if abs(ra - rb) > 0.3 else 0.5 * (ra + rb)
    squared = across_x * across_x
    squared += across_y * across_y
    distance = np.sqrt(squared)
    alpha = np.clip(radius - distance + 0.5, 0.0, 1.0)
    tone = None
    if paint.light is not None:
        inner = 1.0 / np.maximum(radius, 0.5)
        bulge = np.sqrt(np.maximum(1.0 - squared * (inner * inner), 0.0))
        lx, ly, lz = paint.light
        facing = (across_x * lx + across_y * ly) * inner + lz * bulge
        tone = paint.ambient + (1.0 - paint.ambient) * np.maximum(facing, 0.0)
    if paint.stripes:
        bands = 1.0 + paint.contrast * np.sign(np.sin(along * (6.2832 * paint.stripes) + 0.7))
        tone = bands if tone is None else tone * bands
    if paint.outline:
        rim = 1.0 - paint.outline * np.clip(distance - radius + 2.0, 0.0, 1.0)
        tone = rim if tone is None else tone * rim
    _blend(canvas[:, y0:y1, x0:x1], alpha, paint.colour, tone)


def box(
    canvas: Canvas,
    centre: tuple[float, float],
    half: tuple[float, float],
    paint: Paint,
    *,
    angle: float = 0.0,
) -> None:
    """Draw a rectangle.

    Args:
        canvas: Planes to draw on, changed in place.
        centre: Column and row.
        half: Half width and half height in pixels.
        paint: Its surface; light is taken as a slope across it.
        angle: Rotation in radians.
    """
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    reach_x = abs(half[0] * cos) + abs(half[1] * sin)
    reach_y = abs(half[0] * sin) + abs(half[1] * cos)
    cx, cy = centre
    where = _window(canvas, cx - reach_x, cy - reach_y, cx + reach_x, cy + reach_y)
    if where is None:
        return
    x0, y0, x1, y1 = where
    x = np.arange(x1 - x0, dtype=np.float32) + np.float32(x0 - cx)
    y = (np.arange(y1 - y0, dtype=np.float32) + np.float32(y0 - cy))[:, None]
    u, v = x * cos + y * sin, y * cos - x * sin
    inside = np.minimum(half[0] - np.abs(u), half[1] - np.abs(v))
    alpha = np.clip(inside + 0.5, 0.0, 1.0)
    tone = None
    if paint.light is not None:
        slope = (paint.light[0] * u + paint.light[1] * v) / max(half[0] + half[1], 1.0)
        tone = np.clip(paint.ambient + (1 - paint.ambient) * (0.6 + slope), 0.0, 1.2)
    if paint.stripes:
        bands = 1.0 + paint.contrast * np.sign(
            np.sin(u * (3.1416 * paint.stripes / max(half[0], 1)))
        )
        tone = bands if tone is None else tone * bands
    if paint.outline:
        rim = 1.0 - paint.outline * np.clip(2.0 - inside, 0.0, 1.0)
        tone = rim if tone is None else tone * rim
    _blend(canvas[:, y0:y1, x0:x1], alpha.astype(np.float32), paint.colour, tone)


def shadow(
    canvas: Canvas, centre: tuple[float, float], half: tuple[float, float], *, strength: float
) -> None:
    """Darken a soft ellipse.

    Args:
        canvas: Planes to draw on, changed in place.
        centre: Column and row.
        half: Half axes in pixels.
        strength: 0 for nothing, 1 for black in the middle.
    """
    cx, cy = centre
    where = _window(canvas, cx - half[0], cy - half[1], cx + half[0], cy + half[1])
    if where is None:
        return
    x0, y0, x1, y1 = where
    x = (np.arange(x0, x1, dtype=np.float32) - np.float32(cx)) / max(half[0], 1.0)
    y = ((np.arange(y0, y1, dtype=np.float32) - np.float32(cy)) / max(half[1], 1.0))[:, None]
    canvas[:, y0:y1, x0:x1] *= 1.0 - strength * np.clip(1.0 - x * x - y * y, 0.0, 1.0)
