"""What the tests of the cache share."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from a2m2_zoo.backbones import Features
from a2m2_zoo.backbones.base import Backbone
from a2m2_zoo.features import (
    FeatureCache,
)
from a2m2_zoo.video import Preprocess, normalise, read_clip

SPEC = Preprocess(frames=4, resize=64, size=64)
LONG_AGO = 1_000_000_000  # seconds; a file this old is remembered


def old(path: Path) -> Path:
    """Make a clip old enough for its hash to be remembered."""
    for part in path.iterdir() if path.is_dir() else [path]:
        os.utime(part, (LONG_AGO, LONG_AGO))
    return path


def direct(backbone: Backbone, clips: list[Path]) -> Features:
    frames = torch.stack([torch.from_numpy(read_clip(c, SPEC).frames) for c in clips])
    with torch.inference_mode():
        return backbone(normalise(frames, SPEC), stages=["s14", "s7"])


def joined(pieces: list[Features]) -> Features:
    return Features(
        {name: torch.cat([p.maps[name] for p in pieces]) for name in pieces[0].maps},
        torch.cat([p.pooled for p in pieces]),
    )


def same(one: Features, two: Features) -> bool:
    return list(one.maps) == list(two.maps) and all(
        torch.equal(a, b)
        for a, b in zip(
            [*one.maps.values(), one.pooled], [*two.maps.values(), two.pooled], strict=True
        )
    )


def shard_files(cache: FeatureCache) -> list[Path]:
    return sorted(cache.folder.glob("*.safetensors"))


class Counting:
    """Stands before a backbone's own encoder and counts clips, or stops at one."""

    def __init__(self, inner: Backbone, *, stop: int = -1, error: BaseException | None = None):
        self.seen, self.stop, self.error, self.inner = 0, stop, error, inner._encode

    def __call__(self, frames: torch.Tensor) -> object:
        if self.seen == self.stop and self.error is not None:
            raise self.error
        self.seen += 1
        return self.inner(frames)
