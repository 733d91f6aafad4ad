"""People who stand in the background and take no part."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from a2m2_zoo.synthetic.appearance import sample_outfits
from a2m2_zoo.synthetic.figure import paint_figures
from a2m2_zoo.synthetic.programs import STANDING
from a2m2_zoo.synthetic.raster import Canvas
from a2m2_zoo.synthetic.skeleton import REST, place_joints
from a2m2_zoo.synthetic.steps import draw_arms
from a2m2_zoo.synthetic.vocabulary import pose_vector


def paint_bystanders(rng: Generator, place: Canvas, *, line: float, height: float) -> None:
    """Paint one to three motionless people into a background.

    Args:
        rng: Source of chance.
        place: Planes to paint on, changed in place.
        line: Row their feet are near.
        height: Their height in pixels.
    """
    for _ in range(int(rng.integers(1, 4))):
        pose = pose_vector(STANDING | draw_arms(rng)[1])
        pose[3] = rng.uniform(-np.pi, np.pi)
        joints = place_joints(pose[None], REST)[0]
        scale = height * float(rng.uniform(0.75, 1.0))
        across = float(rng.uniform(0.0, place.shape[2]))
        foot = line + height * float(rng.uniform(-0.06, 0.06))
        rows = foot - scale * (joints[:, 1] - joints[:, 1].min())
        # Nearness, the third number, only orders the limbs here.
        near = scale * (1.0 + 0.05 * joints[:, 0])
        points = np.stack([across + scale * joints[:, 2], rows, near], 1)
        outfits = sample_outfits(rng, "scene")
        paint_figures(place, [points], [], outfits, np.ones(2), prop=None, tilt=0.0)
