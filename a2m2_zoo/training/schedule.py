"""The optimiser and what changes from step to step: learning rate, loss scale, random numbers."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from a2m2_zoo.data.plans import uniform
from a2m2_zoo.errors import ArgumentError, CheckpointError
from a2m2_zoo.training.config import TrainingConfig

_LARGEST_SCALE = 2.0**24


def rate_factor(step: int, config: TrainingConfig) -> float:
    """Share of the highest learning rate in step ``step``, the first being 0.

    >>> config = TrainingConfig(steps=100, warmup=10)
    >>> [round(rate_factor(step, config), 3) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < config.warmup:
        return config.warmup_start + (1 - config.warmup_start) * (step + 1) / config.warmup
    if config.schedule == "steps":
        passed = bisect_right(config.milestones, step)
        return config.factors[passed - 1] if passed else 1.0
    return 0.5 + 0.5 * math.cos(math.pi * (step - config.warmup) / (config.steps - config.warmup))


def seed_step(seed: int, index: int) -> None:
    """Make every random number of a batch a function of the run's seed and the batch's index."""
    torch.manual_seed(int(uniform(seed + (index << 32), 1)[0] * 2**53))


def trainable(method: nn.Module, backbone: nn.Module | None) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by the names they have in a saved state.

    Raises:
        ArgumentError: There is none.
    """
    parts = {"method": method, "backbone": backbone}
    found = {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        if module is not None
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    if not found:
        raise ArgumentError(
            f"{type(method).__name__} has no parameters to train; choose another method, or train the "
            "backbone (backbone_lr above 0)"
        )
    return found


class Optimiser:
    """The configured optimiser over named parameters; its state is tensors by name.

    Args:
        parameters: From ``trainable``.
        config: Rates, decay, betas and schedule.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: TrainingConfig) -> None:
        self._parameters, self._config = parameters, config
        groups: list[dict[str, Any]] = []
        for part, rate in (("method.", config.lr), ("backbone.", config.backbone_lr)):
            mine = [p for name, p in parameters.items() if name.startswith(part)]
            for decay, some in (
                (config.weight_decay, [p for p in mine if p.dim() >= 2]),
                (0.0, [p for p in mine if p.dim() < 2]),
            ):
                if some:
                    groups.append({"params": some, "weight_decay": decay, "highest": rate})
        betas = (config.betas[0], config.betas[1])
        self._inner: torch.optim.Optimizer
        if config.optimiser == "sgd":
            self._inner = torch.optim.SGD(groups, lr=config.lr)
        elif config.optimiser == "adam":
            self._inner = torch.optim.Adam(groups, lr=config.lr, betas=betas)
        else:
            self._inner = torch.optim.AdamW(groups, lr=config.lr, betas=betas)

    def zero(self) -> None:
        """Forget the gradients."""
        self._inner.zero_grad(set_to_none=True)

    def step(self, step: int) -> None:
        """Update the parameters with the learning rate of ``step``."""
        for group in self._inner.param_groups:
            group["lr"] = group["highest"] * rate_factor(step, self._config)
        self._inner.step()

    def tensors(self) -> dict[str, Tensor]:
        """Moments and step counts: ``<parameter>/<quantity>`` → tensor."""
        return {
            f"{name}/{quantity}": value
            for name, parameter in self._parameters.items()
            for quantity, value in self._inner.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the state of ``tensors`` on.

        Raises:
            CheckpointError: It belongs to other parameters.
        """
        state: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            name, _, quantity = key.rpartition("/")
            own = self._parameters.get(name)
            if own is None or (value.dim() and value.shape != own.shape):
                raise CheckpointError(f"the saved optimiser has {key!r}, which fits no parameter")
            # Moments lie where their parameter does; the count of steps stays on the CPU.
            state.setdefault(name, {})[quantity] = (
                torch.empty_like(own).copy_(value) if value.dim() or quantity != "step" else value
            )
        for name, values in state.items():
            self._inner.state[self._parameters[name]] = values


@dataclass
class LossScale:
    """Keeps the gradients of float16 in its range: halved when they overflow, doubled from time to time.

    Its state is two numbers, which travel in a saved state's header.

    Attributes:
        value: What losses are multiplied by; 1 for other precisions.
        growth_tracker: Steps since it last changed.
    """

    value: float = 1.0
    growth_tracker: int = 0

    def good(self, *, growth: int = 2000) -> None:
        """A step without an overflow."""
        self.growth_tracker += 1
        if self.growth_tracker >= growth and 1.0 < self.value < _LARGEST_SCALE:
            self.value, self.growth_tracker = self.value * 2, 0

    def overflow(self) -> bool:
        """Shrink after an overflow; False if it cannot explain the overflow any more."""
        explained = self.value > 1.0
        self.value, self.growth_tracker = max(self.value / 2, 1.0), 0
        return explained


def gradient_norm(parameters: Iterable[nn.Parameter], *, scale: float, clip: float) -> float:
    """Divide the gradients by ``scale``, clip their common norm, and give the norm before clipping."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return 0.0
    if scale != 1.0:
        torch._foreach_div_(gradients, scale)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    total = float(norm)
    if clip and clip < total < math.inf:
        torch._foreach_mul_(gradients, clip / total)
    return total
