"""Clips drawn per second on one core, as JSON: ``python benchmarks/drawing.py [--seconds 10]``.

The goal is 25 clips a second on one core, 8 frames of 224 × 224 each, styles as they come.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time

# One thread for numpy's matrix products, so that the figure is for one core; set before its import.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from a2m2_zoo.synthetic import STYLES, draw_clip


def rate(style: str | None, seconds: float) -> dict[str, float]:
    draw_clip(0, 0, 0, style=style)
    spent: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.process_time()
        draw_clip(1, len(spent), len(spent), style=style)
        spent.append(time.process_time() - start)
    return {
        "clips": len(spent),
        "clips_per_second_wall": round(len(spent) / (time.perf_counter() - begin), 1),
        "clips_per_cpu_second": round(len(spent) / sum(spent), 1),
        "median_ms": round(1e3 * float(np.median(spent)), 2),
        "p95_ms": round(1e3 * float(np.quantile(spent, 0.95)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    receipt = {
        "benchmark": "drawing",
        "frames": 8,
        "size": 224,
        "threads": 1,
        "cpu": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mixed": rate(None, seconds),
        **{style: rate(style, seconds / 3) for style in STYLES},
    }
    print(json.dumps(receipt, indent=2))


if __name__ == "__main__":
    main()
