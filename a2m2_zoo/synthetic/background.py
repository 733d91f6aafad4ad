"""Places: what stands behind the figures, painted once for each clip."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from a2m2_zoo.synthetic.appearance import colour
from a2m2_zoo.synthetic.raster import Canvas, Paint, box, capsule


def smooth_noise(rng: Generator, shape: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """Random values on a coarse grid, blended linearly in between.

    Args:
        rng: Source of chance.
        shape: Height and width of the result.
        cells: Grid cells along each side.

    Returns:
        Values with mean near 0 and deviation below 1, shape (height, width).
    """
    grid = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)

    def hats(length: int) -> NDArray[np.float32]:
        places = np.linspace(0, cells, length, dtype=np.float32)[:, None]
        knots = np.arange(cells + 1, dtype=np.float32)
        return np.asarray(np.maximum(1.0 - np.abs(places - knots), 0.0))

    rows, columns = hats(shape[0]), hats(shape[1])
    return np.asarray(rows @ grid @ columns.T)


def _tone(rng: Generator, shape: tuple[int, int], octaves: tuple[int, ...]) -> NDArray[np.float32]:
    """Light and dark of a rough surface, around 1."""
    tone = np.ones(shape, np.float32)
    strength = rng.uniform(0.02, 0.14)
    for cells in octaves:
        tone += np.float32(strength * 6.0 / (4.0 + np.sqrt(cells))) * smooth_noise(
            rng, shape, cells
        )
    return tone


def _wall(rng: Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    tone = _tone(rng, shape, (3, 11, 60))
    y, x = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)
    unit = shape[1] * float(rng.uniform(0.03, 0.16))
    depth = float(rng.uniform(0.04, 0.2))
    kind = int(rng.choice(5, p=(0.34, 0.16, 0.2, 0.15, 0.15)))
    if kind == 1:  # bands
        tone *= 1 - depth * (np.sin(x * (6.2832 / unit)) > 0)
    elif kind == 2:  # bricks
        course = np.floor(y / (0.5 * unit))
        joint = (np.mod(y, 0.5 * unit) < 1.5) | (np.mod(x + 0.5 * unit * course, unit) < 1.5)
        tone *= 1 - depth * joint
    elif kind == 3:  # panels
        tone *= 1 - depth * ((np.mod(x, unit) < 2) | (np.mod(y, 1.7 * unit) < 2))
    elif kind == 4:  # leaves, crowds, clutter
        for cells in (24, 48):
            tone += np.float32(rng.uniform(0.08, 0.25)) * smooth_noise(rng, shape, cells)
    return tone


def _floor(rng: Generator, shape: tuple[int, int], horizon: float) -> NDArray[np.float32]:
    """A floor in perspective: its pattern shrinks towards the horizon (a row, may be negative)."""
    tone = _tone(rng, shape, (4, 40))
    kind = int(rng.choice(3, p=(0.5, 0.25, 0.25)))
    if kind and shape[0]:
        y = np.arange(shape[0], dtype=np.float32)[:, None]
        x = np.arange(shape[1], dtype=np.float32) - 0.5 * shape[1]
        depth = shape[1] / np.maximum(y - np.float32(horizon), 4.0)
        step = float(rng.uniform(3, 9))
        columns = np.floor(x * depth * (step / shape[1]))
        pattern = columns if kind == 1 else columns + np.floor(depth * step)
        tone *= 1 - np.float32(rng.uniform(0.05, 0.25)) * np.mod(pattern, 2)
    return tone


def _furnish(rng: Generator, canvas: Canvas, edge: float, *, busy: int) -> None:
    """Windows and pictures on the wall; cupboards, tables and poles in front of it."""
    side = canvas.shape[2]
    for _ in range(int(rng.integers(busy + 1))):
        kind = rng.random()
        half = side * rng.uniform(0.02, 0.14, 2)
        paint = Paint(
            colour(rng, vivid=0.35, bright=0.55),
            light=(float(rng.normal(0, 0.5)), float(rng.normal(0, 0.5)), 0.7),
            ambient=float(rng.uniform(0.4, 0.9)),
            stripes=float(rng.integers(1, 9)) if rng.random() < 0.4 else 0.0,
            contrast=float(rng.uniform(0.05, 0.4)),
            outline=float(rng.uniform(0, 0.6)) if rng.random() < 0.5 else 0.0,
        )
        column = float(rng.uniform(0, side))
        if kind < 0.35:
            row = edge * float(rng.uniform(0.1, 0.85))
            box(canvas, (column, row), (float(half[0]), float(half[1])), paint)
        elif kind < 0.8:
            row = edge + float(rng.uniform(-0.02, 0.06)) * side - float(half[1])
            box(canvas, (column, row), (float(half[0]), float(half[1])), paint)
        else:
            thick = side * float(rng.uniform(0.005, 0.03))
            lean = side * float(rng.normal(0, 0.02))
            top = edge * float(rng.uniform(0, 0.6))
            capsule(canvas, (column, edge, thick), (column + lean, top, thick), paint)


def paint_place(
    rng: Generator, style: str, side: int, *, edge: float, horizon: float
) -> tuple[Canvas, bool]:
    """Paint a background.

    Args:
        rng: Source of chance.
        style: One of `STYLES`.
        side: Height and width in pixels, margins for camera movement included.
        edge: Row at which floor and wall meet.
        horizon: Row of the horizon.

    Returns:
        Planes (3, side, side), and whether there is a floor that shadows fall on.
    """
    canvas = np.empty((3, side, side), np.float32)
    if style == "stick" or (style == "capsule" and rng.random() < 0.3):
        kind = rng.choice(4, p=(0.62, 0.14, 0.1, 0.14))
        level = rng.uniform(205, 255) if kind != 1 else rng.uniform(0, 50)
        canvas[:] = np.float32(level) + rng.normal(0, 3, (3, 1, 1)).astype(np.float32)
        if kind == 2:
            canvas[:] = np.array(colour(rng, vivid=0.3, bright=0.8), np.float32)[:, None, None]
        elif kind == 3:
            canvas *= np.linspace(1, rng.uniform(0.75, 0.95), side, dtype=np.float32)[:, None]
        return np.clip(canvas, 0, 255), False
    row = int(np.clip(edge, 0, side))
    vivid = float(rng.uniform(0.0, 0.36))
    bright = float(rng.uniform(0.35, 0.9))
    wall = np.array(colour(rng, vivid=vivid, bright=bright, spread=0.1), np.float32)[:, None, None]
    floor = np.array(colour(rng, vivid=vivid, bright=bright * 0.85, spread=0.12), np.float32)[
        :, None, None
    ]
    if style == "capsule":
        canvas[:, :row] = wall * _tone(rng, (row, side), (3,)) if row else 0
        canvas[:, row:] = floor * _tone(rng, (side - row, side), (3,)) if row < side else 0
        _furnish(rng, canvas, float(row), busy=3)
        return canvas, True
    other = np.array(colour(rng, vivid=vivid, bright=bright, spread=0.12), np.float32)[
        :, None, None
    ]
    if row:
        mix = np.clip(0.5 + 0.5 * smooth_noise(rng, (row, side), 5), 0, 1)
        mix *= np.float32(rng.uniform(0, 0.8))
        canvas[:, :row] = (wall + mix * (other - wall)) * _wall(rng, (row, side))
    if row < side:
        canvas[:, row:] = floor * _floor(rng, (side - row, side), horizon - row)
    _furnish(rng, canvas, float(row), busy=16)
    slope = smooth_noise(rng, (side, side), 2)
    canvas *= 1 + np.float32(rng.uniform(0.05, 0.25)) * slope
    return canvas, True
