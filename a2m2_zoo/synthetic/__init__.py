"""A generator of moving figures: unlimited classes of human-like motion, drawn from seeds.

A class is a random motion program, an instance one way to carry it out and to film it; see
``docs/explanation/synthetic.md``. Everything is a pure function of (seed, class, instance).
"""

from __future__ import annotations

from a2m2_zoo.synthetic.families import FAMILY, program
from a2m2_zoo.synthetic.instance import STYLES
from a2m2_zoo.synthetic.named import NAMED_ACTIONS
from a2m2_zoo.synthetic.programs import MotionProgram
from a2m2_zoo.synthetic.scene import draw_clip, draw_named, draw_program, trajectory
from a2m2_zoo.synthetic.write import ClipFormat, write_dataset, write_video

__all__ = [
    "FAMILY",
    "NAMED_ACTIONS",
    "STYLES",
    "ClipFormat",
    "MotionProgram",
    "draw_clip",
    "draw_named",
    "draw_program",
    "program",
    "trajectory",
    "write_dataset",
    "write_video",
]
