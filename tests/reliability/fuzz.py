"""Thousands of mutated files, each read as a user's would be: an answer or one of our own errors, soon.

    python tests/reliability/fuzz.py --count 2000

The parent holds the clock, a child reads the files: a file that takes over ten seconds is a hang, a child
that dies is a crash, and the child's peak memory is what the system counted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from mutate import damaged, hostile_json, hostile_safetensors  # noqa: E402

KINDS = ("video", "bank", "checkpoint", "manifest", "list", "setting")
PATIENCE = 60.0  # seconds
_SETTINGS = (
    "lr=1e-3", "method.a2.temperature=0.1", "validate_shots=[1,5]", "precision=bfloat16", "episodes=3",
    "seed=5", "method.m2.s7.dim=4", "way=5", "warmup=0.1",
)  # fmt: skip


# ---------------------------------------------------------------- the child: reads one file after another


class Subjects:
    """Sound files of every kind, and for each kind what reads a mutated copy."""

    def __init__(self, folder: Path) -> None:
        import numpy as np
        from makers import draw_video
        from zoo_maker import tiny_model

        from a2m2_zoo import build_bank, load_model

        self.folder = folder
        self.query = np.random.default_rng(0).integers(0, 255, (6, 64, 64, 3), dtype=np.uint8)
        names = ("a.mp4", "b.mkv", "c.avi", "d.ts", "e.mov", "f.flv", "g.nut")
        self.videos = [draw_video(folder / "videos" / name, 12, size=(64, 96)) for name in names]
        self.head = tiny_model(folder / "model")
        self.model = load_model(self.head)
        supports = {"right": [self.videos[0], self.videos[1]], "back": [self.videos[4]]}
        self.bank = build_bank(supports, model=self.model).save(folder / "bank.safetensors")
        listed = folder / "data"
        for name in ("right", "back"):
            (listed / name).mkdir(parents=True)
            for i in range(3):
                shutil.copy(self.videos[0], listed / name / f"{name}{i}.mp4")
        self.list = "".join(f"{n}/{n}{i}\n" for n in ("right", "back") for i in range(3)).encode()
        self.manifest = (Path(__file__).parents[2] / "weights_manifest.json").read_text("utf-8")

    def attempt(self, kind: str, dice: random.Random, at: Path) -> Callable[[], object]:
        """Write a mutated file to ``at`` and return what reads it."""
        return getattr(self, f"_{kind}")(dice, at)

    def _video(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo.video import Limits, Preprocess, read_clip

        path = dice.choice(self.videos)
        other = dice.choice(self.videos).read_bytes()
        target = at.with_suffix(path.suffix)
        target.write_bytes(damaged(path.read_bytes(), dice, other))
        spec = Preprocess(frames=4, size=64, resize=64)
        return partial(read_clip, target, spec, limits=Limits(seconds=8, megapixels=4))

    def _bank(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo import classify

        at.write_bytes(self._mutated_tensors(self.bank, dice))
        if dice.random() < 0.2:
            return partial(_command, ["bank", "show", str(at)])
        return lambda: _sound(classify(self.query, at, model=self.model))

    def _checkpoint(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo import build_bank, classify, load_model

        inside = self.folder / "model" / "mutated.safetensors"
        inside.write_bytes(self._mutated_tensors(self.head, dice))

        def use() -> None:
            model = load_model(inside)
            bank = build_bank({"x": [self.query], "y": [255 - self.query]}, model=model)
            _sound(classify(self.query, bank, model=model))

        return use

    def _mutated_tensors(self, path: Path, dice: random.Random) -> bytes:
        data = path.read_bytes()
        return damaged(data, dice) if dice.random() < 0.3 else hostile_safetensors(data, dice)

    def _manifest(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo import load_model
        from a2m2_zoo.hub.manifest import read_manifest

        if dice.random() < 0.3:
            at.write_bytes(damaged(self.manifest.encode(), dice))
        else:
            at.write_text(hostile_json(self.manifest, dice), "utf-8")
        name = dice.choice(["a2m2-lite0", "a2m2-clip-rn50", "no-such"])
        use = dice.random() < 0.3

        def read() -> None:
            read_manifest(at)
            if use:
                load_model(name, manifest=at, offline=True)

        return read

    def _list(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo.data.lists import read_list

        at.write_bytes(damaged(self.list, dice))
        return partial(read_list, at, root=self.folder / "data")

    def _setting(self, dice: random.Random, at: Path) -> Callable[[], object]:
        from a2m2_zoo.training.start import from_model, read_settings

        name, _, value = dice.choice(_SETTINGS).partition("=")
        value = hostile_json(f"[{value if value[0].isdigit() else json.dumps(value)}]", dice)[1:-1]
        if dice.random() < 0.2:
            name = damaged(name.encode(), dice).decode("utf-8", "replace").replace("\0", "0")
        pair = f"{name}={value}"
        return lambda: from_model(self.model, folder=None, settings=read_settings([pair]))


def _sound(answer: Any) -> None:
    """An answer must be a probability."""
    values = list(answer.probabilities.values())
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-3:
        raise AssertionError(f"no probabilities: {values}")
    json.dumps(answer.to_dict(), allow_nan=False)


def _command(arguments: list[str]) -> None:
    """The command line in this process: 0, or one line and 1 or 2."""
    from a2m2_zoo.cli import main

    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = main(arguments)
    text = said.getvalue()
    if code not in (0, 1, 2) or "Traceback" in text or (code and not text.strip()):
        raise AssertionError(f"exit {code}: {text[:300]!r}")


def child(seed: int, start: int, count: int, kinds: tuple[str, ...]) -> None:
    """Read mutated files ``start`` to ``count``, and say on stdout what became of each."""
    from a2m2_zoo.errors import A2M2Error

    _say({"starting": True})
    # What lost its hash to a mutation reads as a file from before there was one, and a warning says so.
    warnings.filterwarnings("ignore", message=".* is of an earlier version and has no hash")
    with tempfile.TemporaryDirectory() as folder:
        subjects = Subjects(Path(folder))
        base = _peak_mb()
        for number in range(start, count):
            kind = kinds[number % len(kinds)]
            dice = random.Random(f"{seed}/{number}")
            at = Path(folder) / "mutated"
            use = subjects.attempt(kind, dice, at)
            _say({"number": number, "kind": kind})
            outcome, detail = "read", ""
            try:
                use()
            except A2M2Error as error:
                outcome = "refused" if "\n" not in str(error) else "many lines"
                detail = "" if outcome == "refused" else str(error)[:200]
            except BaseException:
                outcome, detail = "traceback", traceback.format_exc()
            _say({"number": number, "kind": kind, "outcome": outcome, "detail": detail})
        _say({"base_mb": base, "peak_mb": _peak_mb()})


def _peak_mb() -> int:
    """Most memory of this process so far; getrusage counts in what the parent had before the start."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _say(what: dict[str, Any]) -> None:
    os.write(_WIRE, (json.dumps(what) + "\n").encode())


