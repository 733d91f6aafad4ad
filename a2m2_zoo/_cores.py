"""How many cores this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores the process is allowed on, which may be fewer than the machine has; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decoding_threads() -> int:
    """Threads that read videos where nobody says how many: one a core, at most eight."""
    return min(8, usable_cores())
