"""Tables, bars and spinners whose text cannot steer the terminal that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from a2m2_zoo._utils.printable import printable
from a2m2_zoo._utils.streams import Stream


class _Door:
    """Where a console writes its styles and moves: past the check that other text goes through."""

    def __init__(self, *, stderr: bool) -> None:
        self._stderr = stderr

    @property
    def _target(self) -> Any:
        target = sys.stderr if self._stderr else sys.stdout
        return getattr(target, "rich_proxied_file", target)  # while a bar stands

    def write(self, text: str) -> int:
        target = self._target
        if isinstance(target, Stream):
            target.put(text)
        elif target is not None:
            target.write(text)
        return len(text)

    def flush(self) -> None:
        if self._target is not None:
            self._target.flush()

    def isatty(self) -> bool:
        return self._target is not None and bool(self._target.isatty())

    def fileno(self) -> int:
        return int(self._target.fileno())

    @property
    def encoding(self) -> str:
        return getattr(self._target, "encoding", None) or "utf-8"


class SafeConsole(Console):
    """A console whose text, whoever wrote it, holds no control characters, marks or emoji codes.

    A notebook gets text, as a terminal does.

    Args:
        stderr: Write to stderr, else to stdout; whatever these are at the time.
        options: As for ``Console``.
    """

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        door: Any = _Door(stderr=stderr)
        super().__init__(file=door, emoji=False, force_jupyter=False, **options)

    def render_str(self, text: str, **options: Any) -> Any:
        """Escaped before it is measured, so that columns keep their width."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def render(self, *arguments: Any, **options: Any) -> Iterable[Segment]:
        """Escaped also where it came as a text of its own."""
        for segment in super().render(*arguments, **options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = segment.text.split("\n")
                yield Segment("\n".join(map(printable, lines)), segment.style)
