"""Files as nobody should write them: pipes, devices, headers that promise too much."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.bank import SupportBank


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail what takes longer on a machine of its own, also where it waits in the kernel.

    A busy machine has twelve times as long: a terabyte takes longer, and a pipe for ever.
    """

    def late(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"took longer than {12 * seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 12 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def endless(folder: Path, suffix: str) -> list[Path]:
    """A pipe that nobody writes into, links to devices that never end, and a file of a terabyte."""
    pipe, huge = folder / f"pipe{suffix}", folder / f"huge{suffix}"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    found = [pipe, huge]
    for device in ("zero", "tty"):
        found.append(folder / f"{device}{suffix}")
        found[-1].symlink_to(f"/dev/{device}")
    return found


def raw_safetensors(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    """A file with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def bank(supports: int = 3, *, classes: int = 2, model: str = "m") -> SupportBank:
    """A bank of noise."""
    made = torch.Generator().manual_seed(supports)
    return SupportBank(
        class_names=tuple(f"class {i}" for i in range(classes)),
        labels=tuple(i % classes for i in range(supports)),
        descriptors={
            "moments": torch.randn(supports, 4, 6, generator=made),
            "pooled": torch.randn(supports, 5, generator=made),
        },
        thumbnails=torch.randint(0, 255, (supports, 2, 3, 4, 3), generator=made).to(torch.uint8),
        sources=tuple(f"{i}.mp4" for i in range(supports)),
        model=model,
        weights_hash="0" * 64,
        durations=(1.5,) * supports,
        shapes=((3, 5),) * supports,
    )


def bank_parts(made: SupportBank) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and record as ``save`` writes them."""
    tensors = {f"descriptor.{name}": value for name, value in made.descriptors.items()}
    record = {
        "class_names": list(made.class_names),
        "labels": list(made.labels),
        "sources": list(made.sources),
        "model": made.model,
        "weights_hash": made.weights_hash,
        "durations": list(made.durations),
        "shapes": [list(shape) for shape in made.shapes],
    }
    return {**tensors, "thumbnails": made.thumbnails}, record


def forged(path: Path, record: Any, tensors: dict[str, torch.Tensor], *, kind: str) -> Path:
    """A checkpoint with any record, its hash right, as one would write who wants to get it past."""
    from safetensors.torch import save

    own = {"format": checkpoint.FORMAT, "kind": kind, "record": record}
    own["sha256"] = checkpoint.content_sha256(kind, record, tensors)
    path.write_bytes(save(tensors, metadata={"a2m2_zoo": json.dumps(own, sort_keys=True)}))
    return path
