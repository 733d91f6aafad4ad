"""Instances: everything that may differ between two clips of one class.

The class says what is done; an instance says by whom (proportions), how (speed, pauses, extent),
and from where it is seen. Colours, background and camera artefacts belong to `appearance`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from a2m2_zoo.synthetic.skeleton import CHANNELS, JOINTS, REST

STYLES = ("stick", "capsule", "scene")
"""Rendering styles: thin lines on plain ground, flat bodies, shaded bodies in a furnished place."""

_MAX_STEPS = 8
_FIGURES = 2


@dataclass(frozen=True)
class Instance:
    """How one clip differs from the others of its class.

    Attributes:
        style: One of `STYLES`.
        begin: Time at which the action starts, in clip lengths (below 0: the clip starts in it).
        end: Time at which it ends (above 1: the clip stops before).
        warp: Relative durations of six equal parts of the action; a long one is a pause.
        tempo: Factors on the weights of the steps.
        rate: Factor on the number of periods.
        amplitude: Factor on how far each channel leaves the neutral pose; shape (figures, 32).
        jitter: Radians added to each key pose; shape (figures, steps, 32).
        sway: Amplitude, frequency and phase of idle movement; shape (figures, 3, 32).
        bones: Joint offsets at rest of each figure; shape (figures, 20, 3).
        girth: Factor on the thickness of each figure; shape (figures,).
        mirror: Whether left and right change places.
        azimuth: Camera's direction around the figure in radians; 0 is from the front.
        elevation: Camera's height angle in radians.
        distance: Camera's distance in body heights.
        extent: Wanted height of a standing figure as a fraction of the frame.
        offset: Where the action sits in the space left over, each −1 to 1.
        follow: How much of the travel the camera follows, 0 to 1.
        shake: Amplitudes, frequencies and phases of the camera's trembling; shape (3, 2, 3).
    """

    style: str
    begin: float
    end: float
    warp: NDArray[np.float64]
    tempo: NDArray[np.float64]
    rate: float
    amplitude: NDArray[np.float64]
    jitter: NDArray[np.float64]
    sway: NDArray[np.float64]
    bones: NDArray[np.float64]
    girth: NDArray[np.float64]
    mirror: bool
    azimuth: float
    elevation: float
    distance: float
    extent: float
    offset: tuple[float, float]
    follow: float
    shake: NDArray[np.float64]

    def filmed_like(self, other: Instance) -> Instance:
        """The same performance before the camera of another instance, but for where it stands."""
        return replace(
            self,
            style=other.style,
            mirror=other.mirror,
            azimuth=other.azimuth + 0.12 * self.offset[0],
            elevation=other.elevation,
            distance=other.distance,
            extent=other.extent,
            offset=(
                0.7 * other.offset[0] + 0.3 * self.offset[0],
                0.9 * other.offset[1] + 0.1 * self.offset[1],
            ),
            follow=other.follow,
            shake=other.shake,
        )

    def progress(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far the action has come at each time: 0 before its start, 1 after its end.

        Args:
            times: Times in clip lengths, shape (t,).

        Returns:
            Monotone values from 0 to 1, shape (t,).
        """
        inner = np.clip((times - self.begin) / (self.end - self.begin), 0.0, 1.0)
        spent = np.concatenate([[0.0], np.cumsum(self.warp)]) / self.warp.sum()
        return np.interp(inner, spent, np.linspace(0.0, 1.0, len(spent)))


def _bones(rng: Generator) -> NDArray[np.float64]:
    """Proportions of one person; both sides alike, total height near 1."""
    bones = REST.copy()
    legs, arms, trunk, wide = np.exp(rng.normal(0, (0.05, 0.06, 0.05, 0.10)))
    limbs = np.array([JOINTS[j].rsplit("_", 1)[-1] for j in range(20)])
    bones[np.isin(limbs, ("knee", "ankle", "toe"))] *= legs
    bones[np.isin(limbs, ("elbow", "wrist", "hand"))] *= arms
    bones[1:3] *= trunk
    bones[np.isin(limbs, ("shoulder", "hip")), 2] *= wide
    bones[[4, 12], 1] *= trunk
    standing = bones[1:4, 1].sum() - bones[8:11, 1].sum()
    return np.asarray(bones * (0.93 / standing))


