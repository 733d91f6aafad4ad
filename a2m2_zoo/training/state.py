"""A run's state on disk: what is needed to go on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2m2_zoo.backbones import Backbone
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.methods.base import Method
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.schedule import LossScale, Optimiser

LAST, BEST = "last.safetensors", "best.safetensors"
_STEPS, _LARGEST = 10**12, 1e38  # bounds on what a file may say
#: Fields that change no weight; ``accumulate`` may change if the number of processes makes up for it.
_FREE = {"patience", "checkpoint_every", "log_every", "accumulate"}


@dataclass
class Progress:
    """Where a run is: plain values.

    Attributes:
        step: Steps done.
        best_step: Step of the best validation; -1 before the first.
        best_accuracy: Its accuracy, percent.
        without_better: Validations since.
        skipped: Steps that were left out because a number was not finite.
        skipped_in_a_row: Of those, how many just now.
        seconds: Time spent, over all sessions.
        loss_scale: See ``LossScale``.
        growth_tracker: See ``LossScale``.
        curve: Every validation: step, and percent right by number of shots.
    """

    step: int = 0
    best_step: int = -1
    best_accuracy: float = 0.0
    without_better: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    loss_scale: float = 1.0
    growth_tracker: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What one run trains, and where it is kept.

    Attributes:
        out: Its folder.
        method: The method, with what only its training needs.
        backbone: The backbone if it is tuned, else None.
        optimiser: Its state is saved with the weights.
        facts: Plain values that a resumed run must agree on.
    """

    out: Path
    method: Method
    backbone: Backbone | None
    optimiser: Optimiser
    facts: Mapping[str, Any]

    def save(self, progress: Progress) -> None:
        """Write ``last.safetensors``; the state before it stays if that fails.

        Raises:
            SaveError: It could not be written.
        """
        tensors = _prefixed("method", self.method.state_dict())
        if self.backbone is not None:
            tensors |= _prefixed("backbone", self.backbone.state_dict())
        tensors |= {f"optimiser.{k}": v for k, v in self.optimiser.tensors().items()}
        record = {**self.facts, "progress": asdict(progress)}
        checkpoint.save(self.out / LAST, tensors, kind="training", record=record)

    def save_best(self, progress: Progress) -> None:
        """Write ``best.safetensors``: weights for use, without what only training needs.

        Raises:
            SaveError: It could not be written.
        """
        tensors = _prefixed("method", self.method.weights())
        if self.backbone is not None:
            tensors |= _prefixed("backbone", self.backbone.state_dict())
        record = {"step": progress.best_step, "accuracy": progress.best_accuracy}
        checkpoint.save(self.out / BEST, tensors, kind="training-best", record=record)

    def load(self) -> Progress:
        """Take ``last.safetensors`` on, weights and optimiser; give where the run was.

        Raises:
            CheckpointError: It is damaged, or belongs to another method or backbone.
            ArgumentError: It was made with other settings or data; they are named.
        """
        found = checkpoint.load(self.out / LAST, kind="training")
        before = dict(found.record)
        try:
            progress = _progress(before.pop("progress"))
            dict(**before.get("config", {}))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{LAST!r} has a broken header: {error}") from error
        self._same(before)
        _load(self.method, found.tensors, "method")
        if self.backbone is not None:
            _load(self.backbone, found.tensors, "backbone")
        self.optimiser.load(_part(found.tensors, "optimiser"))
        return progress

    def load_best(self) -> None:
        """Put the best weights into the method and the tuned backbone.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        tensors = checkpoint.load(self.out / BEST, kind="training-best").tensors
        extra = {k: v for k, v in self.method.state_dict().items() if k.startswith("extra.")}
        _load(self.method, {**tensors, **_prefixed("method", extra)}, "method")
        if self.backbone is not None:
            _load(self.backbone, tensors, "backbone")

    def _same(self, before: Mapping[str, Any]) -> None:
        changed = [
            line
            for name, now in self.facts.items()
            if name != "config"
            for line in _changes(name, before.get(name), now)
        ]
        # A setting that the run's version did not have yet was what is the default now.
        old = {**TrainingConfig().to_dict(), **before.get("config", {})}
        new = self.facts["config"]
        changed += [
            f"{name} was {_short(old.get(name))}, is {_short(new[name])}"
            for name in new
            if name not in _FREE and old.get(name) != new[name]
        ]
        if changed:
            raise ArgumentError(
                f"{str(self.out)!r} holds a run with other settings ({'; '.join(changed[:4])}); resume "
                "with its own, or train into another folder"
            )


def _changes(name: str, old: Any, new: Any) -> list[str]:
    """What differs, each by its own name, however deep it lies."""
    if old == new:
        return []
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [f"{name} was {_short(old)}, is {_short(new)}"]
    keys = dict.fromkeys([*old, *new])
    return [line for key in keys for line in _changes(f"{name}.{key}", old.get(key), new.get(key))]


def _progress(values: Mapping[str, Any]) -> Progress:
    """Where a run was, as its file says, every value of the type and the size it can have."""
    found = Progress(**values)
    for name, start in asdict(Progress()).items():
        value = getattr(found, name)
        if isinstance(start, list):
            if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
                raise TypeError(f"{name} is {_short(value)}; expected rows")
        elif isinstance(start, int):
            if type(value) is not int or not -1 <= value <= _STEPS:
                raise ValueError(f"{name} is {_short(value)}; expected a number of steps")
        elif type(value) not in (int, float) or not 0 <= value <= _LARGEST:
            raise ValueError(f"{name} is {_short(value)}; expected a number")
    return found


def facts_of(
    method: Method, config: TrainingConfig, *, size: int, data: Mapping[str, Any]
) -> dict[str, Any]:
    """What two sessions of one run must have in common.

    Args:
        method: The method.
        config: The settings.
        size: Number of processes.
        data: Plain values that say what is trained on.
    """
    facts = {
        "method": type(method).__name__,
        "method_config": method.config.to_dict(),
        "config": config.to_dict(),
        "batches_per_step": config.accumulate * size,
        "data": dict(data),
    }
    plain: dict[str, Any] = json.loads(
        json.dumps(facts, allow_nan=False)
    )  # as they will be read back
    return plain


def scale_of(progress: Progress, config: TrainingConfig) -> LossScale:
    """The loss scale a run goes on with."""
    if config.precision == "float16" and progress.step == 0:
        return LossScale(2.0**16)
    return LossScale(progress.loss_scale, progress.growth_tracker)


def _prefixed(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _load(module: torch.nn.Module, tensors: Mapping[str, Tensor], part: str) -> None:
    try:
        module.load_state_dict(_part(tensors, part))
    except RuntimeError as error:
        raise CheckpointError(
            f"the saved {part} does not fit {type(module).__name__}; train into another folder"
        ) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
