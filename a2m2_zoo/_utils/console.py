"""Tables, bars and spinners whose text cannot steer the terminal that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

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


class WholeWords(Table):
    """A table that breaks no word: where all columns do not fit, each row is a list of its values.

    Columns get the room that their longest words need, and the rest in proportion to what they lack.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [
            [_plain(console, cell) for cell in (column.header, *column.cells)]
            for column in self.columns
        ]
        least = [max((len(w) for text in some for w in text.split()), default=1) for some in texts]
        most = [max(len(line) for text in some for line in text.split("\n")) for some in texts]
        room = options.max_width - self._extra_width - 2 * max(len(texts) - 1, 0)
        if sum(least) > room:
            yield from self._listed(texts)
            return
        for column, width in zip(self.columns, _shared(least, most, room), strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _listed(self, texts: list[list[str]]) -> RenderResult:
        """Every row as lines, one value each, whatever their length."""
        if self.title:
            yield Text(str(self.title), style="italic")
        wide = max(len(head) for head, *_ in texts)
        for row in range(self.row_count):
            for head, *cells in texts:
                if cells[row]:
                    value = " ".join(cells[row].split())
                    yield Text(f"{head:{wide}}  {value}", overflow="fold")
            yield Text("")
        if self.caption:
            yield self.caption


def _plain(console: Console, cell: Any) -> str:
    return console.render_str(cell).plain if isinstance(cell, str) else str(cell)


def _shared(least: list[int], most: list[int], room: int) -> list[int]:
    """Widths between what the longest words need and what whole lines need."""
    spare, lacking = room - sum(least), sum(most) - sum(least)
    if lacking <= spare:
        return most
    return [low + (high - low) * spare // lacking for low, high in zip(least, most, strict=True)]
