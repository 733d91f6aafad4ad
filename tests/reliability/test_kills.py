"""Commands that are killed at any moment: no half file, and nothing left after the next run.

The short form kills a few commands while they write. The long form, ``A2M2_LONG=1``, kills every command
that writes, 200 times in all, half of them at a random time and half at a step of the writing of a file:
however fast the machine is, those come while it is written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from makers import draw_video
from safetensors import safe_open

from a2m2_zoo._utils.files import sha256_of
from a2m2_zoo._utils.scratch import is_scratch
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.recognition.bank import SupportBank

LONG = bool(os.environ.get("A2M2_LONG"))
HERE = Path(__file__).parent
SCRATCH, CLIPS = ".a2m2-", ".mp4"  # in the paths of what is being written, and of what is read


class Driver:
    """The warm process of ``kill_driver``."""

    def __init__(self, work: Path) -> None:
        self.log = work / "log.txt"
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "kill_driver.py"), str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "A2M2_CACHE": str(work / "cache"),
                "HF_HUB_OFFLINE": "1",
                "OMP_NUM_THREADS": "1",
            },
        )

    def start(
        self,
        argv: list[str],
        *,
        mark: str = SCRATCH,
        at: int | None = None,
        number: int = signal.SIGKILL,
    ) -> int:
        """Begin a command, which sends itself a signal at a moment if one is given; its process."""
        request = {"argv": argv, "mark": mark, "at": at, "signal": number}
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._line())

    def wait(self) -> int:
        """How it ended: its exit code, or the negative number of a signal."""
        return int(self._line())

    def run(self, argv: list[str], *, mark: str = SCRATCH) -> tuple[float, int]:
        """A whole command, which must succeed; its seconds, and how many moments it had."""
        begun = time.monotonic()
        self.start(argv, mark=mark)
        code = self.wait()
        assert code == 0, self.log.read_text()
        return time.monotonic() - begun, int(Path(f"{self.log}.moments").read_text())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two classes, a video, a bank, a model of one file."""
    folder = tmp_path_factory.mktemp("kills")
    for name, speed in (("right", 3), ("left", -4)):
        for i in range(2):
            draw_video(folder / "data" / name / f"{i}.mp4", 12 + i, size=(64, 80), speed=speed)
            draw_video(
                folder / "other" / f"{name} fast" / f"{i}.mp4",
                12 + i,
                size=(64, 80),
                speed=2 * speed,
            )
    draw_video(folder / "video.mp4", 60, size=(64, 80))
    return folder


@pytest.fixture(scope="module")
def driver(work: Path) -> Iterator[Driver]:
    made = Driver(work)
    if LONG:
        made.run(["bank", "create", str(work / "data"), "--out", str(work / "bank.safetensors")])
        made.run(["models", "pull", "a2m2-lite0", "--to", str(work / "pulled")])
    yield made
    made.close()


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        argv: Its arguments, given the clips' folder and a folder of its own to write to.
        fresh: Whether its folder is new in every run.
        times: Kills in the long form.
        quick: Whether the short form kills it too.
    """

    argv: Callable[[Path, Path], list[Any]]
    fresh: bool = False
    times: int = 20
    quick: bool = False


COMMANDS = {
    "bank create": Command(
        lambda w, o: ["bank", "create", w / "data", "--out", o / "b.safetensors", "--force"],
    ),
    "bank add": Command(lambda w, o: ["bank", "add", w / "bank.safetensors", w / "data"]),
    "features": Command(lambda w, o: ["features", w / "data", "--cache", o / "cache"], times=16),
    "pull": Command(
        lambda w, o: ["models", "pull", "a2m2-lite0", "--to", o / "pulled"],
        fresh=True,
        times=40,
        quick=True,
    ),
    "synth": Command(
        lambda w, o: [
            *("data", "synth", "--out", o / "made", "--classes", 2, "--clips", 2),
            *("--size", 64, "--frames", 8),
        ],
        fresh=True,
        times=40,
        quick=True,
    ),
    "demo": Command(lambda w, o: ["demo", "--out", o / "demo"], fresh=True, times=4),
    "export": Command(
        lambda w, o: ["models", "export", "protonet-lite0", "--out", o / "graphs"],
        fresh=True,
        times=4,
    ),
    "publish": Command(
        lambda w, o: [
            *("models", "publish", w / "pulled", "--repo", "a/b", "--license", "apache-2.0"),
            *("--data", "generated", "--dry-run", o / "folder"),
        ],
    ),
    "spot": Command(
        lambda w, o: [
            *("spot", w / "video.mp4", "--supports", w / "bank.safetensors", "--cut", o / "cut"),
            *("--plot", o / "plot.png", "--window", 1),
        ],
        times=12,
    ),
    "compare": Command(
        lambda w, o: [
            *("compare", w / "data", "--way", 2, "--shot", 1, "--episodes", 20, "--methods"),
            *("protonet", "--html", o / "page.html", "--json", o / "page.json"),
        ],
        times=12,
    ),
    "train": Command(
        lambda w, o: [
            *("train", w / "data", "--validation", w / "other", "--out", o / "run"),
            *("--steps", 3, "--set", "way=2", "--set", "query=1", "--set", "warmup=1"),
            *("--set", "validate_shots=[1]", "--set", "validate_episodes=5"),
            *("--set", "checkpoint_every=1", "--resume"),
        ],
        times=12,
    ),
}


def whole(path: Path) -> None:
    """Fail unless a file is one that a program can use to its end."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            file.keys()
        if path.name in ("b.safetensors", "bank.safetensors"):
            SupportBank.load(path)
        elif path.stem in ("model", "last", "best"):
            kinds = {"model": "model", "last": "training", "best": "training-best"}
            checkpoint.load(path, kind=kinds[path.stem])
        elif len(path.stem) == 64:
            assert sha256_of(path) == path.stem
    elif path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix in (".mp4", ".png"):
        with av.open(str(path)) as container:
            assert list(container.decode(video=0))
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>")
    elif path.suffix == ".onnx":
        assert path.stat().st_size > 100


