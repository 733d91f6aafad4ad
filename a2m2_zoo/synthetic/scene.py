"""Clips: a program, an instance and a place become frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from a2m2_zoo._utils.typing import Float, UInt8
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.synthetic.appearance import (
    Finish,
    Outfit,
    colour,
    develop,
    sample_finish,
    sample_outfits,
)
from a2m2_zoo.synthetic.background import paint_place
from a2m2_zoo.synthetic.bystanders import paint_bystanders
from a2m2_zoo.synthetic.camera import FIT_TIMES, Camera, aim
from a2m2_zoo.synthetic.families import program
from a2m2_zoo.synthetic.figure import paint_figures
from a2m2_zoo.synthetic.instance import STYLES, sample_instance
from a2m2_zoo.synthetic.motion import Motion, perform
from a2m2_zoo.synthetic.named import NAMED_ACTIONS
from a2m2_zoo.synthetic.programs import MotionProgram, generator
from a2m2_zoo.synthetic.raster import Canvas, Paint

_INSTANCE, _NAMED, _STUDIO = 2, 3, 4  # domains of random streams; classes use 0 and 1
_TELLING = (0.5, 1.2)  # named actions are seen from where arms and legs both show


@dataclass(frozen=True)
class _Scene:
    """Everything needed to draw any frame of a clip."""

    motion: Motion
    times: NDArray[np.float64]
    camera: Camera
    outfits: tuple[Outfit, Outfit]
    girth: NDArray[np.float64]
    prop: tuple[str, float, Paint]
    place: Canvas
    floor: bool
    finish: Finish
    margin: int


def _times(frames: int, times: Float[np.ndarray, " t"] | None) -> NDArray[np.float64]:
    if times is None:
        if not 1 <= frames <= 100_000:
            raise ArgumentError(f"frames must be from 1 to 100000; got {frames}")
        return (np.arange(frames) + 0.5) / frames
    wanted = np.asarray(times, np.float64)
    if wanted.ndim != 1 or not wanted.size or not ((wanted >= 0) & (wanted <= 1)).all():
        raise ArgumentError("times must be a non-empty list of values from 0 to 1 (clip lengths)")
    return wanted


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
    azimuth: tuple[float, float] | None,
    studio: int | None,
) -> _Scene:
    instance, look = sample_instance(rng, style=style), rng
    if studio is not None:
        look = generator(_STUDIO, studio)
        instance = instance.filmed_like(sample_instance(look, style=style))
    if azimuth is not None:
        turned = azimuth[0] + abs(instance.azimuth) % np.pi / np.pi * (azimuth[1] - azimuth[0])
        around = float(np.copysign(turned, instance.azimuth))
        instance = replace(instance, azimuth=around, elevation=min(instance.elevation, 0.35))
    motion = perform(what, instance, np.concatenate([FIT_TIMES, times]))
    fit = len(FIT_TIMES)
    camera = aim(motion.joints[:, :fit], instance, size=size)
    outfits = sample_outfits(rng, instance.style)
    tint = colour(rng, vivid=0.7, bright=0.65)
    margin = size // 6
    edge = camera.floor_edge(float(look.uniform(0.6, 3.0))) + margin
    place, floor = paint_place(
        look,
        instance.style,
        size + 2 * margin,
        edge=edge,
        horizon=camera.floor_edge(1e3) + margin,
    )
    if instance.style == "scene" and look.random() < 0.3:
        height = camera.focal / (camera.distance + 1.5)
        paint_bystanders(look, place, line=edge + 0.12 * size, height=height)
    finish = sample_finish(look, instance.style, size)
    moved = Motion(motion.joints[:, fit:], None if motion.prop is None else motion.prop[fit:])
    kind, reach = ("", 0.0) if what.prop is None else (what.prop.kind, what.prop.size)
    return _Scene(
        moved,
        times,
        camera,
        outfits,
        instance.girth,
        (kind, reach, Paint(tint, light=outfits[0].paints["trunk"].light)),
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
        canvas = scene.place.take(rows, 1).take(columns, 2)
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


def draw_program(
    what: MotionProgram,
    rng: Generator,
    *,
    frames: int = 8,
    size: int = 224,
    style: str | None = None,
    times: Float[np.ndarray, " t"] | None = None,
    azimuth: tuple[float, float] | None = None,
    studio: int | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draw one clip of a program, all chance taken from a given stream.

    Args:
        what: What is done.
        rng: Source of chance; the same stream draws the same clip, whatever its frames.
        frames: Number of frames, taken at the centres of equal parts of the clip.
        size: Side of the frames in pixels, 16 to 2048.
        style: One of `STYLES`, or None to let the stream choose.
        times: Times to draw instead, 0 to 1 in clip lengths.
        azimuth: Bounds of the angle between the camera and the front, in radians, which also keep the
            camera low; None for any view.
        studio: Clips of one number are filmed by one camera in one place; None is anywhere.

    Returns:
        Frames in RGB, (t, size, size, 3).

    Raises:
        ArgumentError: A size, style or time is not of the kind described.
    """
    _check(size, style)
    stage = _stage(what, rng, _times(frames, times), size, style, azimuth, studio)
    return _render(stage, size)


