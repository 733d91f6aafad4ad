"""The visitors' files: who may name which, and how many bytes they take together."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from a2m2_zoo.app.limits import MEGABYTE, AppLimits
from a2m2_zoo.errors import ArgumentError, VideoLimitError

#: Whom files belong to that came without a cookie: whoever knows their name, which cannot be guessed.
ANYONE = "anyone"
_LEAST = 4096  # bytes that a file takes on a disk, however small it is
_CHUNK = 1 << 20
_NAME_BYTES = 120
_NOT_IN_NAMES = frozenset('<>:"/\\|?*#%')  # of files and of addresses


@dataclass
class _Held:
    owner: str
    path: Path | None = None  # of an upload; None for the folder of a session
    size: int = 0
    session: str | None = None  # the first that named it; nobody else may


class Coming:
    """The bytes of one request that is being received."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # What the page made itself is looked at once: it is little beside what is sent.
        self._made = sum(held_bytes(path) for path in store.folder.glob("visit-*"))
        self.reserved = 0

    def reserve(self, total: int) -> None:
        """Have room for ``total`` bytes of this request, or raise.

        Raises:
            VideoLimitError: The page would hold more than it may.
        """
        if total > self.reserved:
            self._store._reserve(total - self.reserved, beside=self._made)
            self.reserved = total


class Store:
    """Every upload lies in a folder of its own whose name cannot be guessed. Safe to share between threads.

    No name that comes from a visitor is looked up on the disk: it must be one that was handed out.

    Args:
        folder: Where the files go; nobody else writes there.
        limits: How large one file and all of them may be.
    """

    def __init__(self, folder: Path, limits: AppLimits) -> None:
        self.folder, self._limits = folder, limits
        self._held: dict[str, _Held] = {}
        self._bytes = 0  # of uploads, those that are being received included
        self._lock = threading.Lock()

    def open_folder(self, session: str) -> Path:
        """A new folder for what the page makes for ``session``; its visitor may read what is in it."""
        token = f"visit-{secrets.token_hex(16)}"
        (self.folder / token).mkdir()
        with self._lock:
            self._held[token] = _Held(owner_of(session), session=session)
        return self.folder / token

    def close_folder(self, folder: Path) -> None:
        """Delete a folder that ``open_folder`` made."""
        with self._lock:
            self._held.pop(folder.name, None)
        shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def receiving(self) -> Iterator[Coming]:
        """Room for a request; given back afterwards, except for what was kept of it."""
        coming = Coming(self)
        try:
            yield coming
        finally:
            with self._lock:
                self._bytes -= coming.reserved

    def keep(self, owner: str, name: str, source: BinaryIO, coming: Coming | None = None) -> Path:
        """Keep what a visitor sent.

        Args:
            owner: The visitor.
            name: The file's name on the visitor's computer.
            source: Its bytes.
            coming: The request it came with, which has room for it.

        Returns:
            The file, under a name that nobody can guess.

        Raises:
            VideoLimitError: It is too large.
        """
        token = f"sent-{secrets.token_hex(16)}"
        path = self.folder / token / clean_name(name)
        most = self._limits.upload_mb * MEGABYTE
        path.parent.mkdir()
        try:
            size = 0
            with path.open("xb") as target:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise VideoLimitError(
                            f"{path.name} is larger than {self._limits.upload_mb} MB; shorten it"
                        )
                    target.write(chunk)
            self._land(token, _Held(owner, path, max(size, _LEAST)), coming)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        return path

    def may_name(self, text: object, session: str) -> bool:
        """Whether ``text`` is an upload that this session sent. Looks at no disk."""
        with self._lock:
            return self._upload(text, session) is not None

    def claim(self, given: object, session: str) -> Path:
        """The upload that a session names for the first time or again; it is its own from then on.

        Args:
            given: What the page says of the file: a dictionary with its ``path``.
            session: The session.

        Raises:
            ArgumentError: It is no upload of this session, whatever is there.
        """
        text = path_of(given)
        with self._lock:
            held = self._upload(text, session)
            if held is None or held.path is None or not _is_plain(held.path):
                what = clean_name(text) if isinstance(text, str) else "that file"
                raise ArgumentError(f"{what} is no longer here; drop it again")
            held.session = session
            return held.path

    def readable(self, text: str, owner: str) -> Path | None:
        """The file that a visitor may be sent: an upload of theirs, or what the page made for them."""
        path = Path(text)
        if str(path) != text or path.parent.parent != self.folder:
            return None
        with self._lock:
            held = self._held.get(path.parent.name)
        if held is None or held.owner != owner or (held.path is not None and held.path != path):
            return None
        return path if _is_plain(path) else None

    def forget(self, path: Path) -> None:
        """Delete an upload."""
        with self._lock:
            held = self._held.pop(path.parent.name, None)
            if held is not None:
                self._bytes -= held.size
        if held is not None:
            shutil.rmtree(self.folder / path.parent.name, ignore_errors=True)

    def forget_unused(self, owner: str) -> None:
        """Delete what a visitor sent and no session named."""
        with self._lock:
            mine = [h.path for h in self._held.values() if h.owner == owner and h.session is None]
        for path in mine:
            if path is not None:
                self.forget(path)

    def sweep(self, before: float) -> None:
        """Delete uploads older than ``before``, and whatever else lies here without belonging to a session.

        Args:
            before: Seconds on the clock of files (``time.time``).
        """
        for folder in list(self.folder.iterdir()):
            with self._lock:
                held = self._held.get(folder.name)
            if held is not None and held.path is None:
                continue
            with contextlib.suppress(OSError):
                if folder.lstat().st_mtime >= before:
                    continue
                if held is not None and held.path is not None:
                    self.forget(held.path)
                elif folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    folder.unlink()

    def _upload(self, text: object, session: str) -> _Held | None:
        if not isinstance(text, str):
            return None
        held = self._held.get(Path(text).parent.name)
        if held is None or held.path is None or str(held.path) != text:
            return None
        mine = held.owner == owner_of(session) and held.session in (None, session)
        return held if mine else None

    def _land(self, token: str, held: _Held, coming: Coming | None) -> None:
        with self._lock:
            self._bytes += held.size
            if coming is not None:
                counted = min(held.size, coming.reserved)
                coming.reserved -= counted
                self._bytes -= counted
            self._held[token] = held

    def _reserve(self, more: int, *, beside: int) -> None:
        with self._lock:
            if beside + self._bytes + more > self._limits.held_mb * MEGABYTE:
                raise VideoLimitError(
                    f"the page holds {self._limits.held_mb} MB of files at most; send less"
                )
            self._bytes += more