_WIRE = 1


# ---------------------------------------------------------------- the parent: holds the clock


def run(count: int, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> dict[str, Any]:
    """Read ``count`` mutated files and return the receipt."""
    outcomes: dict[str, int] = {}
    faults: list[dict[str, Any]] = []
    peak, start = 0, 0
    while start < count:
        last: dict[str, Any] = {}
        for line in _lines(seed, start, count, kinds):
            last = line
            outcome = line.get("outcome")
            if outcome:
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                if outcome not in ("read", "refused"):
                    faults.append(line)
            peak = max(peak, line.get("peak_mb", 0))
        if "peak_mb" in last:
            break
        # The child was killed over, or died of, the file that it spoke of last.
        outcome = "hang" if last.get("hang") else "crash"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        faults.append({**last, "outcome": outcome})
        if "number" not in last:
            break
        start = last["number"] + 1
    return {"count": count, "seed": seed, "outcomes": outcomes, "peak_mb": peak, "faults": faults}


def _lines(seed: int, start: int, count: int, kinds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-W", "error", __file__, "--child", str(start)]
    command += ["--seed", str(seed), "--count", str(count), "--kinds", *kinds]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        last: dict[str, Any] = {}
        while True:
            late = threading.Event()

            def stop(late: threading.Event = late) -> None:
                late.set()
                process.kill()

            patience = PATIENCE if "number" in last else 300.0
            clock = threading.Timer(patience, stop)
            clock.start()
            raw = process.stdout.readline()
            clock.cancel()
            if late.is_set():
                yield {**last, "hang": True}
                return
            if not raw:
                return
            last = json.loads(raw)
            yield last


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        global _WIRE
        # What libraries print does not get between the lines.
        _WIRE = os.dup(1)
        os.dup2(2, 1)
        child(given.seed, given.child, given.count, tuple(given.kinds))
        return
    receipt = run(given.count, given.seed, tuple(given.kinds))
    print(json.dumps(receipt, indent=2))
    sys.exit(bool(receipt["faults"]))


if __name__ == "__main__":
    main()