def draw_clip(
    seed: int,
    class_index: int,
    instance: int,
    *,
    frames: int = 8,
    size: int = 224,
    style: str | None = None,
    times: Float[np.ndarray, " t"] | None = None,
    studio: int | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draw a clip: a pure function of its arguments.

    A frame depends on its time only, so 8 frames and 40 frames show the same clip.

    Args:
        seed: Seed of the whole generator.
        class_index: What is done (see `program`).
        instance: Which clip of that class.
        frames: Number of frames, taken at the centres of equal parts of the clip.
        size: Side of the frames in pixels, 16 to 2048.
        style: "stick", "capsule" or "scene"; None lets the instance choose.
        times: Times to draw instead, 0 to 1 in clip lengths.
        studio: Clips of one number are filmed by one camera in one place; None is anywhere.

    Returns:
        Frames in RGB, (t, size, size, 3).

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> clip = draw_clip(0, 12, 3, frames=2, size=64)
        >>> clip.shape, clip.dtype
        ((2, 64, 64, 3), dtype('uint8'))
        >>> bool((clip == draw_clip(0, 12, 3, frames=2, size=64)).all())
        True
    """
    what, rng = program(seed, class_index), generator(_INSTANCE, seed, class_index, instance)
    return draw_program(
        what, rng, frames=frames, size=size, style=style, times=times, studio=studio
    )


def draw_named(
    action: str,
    instance: int,
    *,
    seed: int = 0,
    frames: int = 8,
    size: int = 224,
    style: str | None = None,
    times: Float[np.ndarray, " t"] | None = None,
    studio: int | None = None,
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draw a clip of an action that has a name: a pure function of its arguments.

    Args:
        action: A key of `NAMED_ACTIONS`.
        instance: Which clip of that action.
        seed: Seed of the instances.
        frames: Number of frames, taken at the centres of equal parts of the clip.
        size: Side of the frames in pixels, 16 to 2048.
        style: "stick", "capsule" or "scene"; None lets the instance choose.
        times: Times to draw instead, 0 to 1 in clip lengths.
        studio: Clips of one number are filmed by one camera in one place; None is anywhere.

    Returns:
        Frames in RGB, (t, size, size, 3).

    Raises:
        ArgumentError: No action goes by that name, or an argument is out of range.

    Example:
        >>> draw_named("wave", 0, frames=3, size=48).shape
        (3, 48, 48, 3)
    """
    if action not in NAMED_ACTIONS:
        known = ", ".join(NAMED_ACTIONS)
        raise ArgumentError(f"no action is named {action!r}; choose one of {known}")
    rng = generator(_NAMED, seed, list(NAMED_ACTIONS).index(action), instance)
    return draw_program(
        NAMED_ACTIONS[action],
        rng,
        frames=frames,
        size=size,
        style=style,
        times=times,
        azimuth=_TELLING,
        studio=studio,
    )


def trajectory(
    seed: int,
    class_index: int,
    instance: int,
    *,
    times: Float[np.ndarray, " t"] | None = None,
    frames: int = 8,
) -> Float[np.ndarray, "f t 20 3"]:
    """Joints of the figures of a clip, before any camera.

    Args:
        seed: Seed of the whole generator.
        class_index: What is done.
        instance: Which clip of that class.
        times: Times in clip lengths, 0 to 1.
        frames: Number of evenly spaced times if none are given.

    Returns:
        Positions in body heights, y up from the floor; shape (figures, t, 20, 3).

    Raises:
        ArgumentError: An argument is out of range.

    Example:
        >>> trajectory(0, 12, 3, frames=5).shape[1:]
        (5, 20, 3)
    """
    rng = generator(_INSTANCE, seed, class_index, instance)
    return perform(program(seed, class_index), sample_instance(rng), _times(frames, times)).joints
