"""`a2m2 classify` as a user meets it: a cold process, one clip against five supports, 2 cores.

    python benchmarks/classify.py [--clips 200]

Wall time and peak memory of the whole process, from a folder of supports and from a saved bank; the time of
matching alone, under ridge regression and under the mean of pair scores; the time of a clip with and without
a look for people; and how memory grows over many 1080p clips in one process. Prints a JSON receipt.
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
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from _receipt import publish, receipt

from a2m2_zoo import build_bank, load_model
from a2m2_zoo.api import iter_classify
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.methods.base import take
from a2m2_zoo.recognition.recognizer import Recognizer
from a2m2_zoo.recognition.support_set import SupportSet
from a2m2_zoo.synthetic import write_dataset
from a2m2_zoo.synthetic.write import ClipFormat

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


def matching(folder: Path) -> dict[str, float]:
    """Milliseconds from the descriptors of a query to its probabilities, against 25 supports.

    What follows from the supports alone is there, as in a ``Recognizer``; ``new_supports`` makes it, too.
    Both rules take turns.
    """
    write_dataset(folder, clips=5, named=True, seed=2, classes=5)
    model = load_model()
    bank = build_bank(folder, model=model)
    query = take(bank.descriptors, slice(0, 1))
    labels, way = bank.label_tensor, len(bank.class_names)
    models = {}
    for rule, shots in (("ridge", "ridge"), ("mean", "scores")):
        head = A2M2(replace(model.method.config, shots=shots))
        head.load_state_dict(model.method.weights())
        models[rule] = replace(model, method=head.eval())
    known = {
        rule: SupportSet.encoded(m, bank.descriptors, labels, way=way) for rule, m in models.items()
    }

    def answered(rule: str, supports: SupportSet) -> None:
        pairs = models[rule].pairs(query, bank.descriptors)
        assert pairs is not None
        supports.probabilities(supports.logits(pairs))

    times: dict[str, list[float]] = {}
    for _ in range(30):
        for rule, one in models.items():
            started = time.perf_counter()
            answered(rule, known[rule])
            between = time.perf_counter()
            answered(rule, SupportSet.encoded(one, bank.descriptors, labels, way=way))
            times.setdefault(rule, []).append(between - started)
            times.setdefault(f"{rule}_new_supports", []).append(time.perf_counter() - between)
    return {name: round(1000 * statistics.median(found), 2) for name, found in times.items()}


def people(folder: Path) -> dict[str, float]:
    """Seconds per clip with and without a look for people, over clips that show somebody; both take turns."""
    write_dataset(folder, clips=2, named=True, seed=3, style="scene", form=ClipFormat(size=320))
    clips = sorted(folder.rglob("*.mp4"))
    models = {name: load_model(pose=pose) for name, pose in (("with", True), ("without", False))}
    known = {name: Recognizer(model, folder) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    seen = 0
    for turn in range(RUNS + 1):
        for name, recognizer in known.items():
            started = time.perf_counter()
            answers = recognizer.classify(clips)
            if turn:  # the first does not count
                times[name].append((time.perf_counter() - started) / len(clips))
            if name == "with":
                seen = sum(answer.pose_frames or 0 for answer in answers)
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "clips": len(clips),
        "frames_with_people": round(seen / (8 * len(clips)), 2),
        **{f"seconds_{name}": round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["with"] / medians["without"], 2),
    }


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
        runs: dict[str, list[tuple[float, float]]] = {"folder": [], "bank": []}
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
        facts["matching_ms_median"] = matching(folder / "matching")
        facts["people"] = people(folder / "people")
        facts["memory_1080p"] = growth(folder, supports, options.clips)
    publish(receipt(runs=RUNS, cores=len(os.sched_getaffinity(0)), **facts), options.out)


if __name__ == "__main__":
    main()
