"""Drawing the steps of a program: poses, periodic moves and ways to walk, at random."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.random import Generator

from a2m2_zoo.synthetic.programs import Step, step
from a2m2_zoo.synthetic.vocabulary import (
    ARM,
    BODY,
    BODY_MOVES,
    GAITS,
    LEG,
    MOVES,
    cycles,
    gait_cycles,
    limb,
    limb_cycles,
)


def _pick(rng: Generator, table: Iterable[str]) -> str:
    """A word that is not the neutral one."""
    names = [name for name in table if name not in ("down", "stand", "upright")]
    return names[int(rng.integers(len(names)))]


def draw_arms(rng: Generator) -> tuple[str, dict[str, float]]:
    """Draw a pose of one arm, of both alike, or of each its own.

    Args:
        rng: Source of chance.

    Returns:
        Its name, and degrees by channel name.
    """
    kind = rng.choice(4, p=(0.34, 0.34, 0.20, 0.12))
    side = ("left", "right")[int(rng.integers(2))]
    word = _pick(rng, ARM)
    if kind == 3:
        pose: dict[str, float] = {}
        for one in ("left", "right"):
            free = {
                "forward": rng.uniform(-50, 165),
                "out": rng.uniform(-30, 130) * rng.random(),
                "twist": rng.uniform(-60, 80),
                "elbow": rng.uniform(0, 135),
            }
            pose |= limb(one, "arm", free)
        return "free", pose
    if kind == 0:
        return f"{word}-{side}", limb(side, "arm", ARM[word])
    if kind == 1:
        return f"{word}-both", limb("left", "arm", ARM[word]) | limb("right", "arm", ARM[word])
    other = _pick(rng, ARM)
    return f"{word}-{other}", limb("left", "arm", ARM[word]) | limb("right", "arm", ARM[other])


def _body(rng: Generator) -> tuple[str, dict[str, float]]:
    """A pose of the trunk and legs, or of one leg."""
    if rng.random() < 0.36:
        side = ("left", "right")[int(rng.integers(2))]
        word = _pick(rng, LEG)
        return f"{word}-{side}", limb(side, "leg", LEG[word])
    word = _pick(rng, BODY)
    return word, dict(BODY[word])


def _pose_step(rng: Generator) -> Step:
    moved = rng.choice(3, p=(0.42, 0.23, 0.35))  # arms, body, both
    names: list[str] = []
    poses: list[dict[str, float]] = []
    if moved != 1:
        name, pose = draw_arms(rng)
        names.append(name)
        poses.append(pose)
    if moved != 0:
        name, body = _body(rng)
        names.append(name)
        # The trunk's words move the arms of "plank" only, so arms go last unless they are idle.
        poses.insert(0, body)
    jitter = {
        k: v + rng.normal(0, 7) for pose in poses for k, v in pose.items() if k[-4:] != "lift"
    }
    turn = float(rng.choice((0, 0, 0, 0, 90, -90, 180))) * np.pi / 180
    return step(
        "_".join(names) + ("_turn" if turn else ""),
        *poses,
        jitter,
        weight=float(rng.uniform(0.7, 1.3)),
        rise=float(rng.uniform(0.45, 1.0)),
        turn=turn,
    )


def _cyclic_step(rng: Generator) -> Step:
    periods = float(rng.integers(2, 6))
    if rng.random() < 0.34:
        move = _pick(rng, BODY_MOVES)
        name, pose = (
            draw_arms(rng) if rng.random() < 0.4 and move not in ("jack", "jump") else ("", {})
        )
        drift = (0.0, 0.0)
        if move in ("jump", "hop") and rng.random() < 0.6:
            drift = (float(rng.choice((0.9, -0.6, 0.0))), float(rng.choice((0.0, 0.7, -0.7))))
        periods = min(periods, 3.0) if move == "jump" else periods
        return step(
            move + (f"_{name}" if name else ""),
            pose,
            cycles=cycles(BODY_MOVES[move]),
            periods=periods,
            weight=1.5,
            rise=0.3,
            drift=drift,
        )
    move = _pick(rng, MOVES)
    leg = "leg" in move
    sides = (("left",), ("right",), ("left", "right"))[int(rng.integers(3))]
    lag = 0.5 if leg or rng.random() < 0.4 else 0.0
    moving = tuple(
        c for k, side in enumerate(sides) for c in limb_cycles(side, move, phase=k * lag)
    )
    base = "flex" if move == "wave" else "front" if move == "clap" else _pick(rng, ARM)
    held = {} if leg else {k: v for s in sides for k, v in limb(s, "arm", ARM[base]).items()}
    name, body = _body(rng) if rng.random() < 0.25 and not leg else ("", {})
    label = "both" if len(sides) == 2 else sides[0]
    return step(
        f"{move}-{label}_{base}" + (f"_{name}" if name else "") if held else f"{move}-{label}",
        body,
        held,
        cycles=moving,
        periods=periods,
        weight=1.5,
        rise=0.3,
    )


def _gait_step(rng: Generator) -> Step:
    gait = _pick(rng, GAITS)
    pose = dict(GAITS[gait][3])
    name, arms = draw_arms(rng) if rng.random() < 0.35 else ("", {})
    turn = float(rng.choice((0, 0, 0, 90, -90, 180, 360))) * np.pi / 180
    return step(
        gait + (f"_{name}" if name else "") + ("_turn" if turn else ""),
        pose,
        arms,
        cycles=gait_cycles(gait, arms=not arms),
        periods=float(rng.integers(2, 5)),
        weight=1.6,
        rise=0.25,
        turn=turn,
    )


def draw_step(rng: Generator, used: set[str]) -> Step:
    """Draw a step whose name is not used yet, so that the steps of a program differ.

    Args:
        rng: Source of chance.
        used: Names in use; the new one is added.

    Returns:
        The step.
    """
    while True:
        kind = rng.choice(3, p=(0.55, 0.27, 0.18))
        made = (_pose_step, _cyclic_step, _gait_step)[int(kind)](rng)
        if made.name not in used:
            used.add(made.name)
            return made
