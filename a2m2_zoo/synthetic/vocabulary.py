"""Words that motion programs are made of: arm, trunk and leg poses, and periodic movements.

Every angle here is in degrees and every length in body heights; `pose_vector` and `cycles` turn
them into what the rest of the generator works with. Arm and leg words describe one limb, so the same
word serves left, right or both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import radians
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from a2m2_zoo.synthetic.skeleton import CHANNEL

Word = Mapping[str, float]


@dataclass(frozen=True)
class Cycle:
    """One channel swinging about its key pose.

    Attributes:
        channel: Index into `CHANNELS`.
        amplitude: Radians (body heights for lengths).
        phase: Fraction of a period, 0 to 1.
        shape: "sine" swings both ways, "bump" rises and falls smoothly from 0 to 1, "arc" is the
            positive half of a sine and 0 for the other half, as in a hop.
        ratio: Periods of this channel for one period of the step.
    """

    channel: int
    amplitude: float
    phase: float = 0.0
    shape: str = "sine"
    ratio: float = 1.0


ARM: Mapping[str, Word] = MappingProxyType(
    {
        "down": {"out": 7, "elbow": 10},
        "front": {"forward": 88, "elbow": 6},
        "raise": {"forward": 168, "out": 8, "elbow": 8},
        "side": {"out": 90, "elbow": 6},
        "high": {"out": 142, "elbow": 12},
        "akimbo": {"out": 42, "forward": -22, "twist": -62, "elbow": 98},
        "head": {"out": 112, "forward": 30, "twist": 55, "elbow": 132},
        "chest": {"forward": 34, "out": 14, "twist": -58, "elbow": 106},
        "guard": {"forward": 46, "out": 12, "twist": -12, "elbow": 122},
        "back": {"forward": -48, "out": 10, "elbow": 8},
        "cross": {"forward": 72, "out": -34, "twist": -20, "elbow": 34},
        "flex": {"out": 88, "twist": 88, "elbow": 92},
        "reach": {"forward": 52, "out": 4, "elbow": 4},
        "salute": {"forward": 78, "out": 52, "twist": -20, "elbow": 128},
        "open": {"forward": 55, "out": 62, "elbow": 18},
        "ear": {"forward": 58, "out": 30, "twist": 8, "elbow": 142},
        "low-cross": {"forward": 38, "out": -22, "elbow": 12},
        "point-up": {"forward": 128, "out": 12, "elbow": 4},
    }
)
"""Poses of one arm."""

LEG: Mapping[str, Word] = MappingProxyType(
    {
        "stand": {"out": 3},
        "knee": {"forward": 86, "knee": 88},
        "kick": {"forward": 78, "knee": 8},
        "side-kick": {"out": 62, "knee": 6},
        "back-kick": {"forward": -42, "knee": 24},
        "heel": {"forward": -4, "knee": 112},
        "step": {"forward": 30, "knee": 14},
        "figure-four": {"forward": 52, "out": 38, "twist": 34, "knee": 104},
    }
)
"""Poses of one leg; the other leg stands."""

BODY: Mapping[str, Word] = MappingProxyType(
    {
        "upright": {},
        "bow": {"bend": 42, "pitch": 12, "nod": 10},
        "bend": {"bend": 62, "pitch": 34, "left_knee": 14, "right_knee": 14}
        | {f"{s}_leg_forward": 36.0 for s in ("left", "right")},
        "arch": {"bend": -20, "pitch": -7, "nod": -16},
        "lean-left": {"lean": -30, "roll": -6},
        "lean-right": {"lean": 30, "roll": 6},
        "twist-left": {"twist": 48, "look": 18},
        "twist-right": {"twist": -48, "look": -18},
        "squat": {"pitch": 14, "bend": 22}
        | {f"{s}_leg_forward": 98.0 for s in ("left", "right")}
        | {f"{s}_knee": 118.0 for s in ("left", "right")}
        | {f"{s}_leg_out": 14.0 for s in ("left", "right")},
        "crouch": {"pitch": 8, "bend": 24}
        | {f"{s}_leg_forward": 48.0 for s in ("left", "right")}
        | {f"{s}_knee": 64.0 for s in ("left", "right")},
        "sit": {"bend": 4}
        | {f"{s}_leg_forward": 88.0 for s in ("left", "right")}
        | {f"{s}_knee": 88.0 for s in ("left", "right")},
        "wide": {"left_leg_out": 27, "right_leg_out": 27},
        "lunge-left": {"left_leg_forward": 62, "left_knee": 66, "right_leg_forward": -34}
        | {"right_knee": 16},
        "lunge-right": {"right_leg_forward": 62, "right_knee": 66, "left_leg_forward": -34}
        | {"left_knee": 16},
        "kneel": {"left_leg_forward": 82, "left_knee": 86, "right_leg_forward": -4}
        | {"right_knee": 96, "bend": 6},
        "tiptoe": {"left_ankle": -42, "right_ankle": -42},
        "fall-back": {"pitch": -82, "bend": 10, "left_knee": 20, "right_knee": 34},
        "fall-front": {"pitch": 84, "bend": -8},
        "plank": {"pitch": 72, "left_arm_forward": 80, "right_arm_forward": 80},
    }
)
"""Poses of the whole body: trunk and both legs together."""

_SIDES = ("left", "right")
MOVES: Mapping[str, tuple[tuple[str, float, float, str, float], ...]] = MappingProxyType(
    {
        "wave": (
            ("arm_twist", 10, 0.1, "sine", 1),
            ("elbow", 34, 0, "sine", 1),
            ("arm_out", 12, 0.25, "sine", 1),
        ),
        "swing": (("arm_forward", 52, 0, "sine", 1), ("elbow", 12, 0.25, "bump", 1)),
        "circle": (("arm_forward", 48, 0, "sine", 1), ("arm_out", 48, 0.25, "sine", 1)),
        "pump": (("elbow", 62, 0, "bump", 1), ("arm_forward", -26, 0, "bump", 1)),
        "flap": (("arm_out", 46, 0, "sine", 1), ("elbow", 16, 0.25, "bump", 1)),
        "hammer": (("arm_forward", 62, 0, "bump", 1), ("elbow", 62, 0.1, "bump", 1)),
        "stir": (
            ("arm_forward", 20, 0, "sine", 1),
            ("arm_out", 20, 0.25, "sine", 1),
            ("elbow", 20, 0.5, "sine", 1),
        ),
        "clap": (("arm_out", 42, 0, "bump", 1), ("arm_twist", 26, 0, "bump", 1)),
        "saw": (("arm_forward", -46, 0, "sine", 1), ("elbow", 44, 0, "sine", 1)),
        "lift-leg": (("leg_forward", 72, 0, "bump", 1), ("knee", 84, 0, "bump", 1)),
        "swing-leg": (("leg_forward", 46, 0, "sine", 1), ("knee", 14, 0.25, "bump", 1)),
        "side-leg": (("leg_out", 46, 0, "bump", 1),),
    }
)
"""Periodic moves of one limb: (channel of the limb, amplitude, phase, shape, ratio)."""

BODY_MOVES: Mapping[str, tuple[tuple[str, float, float, str, float], ...]] = MappingProxyType(
    {
        "nod": (("nod", 30, 0, "sine", 1),),
        "shake": (("look", 46, 0, "sine", 1),),
        "bow": (("bend", 52, 0, "bump", 1), ("pitch", 14, 0, "bump", 1)),
        "sway": (("lean", 26, 0, "sine", 1), ("roll", 7, 0, "sine", 1)),
        "twirl": (("twist", 46, 0, "sine", 1),),
        "squat": (
            ("left_leg_forward", 76, 0, "bump", 1),
            ("right_leg_forward", 76, 0, "bump", 1),
            ("left_knee", 94, 0, "bump", 1),
            ("right_knee", 94, 0, "bump", 1),
            ("bend", 22, 0, "bump", 1),
        ),
        "jump": (
            ("lift", 0.22, 0.5, "arc", 1),
            ("left_leg_forward", 52, 0, "arc", 1),
            ("right_leg_forward", 52, 0, "arc", 1),
            ("left_knee", 74, 0, "arc", 1),
            ("right_knee", 74, 0, "arc", 1),
            ("bend", 22, 0, "arc", 1),
            ("left_arm_forward", 66, 0.5, "arc", 1),
            ("right_arm_forward", 66, 0.5, "arc", 1),
        ),
        "hop": (
            ("lift", 0.11, 0, "arc", 1),
            ("left_knee", 22, 0.5, "arc", 1),
            ("right_knee", 22, 0.5, "arc", 1),
            ("left_leg_forward", 14, 0.5, "arc", 1),
            ("right_leg_forward", 14, 0.5, "arc", 1),
        ),
        "jack": (
            ("left_leg_out", 24, 0, "bump", 1),
            ("right_leg_out", 24, 0, "bump", 1),
            ("left_arm_out", 138, 0, "bump", 1),
            ("right_arm_out", 138, 0, "bump", 1),
            ("lift", 0.07, 0, "arc", 2),
        ),
        "sit-up": (("bend", 34, 0, "bump", 1), ("pitch", 28, 0, "bump", 1)),
    }
)
"""Periodic moves of the whole body, in the form of `MOVES` with full channel names."""

GAITS: Mapping[str, tuple[float, float, float, Word]] = MappingProxyType(
    {
        "walk": (27, 44, 26, {}),
        "run": (44, 94, 42, {"bend": 10, "pitch": 6, "left_elbow": 74, "right_elbow": 74}),
        "march": (12, 84, 40, {"left_leg_forward": 14, "right_leg_forward": 14}),
        "sneak": (30, 34, 8, dict(BODY["crouch"])),
        "stride": (41, 46, 30, {"bend": 4}),
    }
)
"""Ways to walk: (hip swing, knee lift, arm swing, pose)."""


def limb(side: str, part: str, word: Word) -> dict[str, float]:
    """Spell an `ARM` or `LEG` word out in channel names.

    Args:
        side: "left" or "right".
        part: "arm" or "leg".
        word: Angles of the limb in degrees.

    Returns:
        Degrees by channel name.
    """
    hinges = ("elbow", "wrist", "knee", "ankle")
    return {f"{side}_{k}" if k in hinges else f"{side}_{part}_{k}": v for k, v in word.items()}


def pose_vector(angles: Mapping[str, float]) -> NDArray[np.float64]:
    """Angles by channel name, in degrees, as one pose in radians.

    Args:
        angles: Degrees by channel name ("lift", "forward" and "side" in body heights).

    Returns:
        Pose of 32 channels.
    """
    pose = np.zeros(len(CHANNEL))
    for name, value in angles.items():
        pose[CHANNEL[name]] = value if CHANNEL[name] < 3 else radians(value)
    return pose


def cycles(moves: tuple[tuple[str, float, float, str, float], ...]) -> tuple[Cycle, ...]:
    """Rows of `BODY_MOVES` (full channel names) as `Cycle` objects.

    Args:
        moves: (channel, amplitude in degrees, phase, shape, ratio).

    Returns:
        The same in radians.
    """
    return tuple(
        Cycle(
            CHANNEL[name], amplitude if CHANNEL[name] < 3 else radians(amplitude), phase, shape, k
        )
        for name, amplitude, phase, shape, k in moves
    )


def limb_cycles(side: str, move: str, *, phase: float = 0.0) -> tuple[Cycle, ...]:
    """A move of `MOVES` on one side of the body.

    Args:
        side: "left" or "right".
        move: Name in `MOVES`.
        phase: Added to every phase; half a period makes the limbs alternate.

    Returns:
        The cycles of that limb.
    """
    return cycles(tuple((f"{side}_{c}", a, p + phase, s, k) for c, a, p, s, k in MOVES[move]))


def gait_cycles(gait: str, *, arms: bool = True) -> tuple[Cycle, ...]:
    """Alternating legs of a way to walk, and arms swinging against them.

    The knee bends while its thigh swings forward; travel follows from the stance foot.

    Args:
        gait: Name in `GAITS`.
        arms: Whether the arms swing too.

    Returns:
        Cycles of both legs and, if asked for, both arms.
    """
    hip, knee, arm, _ = GAITS[gait]
    rows = []
    for side, phase in zip(_SIDES, (0.0, 0.5), strict=True):
        rows.append((f"{side}_leg_forward", hip, phase, "sine", 1.0))
        rows.append((f"{side}_knee", knee, phase + 0.25, "arc", 1.0))
        if gait == "march":
            rows.append((f"{side}_leg_forward", 62.0, phase + 0.25, "arc", 1.0))
        if arms:
            rows.append((f"{side}_arm_forward", arm, phase + 0.5, "sine", 1.0))
    return cycles(tuple(rows))
