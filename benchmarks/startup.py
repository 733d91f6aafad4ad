"""How long it takes until the package and its command are there, as a JSON receipt.

    OMP_NUM_THREADS=1 python benchmarks/startup.py [--rounds 15] [--out docs/receipts/startup.json]

Each is a process of its own, from its start to its end, by the clock and of processor time, which other
processes change less; the interpreter alone is measured beside them. The peers are measured in the same
rounds: ``import numpy``, which this package's own import leaves out, and ``import typer``, on which the
command line stands. Every extra that is installed counts: what they are stands in the receipt.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import distribution
from importlib.util import find_spec

from _receipt import publish, receipt

RUNS = {
    "python": ["-c", "pass"],
    "import a2m2_zoo": ["-c", "import a2m2_zoo"],
    "import numpy": ["-c", "import numpy"],
    "import typer": ["-c", "import typer"],
    "a2m2 --help": ["-m", "a2m2_zoo", "--help"],
}
#: What the extras bring, by the names that are imported.
EXTRAS = (
    "gradio", "lancedb", "pyarrow", "ray", "transformers", "timm", "sklearn", "onnx", "onnxruntime",
    "matplotlib", "tensorboard", "fsspec", "s3fs", "decord", "IPython",
)  # fmt: skip


def measured(arguments: list[str]) -> tuple[float, float]:
    """Seconds of one process, by the clock and of processor time."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, busy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out")
    options = parser.parse_args()
    for arguments in RUNS.values():
        measured(arguments)  # bytecode is written, files are in memory
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in RUNS}
    for _ in range(options.rounds):
        for name, arguments in RUNS.items():
            found[name].append(measured(arguments))
    rows = {}
    for name, runs in found.items():
        clock, busy = zip(*runs, strict=True)
        rows[name.replace(" ", "_").replace("--", "")] = {
            "median_seconds": round(statistics.median(clock), 3),
            "best_seconds": round(min(clock), 3),
            "median_cpu_seconds": round(statistics.median(busy), 3),
        }
    publish(
        receipt(
            what="seconds of processes, from their start to their end",
            rounds=options.rounds,
            typer=distribution("typer").version,
            extras=[name for name in EXTRAS if find_spec(name) is not None],
            processes=rows,
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
