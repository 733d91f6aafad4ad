"""Several processes, one model: started by ``torchrun``, which sets the environment read here.

Gradients are exact means over the processes, made by one plain ``all_reduce``: there is no wrapper around
the method, whose ``losses`` a wrapper's ``forward`` would hide, and no further dependency.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from a2m2_zoo.errors import ArgumentError

_BUCKET = 1 << 24  # numbers that are reduced at once
_PATIENCE = timedelta(hours=2)  # others wait while the first process validates


@dataclass(frozen=True)
class Ranks:
    """This process among those of a run.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that logs, validates and saves."""
        return self.rank == 0

    def total(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over the processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float32, device=device)
        dist.all_reduce(summed)
        return [float(value) for value in summed]

    def agree(self, value: float, device: torch.device) -> float:
        """The first process's value."""
        return self.total([value if self.first else 0.0], device)[0]

    def mean_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; absent ones count as zero."""
        if self.size == 1 or not parameters:
            return
        there = torch.tensor(
            [p.grad is not None for p in parameters],
            dtype=torch.float32,
            device=parameters[0].device,
        )
        dist.all_reduce(there)
        used = [p for p, count in zip(parameters, there.tolist(), strict=True) if count]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._mean([p.grad for p in used if p.grad is not None])

    def mean(self, tensors: list[Tensor]) -> None:
        """Replace every tensor by its mean over the processes."""
        if self.size > 1:
            self._mean(tensors)

    def same_start(self, module: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                held = tensor.contiguous()
                dist.broadcast(held, 0)
                tensor.copy_(held)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    @torch.no_grad()
    def _mean(self, tensors: list[Tensor]) -> None:
        for some in _buckets(tensors):
            flat = torch.cat([tensor.flatten().float() for tensor in some])
            dist.all_reduce(flat)
            flat /= self.size
            parts = torch.split(flat, [tensor.numel() for tensor in some])
            for tensor, part in zip(some, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))


def place() -> Ranks:
    """This process's place, from the environment alone; nothing is started.

    Raises:
        ArgumentError: The environment holds no numbers.
    """
    try:
        size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    except ValueError as error:
        raise ArgumentError("WORLD_SIZE and RANK are no numbers; start with torchrun") from error
    if not 0 <= rank < size:
        raise ArgumentError(f"RANK is {rank} of WORLD_SIZE {size}; start with torchrun")
    return Ranks(rank, size)


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """The processes of this run, joined for as long as the block lasts; alone, nothing happens.

    Args:
        device: Where this process computes: NCCL for CUDA, else Gloo.

    Raises:
        ArgumentError: The environment is incomplete, or the others cannot be reached.
    """
    ranks = place()
    if ranks.size == 1 or dist.is_initialized():
        yield ranks
        return
    how: dict[str, Any] = {"backend": "gloo"}
    if device.type == "cuda":
        torch.cuda.set_device(device)
        how = {"backend": "nccl"}
    try:
        dist.init_process_group(rank=ranks.rank, world_size=ranks.size, timeout=_PATIENCE, **how)
    except (RuntimeError, ValueError) as error:
        raise ArgumentError(
            f"process {ranks.rank} of {ranks.size} cannot join the others: "
            f"{str(error).splitlines()[0]}; start with torchrun"
        ) from error
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    some: list[Tensor] = []
    for tensor in tensors:
        some.append(tensor)
        if sum(t.numel() for t in some) >= _BUCKET:
            yield some
            some = []
    if some:
        yield some
