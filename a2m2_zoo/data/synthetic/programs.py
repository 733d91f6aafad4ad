"""Motion programs: what makes a class.

Classes come in families of four that share their pieces, so that telling them apart asks for more than
recognising a pose: the base, the base played backwards, its steps in another order, and the base with one
step exchanged. A program holds nothing about an individual clip (see `instance` for that).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, SeedSequence

from a2m2_zoo.errors import ArgumentError

from .vocabulary import (
    ARM,
    BODY,
    BODY_MOVES,
    GAITS,
    LEG,
    MOVES,
    Cycle,
    cycles,
    gait_cycles,
    limb,
    limb_cycles,
    pose_vector,
)

FAMILY = 4
"""Classes in a family: base, reversed, re-ordered and exchanged."""


@dataclass(frozen=True)
class Step:
    """One part of a program: a key pose to go to, and what moves on the way and there.

    Attributes:
        name: Short words, such as "raise-left" or "walk".
        pose: Key pose, 32 channels.
        weight: Share of the program's time, relative to the other steps.
        rise: Fraction of the step that the way to the key pose takes.
        cycles: Periodic movement on top.
        periods: How many periods of it.
        drift: Travel in body heights (forward, to the right) that no foot step explains: leaps.
        turn: Change of heading in radians, to the left.
    """

    name: str
    pose: tuple[float, ...]
    weight: float = 1.0
    rise: float = 0.8
    cycles: tuple[Cycle, ...] = ()
    periods: float = 0.0
    drift: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0


@dataclass(frozen=True)
class Prop:
    """An object that takes part.

    Attributes:
        kind: "ball", "stick" or "box".
        size: Radius or half length in body heights.
        before: What happens to it until the switch: "held", "rest" or "pushed".
        after: What happens from then on: "held", "rest", "pushed" or "free" (it flies or falls).
        switch: Index of the step at whose start the switch happens.
        speed: Forward and upward speed of a "free" object in body heights a second.
    """

    kind: str
    size: float
    before: str
    after: str
    switch: int
    speed: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class MotionProgram:
    """A class of motion.

    Attributes:
        name: Folder-safe name, such as "p0012_raise-left_crouch".
        steps: What the first figure does, in order.
        start: Pose it begins in, 32 channels.
        returns: Whether it goes back to that pose at the end.
        seconds: Typical length, which only sets how far a thrown object flies.
        partner: What a second figure does in the same steps; empty if there is none.
        gap: Distance between the two at the start, in body heights.
        facing: Partner's heading relative to the first figure, in radians.
        prop: An object, if one takes part.
        reverse: Whether the whole is played backwards.
        family: Number shared by sister classes.
        kinship: "base", "reversed", "reordered" or "exchanged".
    """

    name: str
    steps: tuple[Step, ...]
    start: tuple[float, ...]
    returns: bool = False
    seconds: float = 2.5
    partner: tuple[Step, ...] = ()
    gap: float = 0.0
    facing: float = float(np.pi)
    prop: Prop | None = None
    reverse: bool = False
    family: int = 0
    kinship: str = "base"


def generator(domain: int, *words: int) -> Generator:
    """A random stream that depends on its arguments only, the same on every machine.

    Args:
        domain: Keeps streams for different purposes apart.
        *words: Seed, class, instance: whole numbers from 0 to 2³² − 1.

    Returns:
        A PCG64 generator.

    Raises:
        ArgumentError: A word is not in that range.
    """
    for word in words:
        if not 0 <= int(word) < 2**32 or int(word) != word:
            raise ArgumentError(
                f"seed, class and instance must be whole numbers from 0 to {2**32 - 1}; got {word}"
            )
    return np.random.Generator(np.random.PCG64(SeedSequence(words, spawn_key=(domain,))))


STANDING = {**limb("left", "arm", ARM["down"]), **limb("right", "arm", ARM["down"])}
"""The neutral pose, in degrees."""


def step(name: str, *words: dict[str, float], **fields: object) -> Step:
    """A step whose key pose is the neutral one overlaid with words, later ones winning.

    Args:
        name: Name of the step.
        *words: Degrees by channel name.
        **fields: Other attributes of `Step`.

    Returns:
        The step.
    """
    angles = dict(STANDING)
    for word in words:
        angles |= word
    return Step(name, tuple(pose_vector(angles).tolist()), **fields)  # type: ignore[arg-type]


def _pick(rng: Generator, table: object) -> str:
    names = [name for name in table if name not in ("down", "stand", "upright")]  # type: ignore[attr-defined]
    return str(names[int(rng.integers(len(names)))])


def _arms(rng: Generator) -> tuple[str, dict[str, float]]:
    """A pose of one arm, of both alike, or of each its own."""
    kind = rng.choice(4, p=(0.34, 0.34, 0.20, 0.12))
    side = ("left", "right")[int(rng.integers(2))]
    word = _pick(rng, ARM)
    if kind == 3:
        pose = {}
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
    arms, legs = rng.choice(3, p=(0.42, 0.23, 0.35)), {}
    names, poses = [], []
    if arms != 1:
        name, pose = _arms(rng)
        names.append(name)
        poses.append(pose)
    if arms != 0:
        name, legs = _body(rng)
        names.append(name)
        # The trunk's words move the arms of "plank" only, so arms go last unless they are idle.
        poses.insert(0, legs)
    jitter = {k: v + rng.normal(0, 7) for pose in poses for k, v in pose.items() if k[-4:] != "lift"}
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
        name, pose = _arms(rng) if rng.random() < 0.4 and move not in ("jack", "jump") else ("", {})
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
    name, arms = _arms(rng) if rng.random() < 0.35 else ("", {})
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


def _draw_step(rng: Generator, taken: set[str]) -> Step:
    """A step whose name is not taken yet, so that the steps of a program differ."""
    while True:
        kind = rng.choice(3, p=(0.55, 0.27, 0.18))
        made = (_pose_step, _cyclic_step, _gait_step)[int(kind)](rng)
        if made.name not in taken:
            taken.add(made.name)
            return made


def _prop(rng: Generator, steps: tuple[Step, ...]) -> tuple[Prop, tuple[Step, ...]]:
    """An object and the steps with the arms that handle it."""
    story = str(rng.choice(("carry", "pick", "drop", "throw", "push")))
    kind = "box" if story == "push" else str(rng.choice(("ball", "stick", "box")))
    size = float(rng.uniform(0.16, 0.24) if story == "push" else rng.uniform(0.06, 0.11))
    size = size * 3.0 if kind == "stick" else size
    holding = limb("left", "arm", ARM["chest"]) | limb("right", "arm", ARM["chest"])
    pushing = limb("left", "arm", ARM["front"]) | limb("right", "arm", ARM["front"])
    reach = limb("left", "arm", ARM["reach"]) | limb("right", "arm", ARM["reach"])
    if story in ("carry", "push"):
        arms = pushing if story == "push" else holding
        going = step(
            f"{story}-{kind}",
            dict(GAITS["walk"][3]) | ({"pitch": 14.0} if story == "push" else {}),
            arms,
            cycles=gait_cycles("walk", arms=False),
            periods=float(rng.integers(2, 5)),
            weight=1.6,
            rise=0.2,
        )
        mode = "pushed" if story == "push" else "held"
        return Prop(kind, size, mode, "rest" if story == "push" else "held", len(steps)), (
            going,
            *steps[1:],
        )
    if story == "pick":
        down = step(f"pick-{kind}", dict(BODY["bend"]), reach, weight=1.2)
        up = step("lift-up", holding, weight=1.0)
        return Prop(kind, size, "rest", "held", 1), (down, up, *steps[2:])
    hold = step(f"{story}-{kind}", holding | ({"twist": -30.0} if story == "throw" else {}))
    free = step("release", pushing, weight=1.0, rise=0.35)
    fast = (float(rng.uniform(1.2, 2.2)), float(rng.uniform(0.4, 1.6)))
    return Prop(kind, size, "held", "free", 1, fast if story == "throw" else (0.0, 0.0)), (
        hold,
        free,
        *steps[2:],
    )


def _partner(rng: Generator, steps: tuple[Step, ...]) -> dict[str, object]:
    """A second figure that meets, faces or leaves the first one."""
    story = str(rng.choice(("meet", "face", "beside", "part")))
    others = [_draw_step(rng, set()) for _ in steps]
    walk = step(
        story, cycles=gait_cycles("walk"), periods=2.0, weight=steps[0].weight, rise=0.2
    )
    if story == "meet":
        return {
            "steps": (walk, *steps[1:]),
            "partner": (walk, *others[1:]),
            "gap": float(rng.uniform(1.9, 2.3)),
        }
    if story == "part":
        away = replace(walk, turn=float(np.pi))
        return {
            "steps": (*steps[:-1], away),
            "partner": (*others[:-1], away),
            "gap": float(rng.uniform(0.45, 0.7)),
        }
    apart = float(rng.uniform(0.55, 0.95))
    return {"partner": tuple(others), "gap": apart, "facing": 0.0 if story == "beside" else np.pi}


def _base(rng: Generator) -> MotionProgram:
    count = int(rng.choice((1, 2, 3, 4), p=(0.22, 0.34, 0.30, 0.14)))
    taken: set[str] = set()
    steps = tuple(_draw_step(rng, taken) for _ in range(count))
    kind = rng.choice(3, p=(0.66, 0.17, 0.17))
    prop, extra = None, {}
    if kind == 1:
        prop, steps = _prop(rng, steps)
    elif kind == 2:
        extra = _partner(rng, steps)
    made = MotionProgram(
        name="",
        steps=steps,
        start=step("", *([_arms(rng)[1]] if rng.random() < 0.15 else [])).pose,
        returns=len(steps) != 1 and prop is None and bool(rng.random() < 0.4),
        seconds=float(rng.uniform(1.5, 4.0)),
        prop=prop,
    )
    return replace(made, **extra)  # type: ignore[arg-type]


def _exchanged(rng: Generator, base: MotionProgram) -> MotionProgram:
    """The base with one step, never the one that handles the object, replaced by another."""
    index = int(rng.integers(len(base.steps)))
    if base.prop is not None:
        index = len(base.steps) - 1
        base = replace(base, prop=base.prop if index else None)
    fresh = _draw_step(rng, {one.name for one in base.steps})
    steps = (*base.steps[:index], fresh, *base.steps[index + 1 :])
    return replace(base, steps=steps, kinship="exchanged")


def _reordered(rng: Generator, base: MotionProgram) -> MotionProgram:
    """The base's steps in an order that is neither its own nor its reverse."""
    count = len(base.steps)
    while True:
        order = rng.permutation(count).tolist()
        if order not in (list(range(count)), list(range(count))[::-1]):
            break
    partner = tuple(base.partner[k] for k in order) if base.partner else ()
    steps = tuple(base.steps[k] for k in order)
    return replace(base, steps=steps, partner=partner, kinship="reordered")


def program(seed: int, class_index: int) -> MotionProgram:
    """The motion program of a class: a pure function of its arguments.

    Args:
        seed: Seed of the whole generator.
        class_index: Number of the class. Four neighbours (0–3, 4–7, …) are sisters.

    Returns:
        The program.

    Raises:
        ArgumentError: An argument is not a whole number from 0 to 2³² − 1.

    Example:
        >>> program(0, 13) == program(0, 13)
        True
        >>> program(0, 13).family == program(0, 12).family
        True
    """
    family, member = divmod(int(class_index), FAMILY)
    generator(0, seed, class_index)  # refuses what the family's number would hide
    base = replace(_base(generator(0, seed, family)), family=family)
    rng = generator(1, seed, class_index)
    periodic = len(base.steps) == 1 and base.steps[0].periods > 0
    made = base
    if member == 1 and not periodic:
        made = replace(base, reverse=True, kinship="reversed")
    elif member == 2 and len(base.steps) > 2 and base.prop is None:
        made = _reordered(rng, base)
    elif member:
        made = _exchanged(rng, base)
    words = "_".join(one.name for one in made.steps)[:60].strip("_-")
    back = "_reversed" if made.reverse else ""
    return replace(made, name=f"p{class_index:04d}_{words}{back}")
