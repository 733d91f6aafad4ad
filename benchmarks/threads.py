"""Threads on a quiet and on a busy machine: the default against every number, and against PyTorch's way.

    python benchmarks/threads.py [--quick] [--rounds 9] [--out FILE]

One clip against a bank in memory, decoding included, in processes of their own that take turns, so that what
else the machine does falls on all alike. ``own-N`` are ``set_threads(N)``; ``default`` is what a user gets;
``torch-N`` runs the same calls on the caller's thread with N threads inside each operation, which is how it
was before. Busy: as many child processes as there are cores, less one, each spin without end. Also how long
``--many`` clips take. Answers of all settings but ``torch-N`` must be the same to the bit. Prints a receipt.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _receipt import publish, receipt


def serve(folder: Path, setting: str, many: int) -> None:
    """In a process of its own: load, then answer ``one`` or ``many`` on stdin with seconds and a hash."""
    kind, _, count = setting.partition("-")
    if kind == "torch":
        os.environ["OMP_NUM_THREADS"] = count
    import torch

    import a2m2_zoo
    from a2m2_zoo import SupportBank, classify, load_model
    from a2m2_zoo._utils import workers as _workers

    if kind == "own":
        a2m2_zoo.set_threads(int(count))
    elif kind == "torch":
        torch.set_num_threads(int(count))
        _workers._here.stop = threading.Event()  # as if this were one of the own threads
        _workers._pool.submit = None  # type: ignore[method-assign, assignment]  # and there were no others
        shared = _workers.each
        for module in list(sys.modules.values()):
            if getattr(module, "each", None) is shared:
                module.each = map  # type: ignore[attr-defined]
    model = load_model()
    bank = SupportBank.load(folder / "bank.safetensors")
    clips = sorted((folder / "queries").rglob("*.mp4"))
    clips = (clips * many)[:many]
    print("ready", flush=True)
    for line in sys.stdin:
        clips_now = clips[:1] if line.strip() == "one" else clips
        started = time.perf_counter()
        found = classify(clips_now, bank, model=model)
        seconds = time.perf_counter() - started
        text = repr([(answer.probabilities, answer.known) for answer in found])
        print(json.dumps([seconds, hashlib.sha256(text.encode()).hexdigest()]), flush=True)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that each keep a core busy."""
    # None outlives this program, however it ends.
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


class Server:
    """A process with one setting."""

    def __init__(self, folder: Path, setting: str, many: int) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--serve",
                str(folder),
                "--setting",
                setting,
                "--many",
                f"{many}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._out, self._in = self._process.stdout, self._process.stdin
        if self._out.readline().strip() != "ready":
            raise SystemExit(f"the process with {setting} did not start")

    def ask(self, what: str) -> tuple[float, str]:
        self._in.write(what + "\n")
        self._in.flush()
        seconds, digest = json.loads(self._out.readline())
        return seconds, digest

    def close(self) -> None:
        self._in.close()
        self._process.wait()


def measure(
    servers: dict[str, Server], what: str, rounds: int
) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """Medians by setting, their ratio to the best, and the hashes of the answers."""
    timings: dict[str, list[float]] = {name: [] for name in servers}
    hashes: dict[str, set[str]] = {name: set() for name in servers}
    for i in range(rounds + 1):
        for name, server in servers.items():
            seconds, digest = server.ask(what)
            hashes[name].add(digest)
            if i:  # the first warms up
                timings[name].append(seconds)
    medians = {name: statistics.median(some) for name, some in timings.items()}
    best = min(medians.values())
    return {
        name: {
            "ms_median": round(1000 * medians[name], 1),
            "ms_max": round(1000 * max(timings[name]), 1),
            "of_best": round(medians[name] / best, 2),
        }
        for name in servers
    }, hashes


def run(folder: Path, rounds: int, many: int) -> dict[str, Any]:
    """All settings, quiet and busy."""
    from a2m2_zoo import build_bank
    from a2m2_zoo._utils.cores import usable_cores
    from a2m2_zoo.synthetic import write_dataset

    cores = usable_cores()
    for name, seed in (("supports", 0), ("queries", 1)):
        write_dataset(folder / name, clips=1, named=True, seed=seed)
    build_bank(folder / "supports").save(folder / "bank.safetensors")
    counts = sorted({1, 2, cores, 2 * cores})
    names = ["default", *(f"own-{n}" for n in counts), "torch-1", f"torch-{cores}"]
    names = list(dict.fromkeys(names))
    servers: dict[str, Server] = {}
    facts: dict[str, Any] = {"cores": cores, "rounds": rounds, "many": many, "seeds": [0, 1]}
    seen: dict[str, set[str]] = {name: set() for name in names}
    try:
        for name in names:
            servers[name] = Server(folder, name, many)
        for load, others in (("quiet", 0), ("busy", max(1, cores - 1))):
            with busy(others):
                for what in ("one", "many"):
                    found, hashes = measure(
                        servers, what, rounds if what == "one" else max(2, rounds // 3)
                    )
                    facts[f"{load}_{what}"] = {"other_processes": others, **found}
                    for name, some in hashes.items():
                        seen[name] |= {f"{what} {digest}" for digest in some}
    finally:
        for server in servers.values():
            server.close()
    ours = [seen[name] for name in names if not name.startswith("torch")]
    facts["same_bits_on_any_number_of_threads"] = all(some == ours[0] for some in ours)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="two rounds of each, four clips")
    parser.add_argument("--many", type=int, default=16, help="clips of a longer call")
    parser.add_argument("--out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve), options.setting, options.many)
        return
    with tempfile.TemporaryDirectory() as scratch:
        rounds, many = (2, 4) if options.quick else (options.rounds, options.many)
        facts = run(Path(scratch), rounds, many)
    publish(receipt(**facts), options.out)


if __name__ == "__main__":
    main()