def path_of(given: object) -> object:
    """What the page says where a file is; None where it says nothing of the kind."""
    return given.get("path") if isinstance(given, dict) else None


def owner_of(session: str) -> str:
    """The visitor whose session this is: what stands before the dot."""
    return session.partition(".")[0]


def held_bytes(folder: Path) -> int:
    """Bytes of all files under ``folder``."""
    total = 0
    for place, _, names in os.walk(folder):  # which passes over what goes meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def clean_name(name: str) -> str:
    r"""The name of a file, as it may stand on a disk, on the page and in an address.

    >>> clean_name("C:\\clips\\my wave (1).mp4"), clean_name("../../x"), clean_name("..")
    ('my wave (1).mp4', 'x', 'clip')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(c for c in last if c.isprintable() and c not in _NOT_IN_NAMES).strip(" .")
    stem, dot, suffix = kept.rpartition(".")
    room = _NAME_BYTES - len(f"{dot}{suffix}".encode())
    if len(kept.encode()) > _NAME_BYTES:
        short = stem.encode()[: max(room, 0)].decode(errors="ignore")
        kept = f"{short}{dot}{suffix}" if short else "clip"
    return kept or "clip"


def _is_plain(path: Path) -> bool:
    """Whether it is a regular file, and no link on the way to it."""
    try:
        state = path.lstat()
        return stat.S_ISREG(state.st_mode) and path.resolve(strict=True) == path
    except (OSError, ValueError):
        return False