def _amplitude(rng: Generator) -> NDArray[np.float64]:
    """One factor for all channels, and a smaller one for each of four groups of channels."""
    groups = np.exp(rng.normal(0, 0.08, 4))
    factors = np.repeat(groups, (6, 6, 10, 10)) * np.exp(rng.normal(0, 0.1))
    factors[3] = 1.0  # headings are part of the class
    return np.asarray(np.clip(factors, 0.7, 1.3))


def sample_instance(rng: Generator, *, style: str | None = None) -> Instance:
    """Draw an instance.

    Args:
        rng: Source of chance, used up in an order that is part of the generator's identity.
        style: One of `STYLES`, or None to draw one as well.

    Returns:
        The instance.
    """
    drawn = STYLES[int(rng.choice(3, p=(0.34, 0.24, 0.42)))]
    style = style or drawn
    warp = np.exp(rng.normal(0, 0.32, 6))
    if rng.random() < 0.3:
        warp[int(rng.integers(6))] += rng.uniform(1.0, 3.0)
    front = rng.random() < 0.5
    high = style == "scene" and rng.random() < 0.35
    moving = rng.random() < {"stick": 0.1, "capsule": 0.3, "scene": 0.45}[style]
    shake = np.stack(
        [
            rng.normal(0, 1, (2, 3)) * (0.012, 0.006, 0.002),
            rng.uniform(0.3, 1.0, (2, 3)) * (1.2, 4.0, 11.0),
            rng.uniform(0, 2 * np.pi, (2, 3)),
        ]
    )
    shake[0] *= moving * rng.uniform(0.3, 1.6)
    sway = np.zeros((_FIGURES, 3, len(CHANNELS)))
    sway[:, 0, 6:] = np.abs(rng.normal(0, 0.018, (_FIGURES, 26)))
    sway[:, 1] = rng.uniform(2, 14, (_FIGURES, 32))
    sway[:, 2] = rng.uniform(0, 2 * np.pi, (_FIGURES, 32))
    jitter = rng.normal(0, 0.07, (_FIGURES, _MAX_STEPS, len(CHANNELS)))
    jitter[..., :3] = 0.0
    jitter[..., 3:6] *= 0.4
    extent = rng.uniform(0.30, 0.72) if high else rng.uniform(0.52, 0.90)
    return Instance(
        style=style,
        begin=float(rng.uniform(-0.05, 0.20)),
        end=float(rng.uniform(0.80, 1.06)),
        warp=warp,
        tempo=np.exp(rng.normal(0, 0.2, _MAX_STEPS)),
        rate=float(np.exp(rng.normal(0, 0.17))),
        amplitude=np.stack([_amplitude(rng) for _ in range(_FIGURES)]),
        jitter=jitter,
        sway=sway,
        bones=np.stack([_bones(rng) for _ in range(_FIGURES)]),
        girth=np.exp(rng.normal(0, 0.14, _FIGURES)),
        mirror=bool(rng.random() < 0.3),
        azimuth=float(rng.normal(0, 0.5) if front else rng.uniform(-np.pi, np.pi)),
        elevation=float(rng.uniform(0.45, 0.95) if high else rng.normal(0.12, 0.1)),
        distance=float(rng.uniform(2.8, 8.0)),
        extent=float(extent),
        offset=(float(rng.uniform(-1, 1)), float(rng.uniform(-1, 1))),
        follow=float(rng.choice((0.0, 0.6, 1.0), p=(0.55, 0.2, 0.25))),
        shake=shake,
    )
