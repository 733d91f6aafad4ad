"""Reading, changing and writing one file by many processes at once."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
from makers import started

from a2m2_zoo._utils.files import locked
from a2m2_zoo._utils.locks import Lock
from a2m2_zoo.errors import SaveError

# Adds one to the number in a file, so often, with a pause in which everybody could come between.
ADDER = """
import sys, time
from pathlib import Path
from a2m2_zoo._utils.files import locked, write_atomically
file = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with locked(file, wait=600):
        number = int(file.read_text())
        time.sleep(0.002)
        write_atomically(file, lambda scratch: scratch.write_text(str(number + 1)))
"""
HOLDER = """
import sys, time
from a2m2_zoo._utils.files import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""


def test_no_change_of_eight_processes_is_lost_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("0")
    (tmp_path / "link.txt").symlink_to("n.txt")
    files = [tmp_path / ("link.txt" if i % 2 else "n.txt") for i in range(8)]
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, str(f), "10"]) for f in files]
    assert [adder.wait(timeout=300) for adder in adders] == [0] * 8
    assert (tmp_path / "n.txt").read_text() == "80"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "n.txt"]


def test_who_waits_says_so_and_gives_up_in_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    said = list[str]()
    process = started(HOLDER, file, says="held")
    try:
        with pytest.raises(SaveError, match=r"has been changing .*a\.txt' for 1 s"):  # noqa: SIM117
            with locked(file, tell=said.append, wait=1.2):
                pytest.fail("two hold it")
    finally:
        process.kill()
        process.communicate()
    assert said == [f"another process is changing {str(file)!r}; waiting for it"]
    with locked(file, tell=said.append, wait=1.2):  # the dead hold nothing
        pass
    assert len(said) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_lock_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot lock .*No such file or directory"):  # noqa: SIM117
        with locked(tmp_path / "no" / "a.txt"):
            pytest.fail("nothing is locked")


def test_a_copy_of_a_lock_is_free() -> None:
    lock = Lock()
    with lock.held, pickle.loads(pickle.dumps(lock)).held, deepcopy(lock).held:
        pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that send signals here")
def test_ctrl_c_at_any_moment_leaves_no_lock_behind() -> None:
    """Nobody could work any more after it: the pool of threads hung forever, once in many thousand."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupted(after: float) -> bool:
        """Whether it came; what comes within a finaliser is swallowed there."""
        end = time.monotonic() + 2
        try:
            signal.setitimer(signal.ITIMER_REAL, after)
            while time.monotonic() < end:
                with lock.held:
                    pass
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            return True
        return False

    lock = Lock()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(300):
            assert any(interrupted(1e-4 + 1e-6 * (i % 97)) for _ in range(5)), i
            assert lock.held.acquire(blocking=False), i
            lock.held.release()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
