"""One Ctrl-C finishes the step and saves; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stop:
    """Whether somebody asked the run to stop, and by which signal.

    Args:
        hard: Whether a second Ctrl-C raises ``KeyboardInterrupt``. Launchers repeat the terminal's to
            their processes, so with several of them it must not.
        tell: Called once, when it is first asked.
    """

    def __init__(self, *, hard: bool, tell: Callable[[], None]) -> None:
        self.requested = False
        self.number = 0
        self._hard, self._tell = hard, tell

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT, SIGTERM and SIGHUP."""
        if self.requested:
            if self._hard and number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.requested, self.number = True, number
        self._tell()


@contextmanager
def watched(stop: Stop) -> Iterator[None]:
    """Ctrl-C, SIGTERM, which schedulers send before they kill, and SIGHUP go to ``stop`` within the block.

    Signals reach the main thread only; in another one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    before: dict[signal.Signals, Any] = {}
    for number in dict.fromkeys(numbers):
        if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGINT:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
