from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from makers import started

from a2m2_zoo._utils.files import check_file, folder_to_make, new_folder, write_atomically
from a2m2_zoo._utils.scratch import is_scratch, sweep
from a2m2_zoo.errors import FetchError, SaveError

# Writes without end; says so when it has begun.
WRITER = """
import sys, time
from pathlib import Path
from a2m2_zoo._utils.files import new_folder, write_atomically
target = Path(sys.argv[1])
def fill(scratch):
    print("writing", flush=True)
    time.sleep(300)
if target.suffix:
    write_atomically(target, lambda scratch: (scratch.write_text("half"), fill(scratch)))
else:
    with new_folder(target) as folder:
        (folder / "half.txt").write_text("half")
        fill(folder)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def writer(target: Path) -> subprocess.Popen[str]:
    """A process in the middle of writing ``target``."""
    return started(WRITER, target, says="writing")


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def write(target: Path, text: str = "new") -> Path:
    return write_atomically(target, lambda scratch: scratch.write_text(text))


def test_a_new_file_is_whole_and_alone(tmp_path: Path) -> None:
    written = write(tmp_path / "a.txt")
    assert written.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "blow", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("x")]
)
def test_the_old_file_survives_whatever_goes_wrong(tmp_path: Path, blow: BaseException) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def half(scratch: Path) -> None:
        scratch.write_text("half")
        raise blow

    with pytest.raises(SaveError if isinstance(blow, OSError) else type(blow)) as caught:
        write_atomically(target, half)
    if isinstance(blow, OSError):
        assert "No space left on device" in str(caught.value)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_missing_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot write '.*no/a.txt': No such file or directory"):
        write(tmp_path / "no" / "a.txt")
    with pytest.raises(SaveError, match="No such file or directory"):
        check_file(tmp_path / "no" / "a.txt")


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_a_folder_where_nothing_can_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot write '/proc/a.txt': .*; name a file in a folder"):
        check_file("/proc/a.txt")
    with pytest.raises(SaveError, match=r"cannot write '/proc/a': .*; name a folder inside one"):
        folder_to_make("/proc/a")
    check_file(tmp_path / "a.txt")
    folder_to_make(tmp_path / "a")
    assert names(tmp_path) == []


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "a.txt", tmp_path / "link.txt"
    link.symlink_to("real/a.txt")
    write(link, "first")  # it leads to nothing yet
    assert target.read_text() == "first"
    (tmp_path / "second.txt").symlink_to(link)
    assert write(tmp_path / "second.txt", "second") == tmp_path / "second.txt"
    assert target.read_text() == "second"
    assert link.is_symlink()
    assert names(tmp_path / "real") == ["a.txt"]


def things(folder: Path) -> dict[str, Path]:
    """What is no regular file, of every kind that can be made here."""
    found = {name: folder / name for name in ("pipe", "socket", "folder", "loop", "device")}
    os.mkfifo(found["pipe"])
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(found["socket"]))
    found["folder"].mkdir()
    found["loop"].symlink_to(found["loop"])
    try:
        os.mknod(found["device"], stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full
    except PermissionError:
        del found["device"]
    return found


def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path) -> None:
    for name, path in things(tmp_path).items():
        before = path.lstat()
        with pytest.raises(SaveError, match=r"cannot write .*(is no regular file|is a folder)"):
            check_file(path)
        with pytest.raises(SaveError, match=r"cannot write .*(is no regular file|is a folder)"):
            write(path)
        after = path.lstat()
        assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode), name
    assert not any(map(is_scratch, names(tmp_path)))


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    target = write(tmp_path / "a.txt", "old")
    target.chmod(kept)

    def look(scratch: Path) -> None:
        assert mode(scratch) & 0o077 == 0  # nobody else reads it before it has its mode
        scratch.write_text("new")

    write_atomically(target, look)
    assert mode(target) == kept
    assert target.read_text() == "new"


@pytest.mark.parametrize(("mask", "made"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path, mask: int, made: int) -> None:
    before = os.umask(mask)
    try:
        assert mode(write(tmp_path / "a.txt")) == made
        with new_folder(tmp_path / "f") as folder:
            (folder / "a.txt").write_text("x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "f") == 0o777 & ~mask
    assert mode(tmp_path / "f" / "a.txt") == made


def test_a_read_only_file_system_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    for name in ("open", "mkdir", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(SaveError, match="Read-only file system; name a file"):
        write_atomically(tmp_path / "a.txt", lambda scratch: None)
    with pytest.raises(SaveError, match="Read-only file system; name a folder"):  # noqa: SIM117
        with new_folder(tmp_path / "f"):
            pass


def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, seen = os.fsync, list[tuple[int, list[str]]]()

    def sync(handle: int) -> None:
        plain(handle)
        shown = [name for name in names(tmp_path) if not is_scratch(name)]
        seen.append((os.fstat(handle).st_ino, shown))

    monkeypatch.setattr(os, "fsync", sync)
    target = write(tmp_path / "a.txt")
    assert seen == [(target.stat().st_ino, []), (tmp_path.stat().st_ino, ["a.txt"])]
    seen.clear()
    with new_folder(tmp_path / "f") as folder:
        (folder / "b.txt").write_text("x")
    inside = [(tmp_path / "f" / "b.txt").stat().st_ino, (tmp_path / "f").stat().st_ino]
    assert seen == [(i, ["a.txt"]) for i in inside] + [
        (tmp_path.stat().st_ino, ["a.txt", "f"]),
    ]


def test_names_of_any_length_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "b" * 251 + ".txt", "c." + "d" * 253, "." + "e" * 254):
        assert write(tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_what_a_killed_run_left_goes_with_the_next_write_beside_it(
    tmp_path: Path, name: str
) -> None:
    foreign = tmp_path / ".a2m2-notes.txt"
    foreign.write_text("mine")
    alive, dead = writer(tmp_path / "living.txt"), writer(tmp_path / name)
    try:
        kill(dead)
        assert sum(map(is_scratch, names(tmp_path))) == 2
        assert not (tmp_path / name).exists()
        write(tmp_path / "other.txt")
        assert sum(map(is_scratch, names(tmp_path))) == 1  # the living one's
    finally:
        kill(alive)
    sweep(tmp_path)
    assert names(tmp_path) == [foreign.name, "other.txt"]


def test_where_there_are_no_locks_only_what_is_old_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a2m2_zoo._utils.scratch._POSIX", False)
    fresh, stale = (tmp_path / f".a2m2-{c * 16}.txt" for c in "ab")
    for path in (fresh, stale):
        path.write_text("half")
    long_ago = time.time() - 25 * 3600
    os.utime(stale, (long_ago, long_ago))
    write(tmp_path / "a.txt")
    with new_folder(tmp_path / "f"):
        pass
    assert names(tmp_path) == [fresh.name, "a.txt", "f"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "f") as folder:
        (folder / "a.txt").write_text("x")
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == ["f"]
    assert names(tmp_path / "f") == ["a.txt"]


def failing(error: BaseException) -> Callable[[Path], None]:
    def fill(target: Path) -> None:
        with new_folder(target) as folder:
            (folder / "a.txt").write_text("x")
            raise error

    return fill


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (OSError(28, "No space left on device"), SaveError, "cannot write .*f': No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (FetchError("no network"), FetchError, "no network"),
        (SaveError("said already"), SaveError, "said already"),
    ],
)
def test_nothing_is_left_of_a_folder_that_fails(
    tmp_path: Path, error: BaseException, expected: type[BaseException], said: str
) -> None:
    with pytest.raises(expected, match=said):
        failing(error)(tmp_path / "f")
    assert names(tmp_path) == []


def test_an_error_inside_names_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"cannot write '.*f': No such file"):  # noqa: SIM117
        with new_folder(tmp_path / "f") as folder:
            write(folder / "no" / "a.txt")


def test_an_empty_folder_is_filled_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with new_folder(tmp_path / "link") as folder:
        (folder / "a.txt").write_text("x")
    assert names(tmp_path / "real") == ["a.txt"]
    assert mode(tmp_path / "real") == 0o700
    assert (tmp_path / "link").is_symlink()


def test_folders_that_cannot_be_made_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "a.txt")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "full", tmp_path / "full" / "a.txt"):
        with pytest.raises(SaveError, match="exists; give a new folder"):
            folder_to_make(path)
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(SaveError, match=r"'\.' is the folder you are in"):
        folder_to_make(".")


def test_a_killed_writer_inside_a_folder_does_not_make_it_full(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    process = writer(tmp_path / "f" / "a.txt")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with new_folder(tmp_path / "f") as folder:
        (folder / "b.txt").write_text("x")
    assert names(tmp_path / "f") == ["b.txt"]
