"""Ctrl-C, SIGTERM and SIGHUP end a command in one way: what was found is written, then it stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not on Windows
_received: list[int] = []  # signals that came, in order
_before: dict[int, Any] = {}  # handlers that were replaced


def exit_code() -> int:
    """What shells expect of a command that the signal ended; Ctrl-C's if none came."""
    return 128 + (_received[0] if _received else signal.SIGINT)


@contextmanager
def heeded() -> Iterator[None]:
    """The signals raise ``KeyboardInterrupt`` within the block.

    Signals that the caller ignores (nohup) or has a handler for stay as they are, as do all outside the main
    thread.
    """
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is None:
            continue
        handler = signal.getsignal(number)
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            _before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        give_back()


def give_back() -> None:
    """Put the handlers back that were there; for servers, which have their own."""
    while _before:
        signal.signal(*_before.popitem())


def note(number: int) -> None:
    """Remember a signal that came."""
    _received.append(number)


def _stop(number: int, frame: FrameType | None) -> None:
    # A terminal that closes sends several: only the first may break off what is being written.
    repeated = bool(_received)
    note(number)
    if not repeated or number == signal.SIGINT:
        raise KeyboardInterrupt
