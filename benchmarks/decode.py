"""Eight frames of a ten-second H.264 clip at 224x224: this package, decord and OpenCV, side by side.

Makes its own two clips (340x256 and 1920x1080, 30 frames a second, the encoder's default key frame
distance of 250, textured content that moves, and the same bytes in every run with the same libx264),
reads them in turn with each reader, and prints a JSON receipt. Each reader does its best: decord
resizes while it decodes, OpenCV converts only the frames it keeps. All get the same number of threads.

    python benchmarks/decode.py --repeats 11 --threads 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from a2m2_zoo.video import Preprocess, read_clip, segment_centres

SEED = 0
FRAMES, SIZE, SECONDS, RATE, GOP = 8, 224, 10, 30, 250
SHAPES = {"340x256": (340, 256), "1920x1080": (1920, 1080)}
Reader = Callable[[str, int, int], np.ndarray]


def make_clip(path: Path, width: int, height: int) -> None:
    """Encode a camera that wanders over a texture, with a square that crosses it."""
    import cv2

    coarse = np.random.default_rng(SEED).integers(
        0, 256, (height // 8 + 40, width // 8 + 40, 3), np.uint8
    )
    ground = cv2.resize(coarse, (width + 320, height + 320), interpolation=cv2.INTER_CUBIC)
    square = ground[60:0:-1, :60].copy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = GOP
        stream.codec_context.thread_count = 1
        for index in range(RATE * SECONDS):
            x, y = int(160 + 150 * np.sin(index / 23)), int(160 + 150 * np.cos(index / 31))
            picture = ground[y : y + height, x : x + width].copy()
            left = (index * 5) % (width - 80)
            picture[height // 3 : height // 3 + 60, left : left + 60] = square
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def readers(threads: int) -> dict[str, Reader]:
    spec = Preprocess(frames=FRAMES, resize=SIZE, size=SIZE)

    def ours(path: str, width: int, height: int) -> np.ndarray:
        return read_clip(path, spec, threads=threads).frames

    def with_decord(path: str, width: int, height: int) -> np.ndarray:
        opened = decord.VideoReader(path, width=width, height=height, num_threads=threads)
        left = (width - SIZE) // 2
        return opened.get_batch(segment_centres(len(opened), FRAMES)).asnumpy()[
            :, :, left : left + SIZE
        ]

    def with_opencv(path: str, width: int, height: int) -> np.ndarray:
        # The number has to be asked for here: as a capture option it is ignored.
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        wanted, left, kept = set(segment_centres(count, FRAMES)), (width - SIZE) // 2, []
        for index in range(max(wanted) + 1):
            capture.grab()
            if index in wanted:
                picture = cv2.resize(
                    capture.retrieve()[1], (width, height), interpolation=cv2.INTER_LINEAR
                )
                kept.append(cv2.cvtColor(picture[:, left : left + SIZE], cv2.COLOR_BGR2RGB))
        return np.stack(kept)

    found: dict[str, Reader] = {"a2m2_zoo": ours}
    try:
        import decord

        found["decord"] = with_decord
    except ImportError:
        pass
    try:
        import cv2

        cv2.setNumThreads(threads)
        found["opencv"] = with_opencv
    except ImportError:
        pass
    return found


def versions() -> dict[str, str]:
    from importlib.metadata import distributions

    named = {"av", "decord", "opencv-python", "opencv-python-headless", "numpy"}
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found |= {d.name: d.version for d in distributions() if d.name in named}
    found["libavcodec"] = ".".join(map(str, av.library_versions["libavcodec"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    receipt: dict[str, object] = {
        "what": f"{FRAMES} frames of {SECONDS} s of H.264 at {RATE}/s, GOP {GOP}, to {SIZE}x{SIZE}",
        "seed": SEED,
        "repeats": given.repeats,
        "threads": given.threads,
        "cores": os.cpu_count(),
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for label, (width, height) in SHAPES.items():
            path = Path(folder) / f"{label}.mp4"
            make_clip(path, width, height)
            small = (2 * width * SIZE + height) // (2 * height)
            seconds: dict[str, list[float]] = {}
            frames: dict[str, np.ndarray] = {}
            # Taken in turn, so that a busy moment of the machine falls on all of them.
            for turn in range(given.repeats + 1):
                for name, read in readers(given.threads).items():
                    start = time.perf_counter()
                    frames[name] = read(str(path), small, SIZE)
                    if turn:  # The first turn warms caches and imports.
                        seconds.setdefault(name, []).append(time.perf_counter() - start)
            medians = {name: float(np.median(values)) * 1e3 for name, values in seconds.items()}
            others = {name: value for name, value in medians.items() if name != "a2m2_zoo"}
            receipt[label] = {
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16],
                "median_ms": {name: round(value, 1) for name, value in medians.items()},
                "fastest_ms": {name: round(min(v) * 1e3, 1) for name, v in seconds.items()},
                "best_other_over_ours": round(min(others.values()) / medians["a2m2_zoo"], 3)
                if others
                else None,
                "mean_difference_to_ours": {
                    name: round(float(np.abs(f.astype(int) - frames["a2m2_zoo"]).mean()), 2)
                    for name, f in frames.items()
                },
            }
    json.dump(receipt, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
