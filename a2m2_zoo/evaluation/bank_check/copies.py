"""The same clip twice: the same bytes, or the same pictures in another encoding."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from a2m2_zoo._utils.files import open_regular
from a2m2_zoo._utils.typing import Float, UInt8

_SIDE = 20  # pixels to which a frame is shrunk; a re-encoding changes them by little
_NOISE = 2.0  # grey levels that an encoding may move such a pixel, of 255
#: Difference of two clips, relative to how much changes within them, below which they are the same. Two takes
#: of one action by one person before one wall lie near 1; an encoding again below 0.1.
SAME = 0.25


def same_files(clips: Sequence[Path]) -> list[tuple[int, int]]:
    """Pairs (first, later) of clips with the same bytes; a folder of frames is all of its pictures."""
    by_size: dict[Hashable, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        by_size[tuple(part.stat().st_size for part in _parts(clip))].append(i)
    found = []
    for same in by_size.values():
        if len(same) == 1:
            continue
        first: dict[str, int] = {}
        for i in same:
            digest = _digest(clips[i])
            if digest in first:
                found.append((first[digest], i))
            first.setdefault(digest, i)
    return sorted(found)


def clip_distances(thumbnails: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n n"]:
    """Mean squared difference of every two clips, over how much changes within them.

    Frames are compared in order, so it sees through another encoding, size or frame rate, a moderate change
    of brightness, but not through a cut, a mirror or another crop.
    """
    n, t = thumbnails.shape[:2]
    grey = thumbnails.float().mean(-1).flatten(0, 1)[:, None]
    small = functional.adaptive_avg_pool2d(grey, _SIDE).view(n, t, -1).double()
    small = small - small.mean((1, 2), keepdim=True)
    change = small.var(1, unbiased=False).mean(-1)
    flat = small.flatten(1)
    apart = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    return apart / flat.shape[1] / (change[:, None] + change + _NOISE**2)


def _parts(clip: Path) -> list[Path]:
    return sorted(p for p in clip.iterdir() if p.is_file()) if clip.is_dir() else [clip]


def _digest(clip: Path) -> str:
    made = hashlib.sha256()
    for part in _parts(clip):
        with open_regular(part) as file:
            while block := file.read(1 << 20):
                made.update(block)
    return made.hexdigest()
