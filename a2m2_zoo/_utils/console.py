"""Tables, bars and spinners whose text cannot steer the terminal that shows them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from textwrap import TextWrapper
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

    def print(self, *objects: Any, crop: bool = False, **options: Any) -> None:
        """Nothing is cut off: what is too long for a line is so because it is copied in one piece."""
        super().print(*objects, crop=crop, **options)

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

    Columns get the room that their longest words need, and the rest in proportion to what they lack. Those
    with ``no_wrap`` keep whole lines. Two columns stay two where they do not fit: names, and values beside
    them, or below one whose value has too long a word.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [
            [_plain(console, cell) for cell in (column.header, *column.cells)]
            for column in self.columns
        ]
        pieces = [
            [piece for text in some for piece in text.split("\n" if column.no_wrap else None)]
            for column, some in zip(self.columns, texts, strict=True)
        ]
        least = [max(map(len, some), default=1) for some in pieces]
        most = [max(len(line) for text in some for line in text.split("\n")) for some in texts]
        room = options.max_width - self._extra_width - 2 * max(len(texts) - 1, 0)
        if sum(least) > room:
            if self.title:
                yield Text(str(self.title), style="italic")
            rows = self._paired if len(texts) == 2 else self._listed
            for line in rows(texts, options.max_width):
                yield Text(line, no_wrap=True, overflow="ignore")
            if self.caption:
                yield self.caption
            return
        for column, width in zip(self.columns, _shared(least, most, room), strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _listed(self, texts: list[list[str]], room: int) -> Iterator[str]:
        """Every row as lines, one value each, whatever their length."""
        wide = max(len(head) for head, *_ in texts)
        for row in range(self.row_count):
            for n, (head, *cells) in enumerate(texts):
                if cells[row]:
                    first, *more = self._lines(n, cells[row], room - wide - 2)
                    yield f"{head:{wide}}  {first}"
                    yield from (f"{'':{wide}}  {line}" for line in more)
            yield ""

    def _paired(self, texts: list[list[str]], room: int) -> Iterator[str]:
        """Every row as a name and what stands beside it."""
        names = [" ".join(name.split()) for name in texts[0]]
        wide = min(max(map(len, names)), room // 2)
        yield ""
        for name, value in zip(names, texts[1], strict=True):
            first, *more = self._lines(1, value, room - wide - 2)
            if len(name) <= wide and max(map(len, (first, *more))) <= room - wide - 2:
                yield f"{name:{wide}}  {first}"
                yield from (f"{'':{wide}}  {line}" for line in more)
            else:
                yield name
                yield from (f"  {line}" for line in self._lines(1, value, room - 2))

    def _lines(self, column: int, text: str, room: int) -> list[str]:
        """A value as lines, broken between words only, if at all."""
        lines = text.split("\n")
        if self.columns[column].no_wrap:
            return lines
        broken = TextWrapper(max(room, 1), break_long_words=False, break_on_hyphens=False)
        return [part for line in lines for part in broken.wrap(line) or [""]]


def _plain(console: Console, cell: Any) -> str:
    return console.render_str(cell).plain if isinstance(cell, str) else str(cell)


def _shared(least: list[int], most: list[int], room: int) -> list[int]:
    """Widths between what the longest words need and what whole lines need."""
    spare, lacking = room - sum(least), sum(most) - sum(least)
    if lacking <= spare:
        return most
    return [low + (high - low) * spare // lacking for low, high in zip(least, most, strict=True)]
