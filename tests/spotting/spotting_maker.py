"""Long videos put together from movements that anybody could tell apart."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from makers import draw_video

from a2m2_zoo.synthetic import NAMED_ACTIONS, draw_named, write_video

FPS = 16


def supports(root: Path) -> Path:
    """Two clips each of three named actions, 1.5 to 2 s long."""
    for name in ("wave", "jump", "squat"):
        (root / name).mkdir(parents=True)
        for i, frames in enumerate((24, 32)):
            write_video(root / name / f"{i}.mp4", draw_named(name, i, frames=frames, studio=2))
    return root


def parts() -> list[tuple[str, np.ndarray]]:
    plan = (("squat", 28), ("wave", 32), ("jump", 26), ("wave", 30))
    return [(n, draw_named(n, 10 + i, frames=f, studio=2)) for i, (n, f) in enumerate(plan)]


def long_video(path: Path) -> Path:
    write_video(path, np.concatenate([part for _, part in parts()]))
    return path


def five_actions(root: Path) -> tuple[dict[str, list[Path]], Path]:
    """Two supports of each named action, and a video of all of them, as `a2m2 demo` draws them."""
    scene = {"style": "scene", "studio": 2}
    found: dict[str, list[Path]] = {}
    for name in NAMED_ACTIONS:
        for i in range(2):
            path = root / f"{name}-{i}.mp4"
            write_video(path, draw_named(name, i, seed=0, frames=32, **scene))
            found.setdefault(name, []).append(path)
    parts = [draw_named(name, 1, seed=1, frames=32, **scene) for name in NAMED_ACTIONS]
    write_video(root / "video.mp4", np.concatenate(parts))
    return found, root / "video.mp4"


def frames_of(path: Path) -> list[tuple[av.VideoFrame, float]]:
    with av.open(str(path)) as container:
        tick = float(container.streams.video[0].time_base)
        found = [(frame, frame.pts * tick) for frame in container.decode(video=0)]
    return [(frame, at - found[0][1]) for frame, at in found]


def noisy_video(path: Path) -> Path:
    """Noise where the pictures of the second half should be."""
    draw_video(path, 90)
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    middle = (begin + end) // 2
    data[middle:end] = np.random.default_rng(0).integers(0, 256, end - middle, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def cut_video(path: Path) -> Path:
    """The header announces twice as much as there is."""
    draw_video(path.with_name("whole.mkv"), 90)
    data = path.with_name("whole.mkv").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


DAMAGED = {"noise.mp4": noisy_video, "cut.mkv": cut_video}
