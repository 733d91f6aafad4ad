"""Several processes that want the same file at the same time."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hub_server import COMMIT, Fault, Hub, Repo, environment

DATA = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
NAME = "model.safetensors"
CODE = (
    "from pathlib import Path; from a2m2_zoo.hub.fetch import fetch;"
    "from a2m2_zoo.hub.source import Source;"
    f"print(fetch(Source({NAME!r}, 'org/name', {COMMIT!r}), root=Path('.'), sha256={SHA256!r}))"
)


@pytest.fixture(autouse=True)
def repository(hub: Hub) -> None:
    hub.repos["org/name"] = Repo({COMMIT: {NAME: DATA}}, head=COMMIT)


def start(hub: Hub, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE],
        env=environment(hub, cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once(hub: Hub, tmp_path: Path) -> None:
    """The body is held back until both have asked, so that their downloads overlap."""
    both = threading.Event()

    def hold() -> None:
        both.wait(300)

    hub.before_get = hold
    processes = [start(hub, tmp_path / "both") for _ in range(2)]
    while hub.count("HEAD") < 4 and all(process.poll() is None for process in processes):
        both.wait(0.02)
    both.set()
    answers = [process.communicate(timeout=300) for process in processes]
    assert [error for _, error in answers] == ["", ""]
    (path,) = {Path(out.strip()) for out, _ in answers}
    assert path.read_bytes() == DATA
    assert hub.count("GET") <= 2
    assert not list((tmp_path / "both").rglob("*.incomplete"))


def test_a_process_that_is_killed_leaves_nothing_that_others_take(hub: Hub, tmp_path: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    def half() -> None:
        begun.set()
        end.wait(300)

    hub.before_get = half
    killed = start(hub, tmp_path / "both")
    assert begun.wait(300)
    killed.kill()
    killed.communicate(timeout=300)
    end.set()
    hub.before_get = lambda: None
    hub.faults = [Fault(cut=1_000_000)]
    survivor = start(hub, tmp_path / "both")
    out, error = survivor.communicate(timeout=300)
    assert error == ""
    assert Path(out.strip()).read_bytes() == DATA
