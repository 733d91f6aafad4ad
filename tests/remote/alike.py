"""A clip at an address against the same clip on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from a2m2_zoo.video import Preprocess, read_clip
from a2m2_zoo.video.content import content_hash

SPEC = Preprocess(frames=4, resize=48, size=48)


def same(address: str, file: Path) -> None:
    """Equal in every bit that follows from a clip."""
    there, here = read_clip(address, SPEC), read_clip(file, SPEC)
    assert np.array_equal(there.frames, here.frames)
    assert (there.indices, there.times, there.count) == (here.indices, here.times, here.count)
    assert (there.warnings, there.source) == (here.warnings, address)
    assert content_hash(address) == content_hash(file)
