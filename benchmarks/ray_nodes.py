"""A folder of clips on a Ray cluster: two machines of one core each against one.

    python benchmarks/ray_nodes.py --work WORK --out docs/receipts/ray_nodes.json [--quick]

The clips are those of folder.py. The machines are nodes of a cluster on this machine, each held to a core of
its own; the head has none to give. Clusters of one and of two machines take turns. ``clips_per_second`` is
what follows the first ``settled`` answers, when all workers are at work; ``seconds`` is the whole call,
workers that start and load the model included. Prints a receipt.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _receipt import publish, receipt
from folder import CLASSES, QUERIES, SUPPORTS, draw

from a2m2_zoo.errors import A2M2Error

STORE = 100 << 20  # bytes of each machine's object store


def cores() -> list[int]:
    """Numbers of the cores that may be used."""
    return sorted(os.sched_getaffinity(0))


class Machines:
    """A cluster of machines of one core each, as processes here."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "object_store_memory": STORE,
            },
        )
        own = os.sched_getaffinity(0)
        for core in cores()[:count]:
            os.sched_setaffinity(0, [core])  # which its processes keep
            try:
                self._cluster.add_node(num_cpus=1, object_store_memory=STORE)
            finally:
                os.sched_setaffinity(0, own)
        self.address = self._cluster.address

    def close(self) -> None:
        with suppress(Exception):
            self._cluster.shutdown()


def measure(count: int, recognizer: Any, clips: list[Path], settled: int) -> dict[str, Any]:
    """One call on a cluster of ``count`` machines."""
    from a2m2_zoo.engine import Ray, run
    from a2m2_zoo.recognition.clustered import MakeAnswers

    machines = Machines(count)
    try:
        started, first, found = time.perf_counter(), 0.0, {}
        make = MakeAnswers.of(recognizer, {})
        engine = Ray(address=machines.address, gpus=0, quiet=True)
        for place, answer in run(clips, make, engine=engine):
            if isinstance(answer, A2M2Error):
                raise answer
            found[place] = (answer.label, answer.probabilities)
            if len(found) == settled:
                first = time.perf_counter()
        ended = time.perf_counter()
    finally:
        machines.close()
    text = repr([found[place] for place in range(len(clips))])
    return {
        "seconds": ended - started,
        "clips_per_second": (len(clips) - settled) / (ended - first),
        "digest": hashlib.sha256(text.encode()).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 24 clips")
    parser.add_argument("--out")
    options = parser.parse_args()
    if len(cores()) < 2:
        sys.exit("two machines of one core each need two cores")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from a2m2_zoo import Recognizer, SupportBank, build_bank, load_model

    draw(options.work)
    model, file = load_model(), options.work / "bank.safetensors"
    if not file.exists():
        build_bank(options.work / "supports", model=model).save(file)
    recognizer = Recognizer(model, SupportBank.load(file))
    clips = sorted((options.work / "queries").rglob("*.mp4"))
    rounds = options.rounds
    if options.quick:
        clips, rounds = clips[::5], 1
    settled = max(8, len(clips) // 5)
    near = [(a.label, a.probabilities) for a in recognizer.classify(clips)]
    digests = {hashlib.sha256(repr(near).encode()).hexdigest()}
    took: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, all_rounds in took.items():
            all_rounds.append(measure(count, recognizer, clips, settled))
            digests.add(all_rounds[-1]["digest"])

    def median(count: int, what: str) -> float:
        return statistics.median(one[what] for one in took[count])

    facts: dict[str, Any] = {
        "ray": version("ray"),
        "cores": len(cores()),
        "load_at_the_end": round(os.getloadavg()[0], 2),
        "rounds": rounds,
        "clips": len(clips),
        "supports": CLASSES * SUPPORTS,
        "classes": CLASSES,
        "drawn_queries_of_a_class": QUERIES,
        "settled": settled,
        "machines": {
            str(count): {
                "seconds": round(median(count, "seconds"), 1),
                "clips_per_second": round(median(count, "clips_per_second"), 2),
            }
            for count in took
        },
        "two_against_one": round(median(2, "clips_per_second") / median(1, "clips_per_second"), 2),
        "two_against_one_whole": round(median(1, "seconds") / median(2, "seconds"), 2),
        "same_answers_as_one_process": len(digests) == 1,
    }
    publish(receipt(**facts), options.out)


if __name__ == "__main__":
    main()
