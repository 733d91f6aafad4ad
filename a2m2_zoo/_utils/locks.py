"""Locks that a forked process finds open."""

from __future__ import annotations

import os
import threading
import weakref


class Lock:
    """A lock that is open in a forked child, whoever held it in the parent: ``with lock.held:``.

    It is no context manager itself: Ctrl-C may end a method that is written in Python between taking the
    lock and returning, and nobody would ever let go of it. A lock of Python's own is taken in one step.

    Attributes:
        held: To be held.
    """

    def __init__(self) -> None:
        self.held = threading.Lock()
        _LOCKS.add(self)

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        """A copy, and one in another process, is another lock, which nobody holds."""
        return Lock, ()

    def reset(self) -> None:
        """Begin anew."""
        self.held = threading.Lock()


_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_LOCKS):
        lock.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