def finished(folder: Path) -> list[Path]:
    """Every file that has its name; what is being written, and what was left, is passed over."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_scratch(name)]
        found += [Path(root, name) for name in files if not is_scratch(name)]
    return found


def named(folder: Path) -> set[Path]:
    """What a run writes; TensorBoard calls its files after the time."""
    files = {path.relative_to(folder) for path in finished(folder)}
    return {path for path in files if "tfevents" not in path.name}


def leftovers(folder: Path) -> list[str]:
    """Hidden names, which no command of the package leaves."""
    return [str(path) for path in folder.rglob(".*")]


def kill_once(driver: Driver, argv: list[str], *, after: float) -> bool:
    """Kill a command after so many seconds; whether it was still running."""
    pid = driver.start(argv)
    time.sleep(after)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return driver.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if LONG or c.quick])
def test_what_is_killed_leaves_no_half_file_and_the_next_run_leaves_nothing(
    driver: Driver, work: Path, tmp_path: Path, name: str
) -> None:
    command, chance = COMMANDS[name], random.Random(name)
    argv = [str(part) for part in command.argv(work, tmp_path)]
    seconds, moments = driver.run(argv)
    before = named(tmp_path)
    folders = [tmp_path, work] if name == "bank add" else [tmp_path]
    hit = stray = 0
    times = command.times if LONG else 2
    for i in range(times):
        if command.fresh:
            for path in tmp_path.iterdir():
                if not is_scratch(path.name):
                    path.rename(work / f"gone-{name}-{i}-{path.name}")
        elif name in ("features", "train"):
            for path in finished(tmp_path):
                path.unlink()
        place = work if name == "bank add" else tmp_path
        if i % 2:
            hit += kill_once(driver, argv, after=chance.uniform(0, seconds))
        else:  # from the second on, for at the first nothing is there
            driver.start(argv, at=chance.randint(2, moments))
            hit += driver.wait() == -signal.SIGKILL
        for folder in folders:
            for path in finished(folder):
                whole(path)
        stray += bool(leftovers(place))
    if command.fresh:
        for path in tmp_path.iterdir():
            if not is_scratch(path.name):
                path.rename(work / f"gone-{name}-{path.name}")
    driver.run(argv)
    assert [found for folder in folders for found in leftovers(folder)] == []
    assert named(tmp_path) >= before
    for path in finished(tmp_path):
        whole(path)
    print(
        f"{name}: {times} kills, {hit} while it ran, {stray} left something, 0 after the next run"
    )
    assert hit >= times // 2


def test_answers_line_by_line_survive_any_kill_and_each_clip_has_one(
    driver: Driver, work: Path, tmp_path: Path
) -> None:
    """Killed while lines are written, resumed and killed again; then told to stop; then whole."""
    bank, chance = str(work / "lines.safetensors"), random.Random(0)
    driver.run(["bank", "create", str(work / "data"), "--out", bank])
    fixed = [*map(str, (work / "data", work / "other")), "--supports", bank]
    fixed += ["--batch-size", "1", "--workers", "1"]
    once = tmp_path / "once.jsonl"
    _, moments = driver.run(["classify", *fixed, "--jsonl", str(once)], mark=CLIPS)
    signals = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143}
    hit, between, wanted = 0, 0, 1000 if LONG else 2
    for i in range(wanted):
        file = tmp_path / f"{i}.jsonl"
        for number, code in [*signals.items()] * (3 if LONG else 1):
            # Before it has seen all clips, all of which it looks at again in every run.
            driver.start(
                ["classify", *fixed, "--resume", str(file)],
                mark=CLIPS,
                at=chance.randint(moments // 2, moments - 3) if LONG else moments - 3,
                number=number,
            )
            ended = driver.wait()
            if LONG and ended == 0:  # all was answered before, so it was whole earlier
                break
            assert ended == code, driver.log.read_text()
            hit += 1
            between += 0 < len(told(file)) < len(told(once))
            if code == 143:
                assert not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
        driver.run(["classify", *fixed, "--resume", str(file)])
        assert told(file) == told(once)
        if hit >= wanted:
            break
    print(f"lines: {hit} kills and stops, {between} of them between two lines; every clip has one")
    assert hit >= wanted
    assert between > 0


def told(file: Path) -> list[str]:
    """The answers in a file without the time they took, sorted; a half-written one is passed over."""
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    return sorted(json.dumps({**json.loads(line), "seconds": 0}) for line in lines)
