"""stdout and stderr that cost no answer: closed, full, or of an encoding that lacks a character."""

from __future__ import annotations

import errno
import io
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from a2m2_zoo._utils.printable import printable

# What may steer the terminal in text of which nobody knows who wrote it: line ends, colours and the step
# up of the bars of downloads.
_HARMLESS = re.compile(r"([\n\r\t]|\x1b\[[0-9;]*m|\x1b\[A)")


class Stream(io.TextIOBase):
    """A text stream over another one that is safe to write anything to.

    A character that the encoding lacks becomes a backslash escape, as does what would steer a terminal. What
    cannot be written is dropped, and the first reason kept.

    Args:
        inner: The stream to write to; None stands for one that is closed.

    Attributes:
        fault: Why something could not be written; None if all could.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner
        self.fault: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the inner stream."""
        return getattr(self._inner, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of characters that the encoding lacks."""
        return "backslashreplace"

    @property
    def utf8(self) -> bool:
        """Whether UTF-8 is understood: by a file and a pipe always, by a terminal if it says so."""
        return not self.isatty() or self.encoding.lower().replace("-", "") == "utf8"

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        try:
            return bool(self._inner.isatty())
        except (AttributeError, ValueError, OSError):
            return False

    def fileno(self) -> int:
        """The file behind it."""
        if self._inner is None:
            raise io.UnsupportedOperation("the stream is closed")
        return int(self._inner.fileno())

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write text of any origin."""
        self.put("".join(p if i % 2 else printable(p) for i, p in enumerate(_HARMLESS.split(text))))
        return len(text)

    def put(self, text: str, encoding: str | None = None) -> None:
        """Write text that may hold escapes on purpose."""
        if not text or self.fault is not None:
            return
        encoding = encoding or self.encoding
        try:
            self._send(text.encode(encoding, "backslashreplace"), encoding)
        except (OSError, ValueError) as error:
            self.fault = error

    def flush(self) -> None:
        """Nothing is held back here; what is below may."""
        if self._inner is not None and self.fault is None:
            try:
                self._inner.flush()
            except (OSError, ValueError) as error:
                self.fault = error

    def _send(self, data: bytes, encoding: str) -> None:
        if self._inner is None:
            raise OSError(errno.EBADF, "it is closed")
        buffer = None
        with suppress(AttributeError, io.UnsupportedOperation):
            buffer = self._inner.buffer
        if buffer is None:
            self._inner.write(data.decode(encoding))
            return
        self._inner.flush()  # what others wrote comes first
        # Past its buffer: what could not be written would be tried again, and fail again, at exit.
        sink, rest = getattr(buffer, "raw", buffer), memoryview(data)
        while rest:
            count = sink.write(rest)
            if count is None:  # somebody made the pipe one that does not wait
                select.select([], [sink.fileno()], [])
            rest = rest[count or 0 :]


@contextmanager
def safe() -> Iterator[Stream]:
    """``sys.stdout`` and ``sys.stderr`` as such streams within the block; gives stdout's."""
    before = (sys.stdout, sys.stderr)
    _take_low_numbers()
    out, err = (s if isinstance(s, Stream) else Stream(s) for s in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        for stream in (out, err):
            stream.flush()
        sys.stdout, sys.stderr = before


def _take_low_numbers() -> None:
    """A file that is opened later must not come to stand where stdout was: libraries write there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - each of the three may be closed
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
