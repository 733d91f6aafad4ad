"""How many cores this process may use, and how many of them it is to use."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from a2m2_zoo._utils.arguments import whole

_PROC = Path("/proc/self")
_MOST = 1024
_chosen: int | None = None


def set_threads(count: int | None) -> None:
    """Choose how many cores clips are encoded and compared on, in this process.

    It changes speed, never an answer. PyTorch's own setting, ``torch.set_num_threads``, is the host
    program's and is left alone.

    Args:
        count: Threads, one core each; None for the default, the cores that the process may use (what the
            scheduler and a container's quota allow, and no more than ``OMP_NUM_THREADS`` where it is set).

    Raises:
        ArgumentError: It is no integer, below 1, or far above any machine.
    """
    global _chosen  # one setting for the process, as the cores are
    _chosen = whole("threads", count, most=_MOST)


def threads() -> int:
    """Threads that compute: those of ``set_threads``, or as many as there are cores to use."""
    if _chosen is not None:
        return _chosen
    setting = re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", ""))
    return max(1, min(usable_cores(), int(setting[1]) if setting else usable_cores()))


def decoding_threads() -> int:
    """Threads that read videos where nobody says how many: one a core, at most eight."""
    return min(8, _chosen or usable_cores())


def usable_cores() -> int:
    """Cores the process is allowed on, which may be fewer than the machine has; at least 1.

    A container's share of the time counts as well: with a quota of 1.5 cores, two threads can be busy.
    """
    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    granted = quota()
    return allowed if granted is None else max(1, min(allowed, math.ceil(granted - 1e-6)))


def quota(proc: Path = _PROC) -> float | None:
    """Cores' worth of time that control groups grant this process; None where they set no bound.

    Args:
        proc: The process's folder in ``/proc``.
    """
    found = []
    for folder, top in _groups(proc):
        # A group has no more than any of those around it, whatever its own file says.
        for group in (folder, *folder.parents):
            found += [share for share in (_unified(group), _legacy(group)) if share is not None]
            if group == top:
                break
    return min(found, default=None)


def _groups(proc: Path) -> list[tuple[Path, Path]]:
    """Where the process's groups lie that may bound its time, each with the mount point above it."""
    try:
        mounts = (proc / "mountinfo").read_text(errors="surrogateescape").splitlines()
        own = (proc / "cgroup").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    paths: dict[str, str] = {}
    for line in own:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)  # the unified tree has the name ""
    found = []
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        name = "" if kind[0] == "cgroup2" else "cpu"
        if name in paths and (not name or name in kind[2].split(",")):
            root, top = _plain(fields[3]), Path(_plain(fields[4]))
            inside = paths[name]
            # Inside a container the mount may begin below the root that the paths are counted from.
            if root != "/" and (inside == root or inside.startswith(f"{root}/")):
                inside = inside[len(root) :]
            folder = top / inside.strip("/")
            found.append((folder if folder.is_dir() else top, top))
    return found


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field)


def _unified(group: Path) -> float | None:
    """What ``cpu.max`` of version 2 says: a quota and a period, or ``max``."""
    numbers = _numbers(group / "cpu.max")
    return _share(*numbers) if len(numbers) == 2 else None


def _legacy(group: Path) -> float | None:
    """The two files of version 1; a quota of -1 is none."""
    pair = [_numbers(group / f"cpu.cfs_{part}_us") for part in ("quota", "period")]
    return _share(pair[0][0], pair[1][0]) if all(len(some) == 1 for some in pair) else None


def _share(granted: float, period: float) -> float | None:
    return granted / period if granted > 0 and period > 0 else None


def _numbers(file: Path) -> list[float]:
    """The integers in a small file; nothing where it is not there or says something else."""
    try:
        return [float(int(word)) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
