"""Archives whose making is killed at any moment: every clip is in it once, and the next run goes on.

The long form, ``A2M2_LONG=1``, kills a thousand times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from archive_maker import kept, videos
from makers_models import tiny_model

from a2m2_zoo.archive import Archive
from a2m2_zoo.errors import ArchiveError

LONG = bool(os.environ.get("A2M2_LONG"))
KILLS = 1000 if LONG else 4
OF_ONE = 4  # kills of one archive's making


class Driver:
    """The warm process of ``kill_driver``."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("kill_driver.py")), str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )

    def start(self, argv: list[str]) -> int:
        """Begin a command; its process."""
        assert self._process.stdin is not None
        print("\t".join(argv), file=self._process.stdin, flush=True)
        return int(self._line())

    def wait(self) -> int:
        """How it ended."""
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    made = Driver(tmp_path / "log.txt")
    yield made
    made.close()


def test_an_archive_whose_making_is_killed_is_gone_on_with_and_holds_every_clip_once(
    driver: Driver, tmp_path: Path
) -> None:
    tiny_model(tmp_path)
    data = videos(tmp_path / "videos")
    fixed = [str(data), "--out"]
    options = ["--model", str(tmp_path), "--whole", "2", "--window", "1", "--stride", "0.5"]

    def build(uri: Path) -> list[str]:
        return ["archive", "build", *fixed, str(uri), *options]

    began = time.monotonic()
    driver.start(build(tmp_path / "once"))
    assert driver.wait() == 1, driver.log.read_text()  # one of the files is no video
    seconds, once = time.monotonic() - began, kept(tmp_path / "once")
    assert len({row[0] for row in once}) == 7
    chance, hit, half, number, reach = random.Random(0), 0, 0, 0, 0.3 * seconds
    while hit < KILLS and number < 2 * KILLS:
        uri, number, whole = tmp_path / str(number), number + 1, False
        for _ in range(OF_ONE):
            pid = driver.start(build(uri))
            # From the moment when it begins to write, which is late, to the end.
            until = time.monotonic() + 60
            while not uri.exists() and time.monotonic() < until:
                time.sleep(0.002)
            time.sleep(chance.uniform(0, reach))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            whole = driver.wait() != -signal.SIGKILL
            if whole:  # it had ended: the next are killed earlier
                reach /= 2
                break
            hit += 1
            with suppress(ArchiveError):  # not even begun
                archive = Archive.open(uri)
                said = archive.verify()
                assert all("half-written" in problem for problem in said)
                half += bool(said)
        driver.start(build(uri))
        code = driver.wait()
        # One that was whole already is refused as one that is there.
        assert code in (1, 2), driver.log.read_text()
        assert kept(uri) == once, (code, driver.log.read_text())
        assert Archive.open(uri).verify() == []
    print(f"{number} archives, {hit} kills while they were made, {half} left one half-written")
    assert hit >= KILLS
