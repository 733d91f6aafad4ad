"""Whether training helped: the trained head against the one it started from, on the same held-out clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from a2m2_zoo._utils.typing import Float
from a2m2_zoo._utils.workers import plain
from a2m2_zoo.data.plans import EpisodeForm
from a2m2_zoo.evaluation.protocol import score_draw
from a2m2_zoo.evaluation.statistics import paired_p_value
from a2m2_zoo.methods.base import Method
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.validation import Validation

LEVEL = 0.05  # of the test
FEWEST = 6  # clips: with one fewer no outcome of the sign test is below the level


@dataclass(frozen=True)
class Verdict:
    """Two heads on the same clips, each clip one observation: the mean over the episodes that ask about it.

    Episodes of the same clips can be drawn without end, so an interval over episodes says little about
    other clips; this one is over the clips.

    Attributes:
        before: Percent right with the head that training started from.
        after: Percent right with the trained one.
        difference: ``after`` less ``before``, points.
        interval: Half width of its 95 % interval over clips, by Student's t.
        p_value: Of the paired test over clips, two-sided.
        clips: How many.
        way: Classes of the episodes.
        shots: Supports per class; figures are means over these.
    """

    before: float
    after: float
    difference: float
    interval: float
    p_value: float
    clips: int
    way: int
    shots: tuple[int, ...]

    @property
    def better(self) -> bool:
        """Whether the trained head is ahead, and by more than chance explains."""
        return self.difference > 0 and self.p_value < LEVEL

    @property
    def shown(self) -> str:
        """The difference in words, without the two figures.

        >>> Verdict(61.0, 63.5, 2.5, 1.25, 0.0001, 40, 5, (1, 5)).shown
        '+2.5 ± 1.2 points on 40 clips, p < 0.001'
        """
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return f"{self.difference:+.1f} ± {self.interval:.1f} points on {self.clips} clips, {p}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the receipt."""
        return {**asdict(self), "shots": list(self.shots), "better": self.better}


def clips_interval(values: Float[np.ndarray, " n"]) -> float:
    """Half width of the 95 % interval of a mean over few, in points: Student's; of one all points there are.

    >>> round(clips_interval(np.array([0.0, 1.0, 1.0, 0.0])), 3)
    0.919
    """
    if len(values) < 2:
        return 100.0
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


@plain()
def compared(before: Method, after: Method, clips: Validation, config: TrainingConfig) -> Verdict:
    """Both heads on the same episodes of the same clips.

    Args:
        before: The head that training started from, in evaluation mode.
        after: The trained one.
        clips: Held-out clips.
        config: Way, shots and number of the episodes, which are others than those of the validation.

    Raises:
        EpisodeError: There are too few clips for the shots.
    """
    form = EpisodeForm(way=config.way, episodes=config.validate_episodes, seed=config.seed + 2)
    draws = [clips.draw(replace(form, shot=shot)) for shot in config.validate_shots]
    rates = []
    for method in (before, after):
        held = clips.descriptors(method, None)
        hits, times = np.zeros((2, len(clips.labels)))
        for draw in draws:
            right = score_draw(method, held, draw).argmax(-1) == draw.truth
            places = draw.query.flatten().numpy()
            hits += np.bincount(places, right.flatten().double().numpy(), len(hits))
            times += np.bincount(places, minlength=len(times))
        rates.append(100 * hits[times > 0] / times[times > 0])
    paired: Float[np.ndarray, " n"] = rates[1] - rates[0]
    return Verdict(
        before=float(rates[0].mean()),
        after=float(rates[1].mean()),
        difference=float(paired.mean()),
        interval=clips_interval(paired),
        p_value=paired_p_value(paired),
        clips=len(paired),
        way=draws[0].way,
        shots=tuple(draw.shot for draw in draws),
    )
