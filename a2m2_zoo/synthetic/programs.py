"""Motion programs: what makes a class, and the random streams everything is drawn from.

A program holds nothing about an individual clip; see `instance` for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, SeedSequence

from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.synthetic.vocabulary import ARM, Cycle, limb, pose_vector


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
