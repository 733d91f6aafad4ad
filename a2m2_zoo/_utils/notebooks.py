"""Progress where code runs in a notebook: a bar below the cell for work of over two seconds.

It is plain HTML that the notebook's own machinery shows and keeps up to date, so that no widget has to be
installed; where HTML is not shown it is a line. Anywhere else nothing is said.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from html import escape
from importlib import import_module
from typing import Any, TypeVar

from a2m2_zoo._utils.printable import printable

T = TypeVar("T")

_PATIENCE, _PERIOD = 2.0, 0.25  # seconds until something is shown, and from one update to the next

# What is kept in a notebook says so, to be told from answers.
_MARK = {"a2m2_zoo": "progress"}


def in_notebook() -> bool:
    """Whether this process is what runs a notebook's cells."""
    ipython = sys.modules.get("IPython")  # who runs cells has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class Bar:
    """What is done of a piece of work; outside of notebooks, nothing.

    Call it with what is being done, how much of it is done, and how much there is (0: not known).
    """

    def __init__(self) -> None:
        self._alive = in_notebook()
        self._began = time.monotonic()
        self._next = self._began + _PATIENCE

    def __call__(self, label: str, done: float, total: float) -> None:
        done, total = round(done), round(total)
        of = f"{done} of {total}" if total else f"{done}"
        seconds = f"{time.monotonic() - self._began:.0f} s"
        self.show(f"{label}: {of}, {seconds}", done / total if total else None)

    def show(self, words: str, share: float | None = None) -> None:
        """Say ``words``, with a bar of which ``share`` is full, unless it is too early for it."""
        last = share == 1 and "_place" in self.__dict__
        if self._alive and (last or time.monotonic() >= self._next):
            words = printable(words)
            drawn = "" if share is None else f"<progress value='{share:.4f}' max='1'></progress> "
            shown = {"text/html": drawn + escape(words), "text/plain": words}
            self._place.update(shown, raw=True, metadata=_MARK)
            self._next = time.monotonic() + _PERIOD

    @cached_property
    def _place(self) -> Any:
        show: Any = import_module("IPython.display").display  # which has no types
        return show({"text/plain": ""}, raw=True, metadata=_MARK, display_id=True)


def watched(items: Iterable[T], label: str, total: int = 0) -> Iterator[T]:
    """The items, and how many of them have come; ``total`` is 0 where it is not known."""
    bar, done = Bar(), 0
    for item in items:
        yield item
        done += 1
        bar(label, done, total)
    if done and not total:  # nobody knew that this was the last
        bar(label, done, done)


def counted(label: str) -> Callable[..., None]:
    """What is called for every item that is done, whatever it is told of it."""
    bar, done = Bar(), 0

    def one(*_: object) -> None:
        nonlocal done
        done += 1
        bar(label, done, 0)

    return one


def length(items: object) -> int:
    """How many there are, 0 where nobody knows before they have come."""
    return len(items) if hasattr(items, "__len__") else 0


@contextmanager
def following(look: Callable[[], tuple[str, float, float]]) -> Iterator[None]:
    """Show, while this lasts, what ``look`` gives for a bar."""
    bar, over = Bar(), threading.Event()

    def follow() -> None:
        while not over.wait(_PERIOD):
            bar(*look())

    follower = threading.Thread(target=follow, name="a2m2-notebook", daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()
        bar(*look())
