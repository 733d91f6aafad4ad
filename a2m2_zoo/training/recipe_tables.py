"""Published schedules and weights of losses, benchmark by benchmark.

From the configurations of MoLo (commit f7f73b6), CLIP-FSAR (30cf0a8) and HyRSM (82100b6), of one code base.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """A schedule of MoLo, CLIP-FSAR or HyRSM as their configuration writes it.

    Attributes:
        lr: Base rate.
        start: Rate at the start of the warm-up of one epoch.
        epoch: Episodes of an "epoch".
        steps: Epochs from which each factor holds; the first is 0.
        factors: Of the base rate.
        episodes: Of the whole training, a GPU.
    """

    lr: float
    start: float
    epoch: int
    steps: tuple[int, ...]
    factors: tuple[float, ...]
    episodes: int

    def effective(self, *, per_step: int) -> dict[str, Any]:
        """What the code does, in steps of the optimiser.

        It computes the epoch of episode t as floor(t/S) + t/S: the k-th is reached after ⌈k/2⌉·S episodes.
        """
        total = self.episodes // per_step
        drops = [round(-(-k // 2) * self.epoch / per_step) for k in self.steps[1:]]
        kept = bisect_left(drops, total)  # later ones are never reached
        return {
            "training.lr": self.lr,
            "training.backbone_lr": self.lr,
            "training.warmup": round(self.epoch / per_step),
            "training.warmup_start": self.start / self.lr,
            "training.schedule": "steps",
            "training.milestones": tuple(drops[:kept]),
            "training.factors": self.factors[1 : kept + 1],
            "training.steps": total,
            "training.accumulate": per_step,
        }

    @property
    def stated(self) -> str:
        """What the configuration says."""
        return (
            f"As written: lr × {', '.join(f'{f:g}' for f in self.factors)} from epochs "
            f"{', '.join(map(str, self.steps))} of {self.epoch} episodes, {self.episodes} episodes in all. "
            "The code counts whole epochs twice, so drops come about twice as early; that is what the "
            "milestones here are. Its 4 GPUs draw the same episodes: one process computes the same."
        )


# fmt: off
_DROPS = (1.0, 0.1, 0.01)
MOLO = {
    "kinetics100": Schedule(2e-5, 5e-6, 350, (0, 4, 6), _DROPS, 5000),
    "ssv2-full": Schedule(1e-4, 2e-5, 6000, (0, 6, 9), _DROPS, 50000),
    "ssv2-small": Schedule(1e-4, 2e-5, 1500, (0, 4, 8), _DROPS, 20000),
    "hmdb51": Schedule(5e-5, 1e-5, 500, (0, 3, 5, 7), (1.0, 0.5, 0.1, 0.01), 2000),
    "ucf101": Schedule(5e-5, 1e-5, 2000, (0, 3, 6), _DROPS, 6000),
}
CLIP_FSAR = {
    "kinetics100": Schedule(1e-5, 5e-6, 250, (0, 6, 9), _DROPS, 5000),
    "ssv2-full": Schedule(5e-5, 1e-5, 4000, (0, 4, 6), _DROPS, 30000),
    "ssv2-small": Schedule(5e-5, 2e-5, 2000, (0, 4, 6), _DROPS, 30000),
    "hmdb51": Schedule(1e-5, 1e-6, 700, (0, 4, 6), _DROPS, 5000),
    "ucf101": Schedule(2e-6, 1e-7, 600, (0, 4, 6), _DROPS, 3000),
}
HYRSM = {
    "kinetics100": Schedule(2.2e-5, 5e-6, 100, (0, 4, 6, 9), (1.0, 0.5, 0.1, 0.05), 1200),
    "ssv2-full": Schedule(1e-4, 2e-5, 3000, (0, 6, 9), _DROPS, 40000),
    "ssv2-small": Schedule(1e-4, 2e-5, 1500, (0, 4, 8), _DROPS, 20000),
    "hmdb51": Schedule(5e-5, 1e-5, 300, (0, 2, 3, 7), (1.0, 0.5, 0.1, 0.01), 2000),
    "ucf101": Schedule(5e-5, 1e-5, 700, (0, 3, 5, 7), (1.0, 0.5, 0.1, 0.01), 2500),
}
# λ of MoLo's classifier and of its reconstruction (times 4: not divided by the episodes of a step), of
# CLIP-FSAR's texts, of HyRSM's classifier of frames.
MOLO_CLASS = {"kinetics100": 0.1, "ssv2-full": 0.8, "ssv2-small": 0.15, "hmdb51": 0.4, "ucf101": 0.6}
MOLO_PICTURE = {"kinetics100": 0.4, "ssv2-full": 0.4, "ssv2-small": 0.2, "hmdb51": 0.2, "ucf101": 0.2}
CLIP_TEXT = {"kinetics100": 1.5, "ssv2-full": 3.0, "ssv2-small": 3.0, "hmdb51": 1.2, "ucf101": 1.5}
HYRSM_FRAMES = {"kinetics100": 0.4, "ssv2-full": 0.6, "ssv2-small": 0.15, "hmdb51": 0.15, "ucf101": 0.15}
# fmt: on
