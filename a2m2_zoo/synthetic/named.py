"""Five actions that anybody recognises, written by hand for demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from a2m2_zoo.synthetic.programs import MotionProgram, step
from a2m2_zoo.synthetic.vocabulary import (
    ARM,
    BODY_MOVES,
    GAITS,
    Cycle,
    cycles,
    gait_cycles,
    limb,
    limb_cycles,
)

_REST = step("").pose


def _jump() -> tuple[Cycle, ...]:
    return cycles(BODY_MOVES["jump"])


NAMED_ACTIONS: Mapping[str, MotionProgram] = MappingProxyType(
    {
        "wave": MotionProgram(
            "wave",
            (
                step(
                    "wave",
                    limb("right", "arm", {"out": 118, "twist": 84, "elbow": 62}),
                    cycles=limb_cycles("right", "wave"),
                    periods=3.5,
                    weight=2.0,
                    rise=0.16,
                ),
            ),
            _REST,
            returns=True,
        ),
        "jump": MotionProgram(
            "jump", (step("jump", cycles=_jump(), periods=2.0, weight=2.0),), _REST
        ),
        "squat": MotionProgram(
            "squat",
            (
                step(
                    "squat",
                    limb("left", "arm", ARM["front"]) | limb("right", "arm", ARM["front"]),
                    cycles=cycles(BODY_MOVES["squat"]),
                    periods=2.0,
                    weight=2.2,
                    rise=0.2,
                ),
            ),
            _REST,
            returns=True,
        ),
        "walk": MotionProgram(
            "walk",
            (
                step(
                    "walk",
                    dict(GAITS["walk"][3]),
                    cycles=gait_cycles("walk"),
                    periods=2.5,
                    rise=0.1,
                ),
            ),
            _REST,
        ),
        "kick": MotionProgram(
            "kick",
            (
                step(
                    "swing-back",
                    limb("right", "leg", {"forward": -26, "knee": 52}),
                    limb("left", "arm", {"forward": 24, "out": 30, "elbow": 20}),
                    {"bend": 8},
                    weight=0.7,
                    rise=1.0,
                ),
                step(
                    "kick",
                    limb("right", "leg", {"forward": 92, "knee": 4}),
                    limb("left", "arm", {"forward": -10, "out": 40, "elbow": 20}),
                    limb("right", "arm", {"forward": -30, "out": 30, "elbow": 20}),
                    {"bend": -4, "pitch": -10},
                    weight=0.8,
                    rise=0.55,
                ),
            ),
            _REST,
            returns=True,
        ),
    }
)
"""Programs by name."""
