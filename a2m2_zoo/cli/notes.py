"""What the package logs, as complaints of the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from a2m2_zoo.cli.output import complain, stderr


class _Notes(logging.Handler):
    """Says each line of the package's log once, however often a folder is read."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._said and not stderr.quiet:
            self._said.add(line)
            complain(line)


@contextmanager
def notes() -> Iterator[None]:
    """Let what the package logs be complaints of the command line."""
    log, handler = logging.getLogger("a2m2_zoo"), _Notes()
    before, level = log.propagate, log.level
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before
        log.setLevel(level)
