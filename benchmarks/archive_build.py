"""Clips a second that an archive takes in, beside those that ``classify`` answers, on the same clips.

    python benchmarks/archive_build.py --work WORK --out docs/receipts/archive_build.json [--quick]

The clips are those of folder.py (kept in WORK for the next run): 120 of 320 x 240, each one window. Two
processes of their own take turns, one that classifies them against 144 supports which are encoded already,
and one that builds an archive of them in a new folder, so that what else the machine does falls on both
alike. ``build_against_classify`` is the ratio of the medians of clips a second. ``parts_ms_per_clip`` is the
processor's time of each part of a clip's way into an archive, on one thread. Prints a receipt.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _receipt import publish, receipt
from folder import CLASSES, QUERIES, SUPPORTS, cores, draw, ours, used

WHO = ("classify", "archive build")


def builder(clips: list[Path]) -> Callable[[], None]:
    """Builds an archive of the clips in a folder that goes again."""
    from a2m2_zoo import load_model
    from a2m2_zoo.archive import Archive

    model = load_model()

    def build() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _, changes = Archive.build(Path(folder) / "archive", clips, model=model)
        if changes.added != len(clips):
            raise SystemExit(f"{changes.added} of {len(clips)} clips were taken in")

    return build


def parts(clips: list[Path]) -> dict[str, float]:
    """Milliseconds of the processor for each part of a clip's way, on one thread."""
    import a2m2_zoo
    from a2m2_zoo import load_model
    from a2m2_zoo.archive.codec import Codec
    from a2m2_zoo.archive.rows import poster_of, stamp_of
    from a2m2_zoo.archive.vectors import summary
    from a2m2_zoo.video import read_clip
    from a2m2_zoo.video.content import content_hash

    a2m2_zoo.set_threads(1)
    model = load_model()
    first = model.encode([read_clip(clips[0], model.preprocess)])
    codec = Codec.of(first)
    took = dict.fromkeys(("hash", "decode", "encode", "pack", "poster", "summary"), 0.0)

    def timed(what: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        found = work()
        took[what] += time.process_time() - started
        return found

    for path in clips:
        timed("hash", lambda path=path: (stamp_of(path), content_hash(path)))
        clip = timed("decode", lambda path=path: read_clip(path, model.preprocess))
        encoded = timed("encode", lambda clip=clip: model.encode([clip]))
        packed = timed("pack", lambda encoded=encoded: codec.pack(encoded))
        timed("poster", lambda clip=clip: poster_of(clip.wide))
        timed("summary", lambda packed=packed: summary(model.method, codec.unpack(packed)))
    return {what: round(1000 * seconds / len(clips), 2) for what, seconds in took.items()}


def serve(who: str, work: Path, count: int) -> None:
    """In a process of its own: once for each line on stdin, and say how long it took."""
    clips = sorted((work / "queries").rglob("*.mp4"))[:count]
    run: Callable[[], object] = builder(clips) if who == WHO[1] else ours({}, clips, work)["whole"]
    print("ready", flush=True)
    for _ in sys.stdin:
        started, before = time.perf_counter(), used()
        run()
        print(json.dumps([time.perf_counter() - started, used() - before]), flush=True)


class Contestant:
    """A process that measures itself."""

    def __init__(self, who: str, work: Path, count: int) -> None:
        call = [
            sys.executable,
            __file__,
            "--serve",
            who,
            "--work",
            str(work),
            "--clips",
            str(count),
        ]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(call, **pipes)
        self.took: list[tuple[float, float]] = []
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = str(self._process.stdout.readline())
        if not line:
            raise SystemExit("a process ended while it was asked")
        return line

    def ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, cpu = json.loads(self._line())
        self.took.append((seconds, cpu))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--clips", type=int, default=CLASSES * QUERIES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 24 clips")
    parser.add_argument("--out")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.work, options.clips)
        return
    count, rounds = (24, 1) if options.quick else (options.clips, options.rounds)
    draw(options.work)
    both = {who: Contestant(who, options.work, count) for who in WHO}
    try:
        for turn in range(rounds + 1):  # the first warms up
            for one in both.values():
                one.ask()
                if not turn:
                    one.took.clear()
    finally:
        for one in both.values():
            one.close()
    facts: dict[str, Any] = {}
    for who, one in both.items():
        wall, cpu = (sorted(part)[len(part) // 2] for part in zip(*one.took, strict=True))
        facts[who.replace(" ", "_")] = {
            "seconds": round(wall, 2),
            "cpu_seconds": round(cpu, 2),
            "clips_per_second": round(count / wall, 2),
            "cpu_ms_per_clip": round(1000 * cpu / count),
        }
    speeds = [found["clips_per_second"] for found in facts.values()]
    some = sorted((options.work / "queries").rglob("*.mp4"))[: min(count, 24)]
    publish(
        receipt(
            cores=cores(),
            load_at_the_end=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            rounds=rounds,
            clips=count,
            supports=CLASSES * SUPPORTS,
            pixels="320 x 240",
            results=facts,
            build_against_classify=round(speeds[1] / speeds[0], 2),
            parts_ms_per_clip=parts(some),
        ),
        options.out,
    )


if __name__ == "__main__":
    main()
