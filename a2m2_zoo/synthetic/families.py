"""Classes by number, in families of sisters.

Four classes share their pieces, so that telling them apart asks for more than recognising a pose:
the base, the base played backwards, its steps in another order, the base with one step exchanged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from a2m2_zoo.synthetic.programs import MotionProgram, Prop, Step, generator, step
from a2m2_zoo.synthetic.steps import draw_arms, draw_step
from a2m2_zoo.synthetic.vocabulary import ARM, BODY, GAITS, gait_cycles, limb

FAMILY = 4
"""Classes in a family: base, reversed, re-ordered and exchanged."""


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
    others = [draw_step(rng, set()) for _ in steps]
    walk = step(story, cycles=gait_cycles("walk"), periods=2.0, weight=steps[0].weight, rise=0.2)
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
    used: set[str] = set()
    steps = tuple(draw_step(rng, used) for _ in range(count))
    kind = rng.choice(3, p=(0.66, 0.17, 0.17))
    prop, extra = None, {}
    if kind == 1:
        prop, steps = _prop(rng, steps)
    elif kind == 2:
        extra = _partner(rng, steps)
    made = MotionProgram(
        name="",
        steps=steps,
        start=step("", *([draw_arms(rng)[1]] if rng.random() < 0.15 else [])).pose,
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
    fresh = draw_step(rng, {one.name for one in base.steps})
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
