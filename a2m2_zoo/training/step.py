"""One step of the optimiser: losses of a few batches, their mean gradient over all processes, an update."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from a2m2_zoo._utils.workers import plain
from a2m2_zoo.backbones import Backbone, Features
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.methods.base import Method, TrainingBatch
from a2m2_zoo.training.config import TrainingConfig
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.schedule import LossScale, Optimiser, gradient_norm, seed_step
from a2m2_zoo.training.source import EpisodeSource


@dataclass(frozen=True)
class StepResult:
    """What a step found, over all processes.

    Attributes:
        losses: Weighted, by name; means over batches and processes.
        grad_norm: Norm of the gradient before it was clipped.
        clips: Clips that went through.
        fault: Why the step was left out; None where the parameters were updated.
        overflow: Whether only the loss scale was to blame.
        stop: Whether any process was asked to stop.
    """

    losses: dict[str, float]
    grad_norm: float
    clips: int
    fault: str | None
    overflow: bool
    stop: bool


@dataclass
class Stepper:
    """What takes steps.

    Attributes:
        method: In training mode.
        backbone: Turns frames into features; None where the source gives features.
        parameters: What is trained.
        optimiser: Over those.
        scale: Of the loss.
        config: The settings.
        ranks: The processes.
        device: Where it computes.
    """

    method: Method
    backbone: Backbone | None
    parameters: Sequence[nn.Parameter]
    optimiser: Optimiser
    scale: LossScale
    config: TrainingConfig
    ranks: Ranks
    device: torch.device

    def take(
        self, step: int, batches: Iterable[tuple[int, TrainingBatch]], *, stop: bool
    ) -> StepResult:
        """Step ``step`` on batches and their indices; a step whose numbers are not finite changes nothing."""
        kept = [(buffer, buffer.clone()) for buffer in self._buffers()]
        sums: dict[str, float] = {}
        faults, clips = 0, 0
        for index, batch in batches:
            clips += batch.clips
            losses, total = self._losses(index, batch)
            if not math.isfinite(float(total.detach())):
                faults += 1
            if not faults:
                (total * (self.scale.value / self.config.accumulate)).backward()  # type: ignore[no-untyped-call]
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + _finite(float(loss.detach()))
        shared = self.ranks.total([faults, stop, clips, *sums.values()], self.device)
        count = self.config.accumulate * self.ranks.size
        means = {name: value / count for name, value in zip(sums, shared[3:], strict=True)}
        fault, overflow, norm = "the loss" if shared[0] else None, False, 0.0
        if fault is None:
            self.ranks.mean_gradients(self.parameters)
            norm = gradient_norm(self.parameters, scale=self.scale.value, clip=self.config.clip)
            if not math.isfinite(norm):
                fault, overflow = "the gradient", self.scale.overflow()
        if fault is None:
            self.scale.good()
            self.optimiser.step(step)
            self._share_buffers()
        else:
            for buffer, value in kept:
                buffer.copy_(value)
        self.optimiser.zero()
        return StepResult(means, norm, round(shared[2]), fault, overflow, bool(shared[1]))

    def _losses(self, index: int, batch: TrainingBatch) -> tuple[dict[str, Tensor], Tensor]:
        batch = moved(batch, self.device)
        seed_step(self.config.seed, index)
        mixed = self.config.precision != "float32"
        kind = torch.bfloat16 if self.config.precision == "bfloat16" else torch.float16
        with torch.autocast(self.device.type, dtype=kind) if mixed else nullcontext():
            losses = self.method.losses(self._seen(batch))
        if not losses:
            raise ArgumentError(
                f"{type(self.method).__name__} has no loss for these batches; give what its losses need"
            )
        return losses, torch.stack([loss.float() for loss in losses.values()]).sum()

    def _seen(self, batch: TrainingBatch) -> TrainingBatch:
        """With features of the backbone, where there is one: supports and queries in one pass."""
        if self.backbone is None:
            return batch
        support, query = batch.support_frames, batch.query_frames
        if support is None or query is None:
            raise ArgumentError("the source gives no frames; leave the backbone out")
        tuned = self.config.backbone_lr > 0
        with torch.set_grad_enabled(tuned):
            found = self.backbone(torch.cat([support, query]), stages=self.method.stages)
        supports, queries = (
            Features({k: v[part] for k, v in found.maps.items()}, found.pooled[part])
            for part in (slice(None, len(support)), slice(len(support), None))
        )
        return dataclasses.replace(batch, support=supports, query=queries)

    def _modules(self) -> list[nn.Module]:
        tuned = self.backbone is not None and self.config.backbone_lr > 0
        return [self.method, *([self.backbone] if tuned and self.backbone is not None else [])]

    def _buffers(self) -> Iterator[Tensor]:
        for module in self._modules():
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._NormBase):
                    yield from part.buffers(recurse=False)

    def _share_buffers(self) -> None:
        self.ranks.mean([buffer for buffer in self._buffers() if buffer.is_floating_point()])


def batches(
    source: EpisodeSource, config: TrainingConfig, ranks: Ranks, *, start: int
) -> Generator[list[tuple[int, TrainingBatch]], None, None]:
    """Indices and batches of every step from ``start`` on; the next is made while one is computed on."""

    @plain()
    def made(step: int) -> list[tuple[int, TrainingBatch]]:
        first = step * config.accumulate
        places = [(first + a) * ranks.size + ranks.rank for a in range(config.accumulate)]
        return [(index, source.batch(index)) for index in places]

    with ThreadPoolExecutor(1, thread_name_prefix="episodes") as pool:
        ahead = pool.submit(made, start)
        for step in range(start, config.steps):
            now = ahead.result()
            if step + 1 < config.steps:
                ahead = pool.submit(made, step + 1)
            yield now


@contextmanager
def trained_modes(
    method: Method, backbone: Backbone | None, config: TrainingConfig
) -> Iterator[None]:
    """Training mode for what is trained, evaluation mode in the end."""
    method.train()
    if backbone is not None:
        backbone.train(config.backbone_lr > 0)
        for part in backbone.modules():
            if config.freeze_norms and isinstance(part, nn.modules.batchnorm._NormBase):
                part.eval()
    try:
        yield
    finally:
        method.eval()
        if backbone is not None:
            backbone.eval()


def moved(batch: TrainingBatch, device: torch.device) -> TrainingBatch:
    """The same batch on a device."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Features):
            maps = {stage: part.to(device) for stage, part in value.maps.items()}
            changes[field.name] = Features(maps, value.pooled.to(device))
        elif isinstance(value, Tensor):
            changes[field.name] = value.to(device)
    return dataclasses.replace(batch, **changes)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
