"""What the package logs and warns of, as complaints of the command line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from a2m2_zoo._utils.printable import printable
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
    """Let what the package logs and warns of be complaints of the command line, a line each."""
    log, handler = logging.getLogger("a2m2_zoo"), _Notes()
    before, level, plain = log.propagate, log.level, warnings.formatwarning

    def in_words(message: Warning | str, category: type[Warning], *rest: Any) -> str:
        own = category.__module__.partition(".")[0] == "a2m2_zoo"
        return f"a2m2: {printable(str(message))}\n" if own else plain(message, category, *rest)

    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    warnings.formatwarning = in_words  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.formatwarning = plain
        log.removeHandler(handler)
        log.propagate = before
        log.setLevel(level)
