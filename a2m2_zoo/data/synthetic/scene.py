"""Clips: a program, an instance and a place become frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from a2m2_zoo._typing import Float, UInt8
from a2m2_zoo.errors import ArgumentError

from .appearance import Finish, Outfit, develop, sample_finish, sample_outfits
from .background import paint_place
from .camera import FIT_TIMES, Camera, aim
from .figure import paint_figures
from .instance import STYLES, sample_instance
from .motion import Motion, perform
from .named import NAMED_ACTIONS
from .programs import MotionProgram, generator, program
from .raster import Canvas

_INSTANCE, _NAMED = 2, 3  # domains of random streams; classes use 0 and 1


@dataclass(frozen=True)
class _Scene:
    """Everything needed to draw any frame of a clip."""

    motion: Motion
    times: NDArray[np.float64]
    camera: Camera
    outfits: tuple[Outfit, Outfit]
    girth: NDArray[np.float64]
    prop: tuple[str, float, tuple[float, float, float]]
    place: Canvas
    floor: bool
    finish: Finish
    margin: int


def _times(frames: int, times: Float[np.ndarray, "t"] | None) -> NDArray[np.float64]:
    if times is None:
        if not 1 <= frames <= 100_000:
            raise ArgumentError(f"frames must be from 1 to 100000; got {frames}")
        return (np.arange(frames) + 0.5) / frames
    asked = np.asarray(times, np.float64)
    if asked.ndim != 1 or not asked.size or not ((asked >= 0) & (asked <= 1)).all():
        raise ArgumentError("times must be a non-empty list of values from 0 to 1 (clip lengths)")
    return asked


def _check(size: int, style: str | None) -> None:
    if not 16 <= size <= 2048:
        raise ArgumentError(f"size must be from 16 to 2048 pixels; got {size}")
    if style is not None and style not in STYLES:
        raise ArgumentError(f"style must be one of {', '.join(STYLES)}, or None; got {style!r}")


def _stage(
    what: MotionProgram,
    rng: Generator,
    times: NDArray[np.float64],
    size: int,
    style: str | None,
) -> _Scene:
    instance = sample_instance(rng, style=style)
    motion = perform(what, instance, np.concatenate([FIT_TIMES, times]))
    fit = len(FIT_TIMES)
    camera = aim(motion.joints[:, :fit], instance, size=size)
    outfits = sample_outfits(rng, instance.style)
    tint = rng.uniform(30, 235, 3)
    margin = size // 6
    edge = camera.floor_edge(float(rng.uniform(0.6, 3.0))) + margin
    place, floor = paint_place(
        rng,
        instance.style,
        size + 2 * margin,
        edge=edge,
        horizon=camera.floor_edge(1e3) + margin,
    )
    finish = sample_finish(rng, instance.style, size)
    moved = Motion(motion.joints[:, fit:], None if motion.prop is None else motion.prop[fit:])
    kind, reach = ("", 0.0) if what.prop is None else (what.prop.kind, what.prop.size)
    return _Scene(
        moved,
        times,
        camera,
        outfits,
        instance.girth,
        (kind, reach, (float(tint[0]), float(tint[1]), float(tint[2]))),
        place,
        floor,
        finish,
        margin,
    )


def _mirror_index(start: float, length: int, limit: int) -> NDArray[np.intp]:
    """Indices start … start + length, folded back at both ends of 0 … limit − 1."""
    index = np.arange(length) + int(np.floor(start))
    folded = np.mod(index, 2 * limit - 2)
    return np.where(folded < limit, folded, 2 * limit - 2 - folded)


def _render(scene: _Scene, size: int) -> UInt8[np.ndarray, "t h w 3"]:
    frames = np.empty((len(scene.times), size, size, 3), np.uint8)
    slides = scene.camera.slide(scene.times)
    side = scene.place.shape[1]
    projected = [scene.camera.project(one, scene.times) for one in scene.motion.joints]
    ends = None
    if scene.motion.prop is not None:
        ends = scene.camera.project(scene.motion.prop, scene.times)
    feet = scene.motion.joints * (1.0, 0.0, 1.0)
    ground = [scene.camera.project(one, scene.times) for one in feet]
    for index, moment in enumerate(scene.times):
        columns = _mirror_index(scene.margin - slides[index, 0], size, side)
        rows = _mirror_index(scene.margin - slides[index, 1], size, side)
        canvas = np.ascontiguousarray(scene.place[:, rows[:, None], columns])
        paint_figures(
            canvas,
            [one[index] for one in projected],
            [one[index] for one in ground] if scene.floor else [],
            scene.outfits,
            scene.girth,
            prop=None if ends is None else (ends[index], *scene.prop),
            tilt=float(scene.camera.axes[2, 1]),
        )
        frames[index] = develop(canvas, scene.finish, float(moment))
    return frames


def draw_clip(
    seed: int,
    class_index: int,
    *,
    instance: int,
    frames: int = 8,
    size: int = 224,
    style: str | None = None,
    times: Float[np.ndarray, "t"] | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    raise SystemExit
