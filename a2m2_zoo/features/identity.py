"""A file that remembers what clips are: the hashes of their content."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.files import read_regular
from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo.video.content import digest, reading, stamp, survey

#: A file may change again within one tick of its clock without a new time stamp. Coarse file systems
#: tick every two seconds; what is younger is hashed but not remembered.
_TICK_NS = 2_000_000_000
_MOST_BYTES = 1 << 30


class Identities:
    """Content hashes of clips, remembered by path, size and time of change.

    The memory is a file of JSON lines, ``[path, stamp, hash]``, that is only ever appended to, each time
    by one write, so that several processes may share it. It saves time and nothing else: what cannot be
    read of it is passed over, and where it cannot be written the clips are hashed again next time.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[str, str]] | None = None
        self._new: list[str] = []

    def of(self, clip: Path) -> str:
        """sha256 of a file's content, or of the names and contents of a folder's pictures.

        Raises:
            VideoNotFoundError: There is no such file or folder.
            VideoError: It cannot be read.
        """
        if self._known is None:
            self._known = _remembered(self._file)
        path = str(clip)
        if not isinstance(clip, RemotePath):
            path = os.path.abspath(clip)  # noqa: PTH100 - four times faster, for 67,000 clips
        with reading(clip):
            parts, changed, folder = survey(clip)
            now = stamp(parts)
            known = self._known.get(path)
            if known is not None and known[0] == now:
                return known[1]
            found = digest(parts, folder=folder)
        if changed is not None and time.time_ns() - changed > _TICK_NS:
            self._known[path] = now, found
            self._new.append(json.dumps([path, now, found]))
        return found

    def save(self) -> None:
        """Append what was learned since the last time, where there is a folder to write to."""
        if self._new:
            # The line break comes first: a write that was cut short then costs its own line only.
            block = "".join(f"\n{line}" for line in self._new) + "\n"
            with suppress(OSError), self._file.open("ab") as file:
                file.write(block.encode())
                self._new.clear()


def _remembered(file: Path) -> dict[str, tuple[str, str]]:
    """Path → (stamp, hash); later lines win, and a line that was cut short is passed over."""
    known: dict[str, tuple[str, str]] = {}
    try:
        lines = read_regular(file, most=_MOST_BYTES).splitlines()
    except OSError:
        return known
    for line in lines:
        with suppress(ValueError):
            entry = parse(line)
            if (
                isinstance(entry, list)
                and len(entry) == 3
                and all(isinstance(value, str) for value in entry)
            ):
                known[entry[0]] = entry[1], entry[2]
    return known
