"""Archives of drawn clips, made by models that take no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from makers import draw_video

from a2m2_zoo.archive.store import open_store


def videos(root: Path) -> Path:
    """Six clips, a long video, and what is none."""
    for i in range(3):
        draw_video(root / "right" / f"{i}.mp4", 12 + i, size=(64, 64))
        draw_video(root / "back" / f"{i}.mp4", 12 + i, size=(64, 64), speed=-7)
    draw_video(root / "long.mp4", 60, size=(64, 64))
    (root / "broken.mp4").write_bytes(b"no video")
    return root


def kept(uri: Path) -> list[tuple[str, float, float, bytes]]:
    """All windows of whole clips: key, place, descriptors."""
    store = open_store(uri)
    columns = ("key", "start", "end", "descriptors")
    rows = store.rows("windows", columns).to_pylist()
    whole = store.clips()
    return sorted(tuple(row[name] for name in columns) for row in rows if row["key"] in whole)


def changes(found: Any) -> dict[str, int]:
    """The counts that are not nothing."""
    names = ("added", "windows", "known", "moved", "removed", "left")
    counts = {name: getattr(found, name) for name in names} | {"failed": len(found.failed)}
    return {name: count for name, count in counts.items() if count}


def noisy(path: Path) -> Path:
    """A video of six seconds with noise where the pictures of the second half should be."""
    draw_video(path, 90, size=(64, 64))
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = np.random.default_rng(0).integers(0, 256, end - middle, np.uint8).tobytes()
    path.write_bytes(data)
    return path
