"""Small runs on features that can be told apart; as a script, one process of a run.

python training_maker.py OUT ACCUMULATE [STEP_AT_WHICH_IT_IS_KILLED]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo.backbones import Features
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Method
from a2m2_zoo.methods.hyrsm import HyRSM, HyRSMConfig
from a2m2_zoo.training import FeatureSource, Trained, TrainingConfig, Validation, train
from a2m2_zoo.training.shared_clips import draws
from a2m2_zoo.training.state import LAST

CHANNELS, FRAMES = 16, 4
SMALL: dict[str, Any] = {
    "way": 3,
    "shot": 1,
    "query": 2,
    "batch": 2,
    "steps": 20,
    "warmup": 2,
    "lr": 1e-3,
    "validate_every": 10,
    "validate_episodes": 60,
    "validate_shots": (1,),
    "checkpoint_every": 3,
    "log_every": 1,
}


def features(classes: int, clips: int, *, seed: int) -> tuple[Features, Tensor]:
    """Four channels tell the classes apart, twelve louder ones are noise."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 1, 1, 4, generator=draw)
    x = torch.randn(classes, clips, FRAMES, CHANNELS, generator=draw)
    x[..., :4] += 1.5 * centres
    x[..., 4:] *= 3
    return Features({}, x.flatten(0, 1)), torch.arange(classes).repeat_interleave(clips)


def head() -> Method:
    """A head with dropout, and with a classifier that only training needs."""
    torch.manual_seed(0)
    return HyRSM(HyRSMConfig(channels=CHANNELS))


def settings(**changes: Any) -> TrainingConfig:
    return TrainingConfig.from_dict({**SMALL, **changes})


def source(config: TrainingConfig) -> FeatureSource:
    found, labels = features(10, 6, seed=0)
    return FeatureSource(found, labels, draws(config))


def held_out(config: TrainingConfig, *, classes: int = 6) -> Validation:
    found, labels = features(classes, 6, seed=1)
    names = {"names": list("abcdefgh")[:classes], "training_names": list("qrstuvwxyz")}
    return Validation.of_features(found, labels, **names)


def run(out: Path, *, method: Method | None = None, **how: Any) -> tuple[Trained, Method]:
    config = how.pop("config", None) or settings()
    made = method or head()
    how = {"validation": held_out(config), "tensorboard": False, **how}
    episodes = how.pop("source", None) or source(config)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes it is compared with: sums depend on it
    try:
        return train(made, episodes, config=config, out=out, **how), made
    finally:
        torch.set_num_threads(before)


def weights(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def stop_at(step: int) -> Any:
    def watch(row: Any) -> None:
        if row.get("step") == step and "loss" in row:
            signal.raise_signal(signal.SIGINT)

    return watch


def saved(out: Path, file: str = LAST) -> dict[str, Tensor]:
    kind = "training" if file == LAST else "training-best"
    return checkpoint.load(out / file, kind=kind).tensors


def main() -> None:
    torch.set_num_threads(1)
    out, accumulate, *killed = sys.argv[1:]

    def watch(row: Any) -> None:
        if killed and row["step"] == int(killed[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    changes = {} if killed else {"optimiser": "sgd", "lr": 0.1, "steps": 4, "warmup": 0}
    config = settings(accumulate=int(accumulate), **changes)
    run(Path(out), config=config, progress=watch)


if __name__ == "__main__":
    main()
