"""`a2m2 classify` as a user meets it: a cold process, one clip against five supports, 2 cores.

    python benchmarks/classify.py [--clips 200]

Wall time and peak memory of the whole process, from a folder of supports and from a saved bank; the time of
matching alone; and how memory grows over many 1080p clips in one process. Prints a JSON receipt.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from _receipt import publish, receipt

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.api import iter_classify
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import write_dataset
from a2m2_zoo.video import read_clip

RUNS = 5


def cold(*arguments: str) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of one process."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "a2m2_zoo", *arguments], stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        json.loads(run.stdout.read())
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise SystemExit(f"a2m2 {' '.join(arguments)} failed with {run.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def draw_video(path: Path, seconds: int = 2) -> None:
    """A 1080p clip of moving texture."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (60, 110, 3), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in range(25 * seconds):
            frame = np.ascontiguousarray(picture[i : i + 1080, 2 * i : 2 * i + 1920])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def growth(folder: Path, supports: Path, clips: int) -> dict[str, float]:
    """Peak memory after a tenth of the clips and after all of them."""
    draw_video(folder / "hd.mp4")
    model = load_model()
    bank = build_bank(supports, model=model)
    peaks = []
    answers = iter_classify([folder / "hd.mp4"] * clips, bank, model=model, workers=2)
    started = time.perf_counter()
    for i, answer in enumerate(answers, start=1):
        if isinstance(answer, A2M2Error):
            raise answer
        if i in (clips // 10, clips):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return {
        "clips": clips,
        "seconds_per_clip": round((time.perf_counter() - started) / clips, 3),
        "peak_mb_after_a_tenth": round(peaks[0], 1),
        "peak_mb_after_all": round(peaks[1], 1),
    }


def matching(query: Path, supports: Path) -> float:
    """Milliseconds from descriptors to logits, calibration included."""
    model = load_model()
    bank = build_bank(supports, model=model)
    encoded = model.encode([read_clip(query, model.preprocess)])
    labels, way = bank.label_tensor, len(bank.class_names)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        model.logits(encoded, bank.descriptors, labels=labels, way=way)
        _ = SupportSet.encoded(model, bank.descriptors, labels, way=way).scale
        times.append(time.perf_counter() - started)
    return round(1000 * statistics.median(times), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        supports, queries = folder / "supports", folder / "queries"
        write_dataset(supports, clips=1, named=True, seed=0)
        write_dataset(queries, clips=1, named=True, seed=1)
        query = next(p for p in sorted(queries.rglob("*.mp4")))
        bank = folder / "bank.safetensors"
        subprocess.run(
            [sys.executable, "-m", "a2m2_zoo", "bank", "create", str(supports), "--out", str(bank)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        runs = {"folder": [], "bank": []}
        for _ in range(RUNS):
            for name, source in (("folder", supports), ("bank", bank)):
                runs[name].append(cold("classify", str(query), "--supports", str(source), "--json"))
        facts = {
            f"cold_{name}": {
                "seconds_median": round(statistics.median(t for t, _ in found), 2),
                "seconds_max": round(max(t for t, _ in found), 2),
                "peak_mb_max": round(max(mb for _, mb in found), 1),
            }
            for name, found in runs.items()
        }
        facts["matching_ms_median"] = matching(query, supports)
        facts["memory_1080p"] = growth(folder, supports, options.clips)
    publish(receipt(runs=RUNS, cores=len(os.sched_getaffinity(0)), **facts), options.out)


if __name__ == "__main__":
    main()
