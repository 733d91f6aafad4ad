"""Paths that are addresses: of a bucket, of the Hub, of a web server.

An address is a path like any other: joined, sorted, shown. What asks it for its content gets that through
``systems`` and ``reading``. Credentials never stand in it, for it is shown in messages, records and receipts.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from a2m2_zoo._utils.arguments import READ
from a2m2_zoo._utils.printable import printable
from a2m2_zoo.errors import ArgumentError

if TYPE_CHECKING:
    _Base = Path
else:
    _Base = type(Path())  # before Python 3.12 ``Path`` itself has no subclasses

_ADDRESS = re.compile(rf"({'|'.join(READ)}):/+", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_QUERY = re.compile(r"\?[\w.~%-]*=")


class RemotePath(_Base):
    """A path whose text is an address; made by ``place``."""

    def __str__(self) -> str:
        text = "/".join(self.parts)
        found = _ADDRESS.match(f"{text}/")
        return f"{self.scheme}://{text[found.end() :]}" if found else text  # else a part of one

    def __fspath__(self) -> str:
        return str(self)

    @property
    def scheme(self) -> str:
        """``s3``, ``gs``, ``hf``, ``https`` or ``http``."""
        return self.parts[0].rstrip(":").lower()

    def absolute(self) -> RemotePath:
        """Itself: it begins at no folder."""
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        """Itself: there are no links."""
        return self

    def is_symlink(self) -> bool:
        """No: there are no links."""
        return False

    def exists(self, **_: Any) -> bool:
        """Whether there is something.

        Raises:
            RemoteError: It cannot be asked.
        """
        from a2m2_zoo._utils.remote.systems import facts_or_none

        return facts_or_none(self) is not None

    def is_dir(self, **_: Any) -> bool:
        """Whether it is a folder of a bucket; what a web server has are files.

        Raises:
            RemoteError: It cannot be asked.
        """
        from a2m2_zoo._utils.remote.systems import facts_or_none

        if self.scheme in ("http", "https"):
            return False
        found = facts_or_none(self)
        return found is not None and found.folder

    def is_file(self, **_: Any) -> bool:
        """Whether there is something that is no folder.

        Raises:
            RemoteError: It cannot be asked.
        """
        from a2m2_zoo._utils.remote.systems import facts_or_none

        found = facts_or_none(self)
        return found is not None and not found.folder

    def mkdir(self, *_: Any, **__: Any) -> None:
        """No.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EROFS, "it is an address, not a folder of this machine", str(self))

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """What lies directly in it.

        Raises:
            RemoteError: It cannot be listed.
        """
        from a2m2_zoo._utils.remote.systems import listed

        return (self / name for name, _ in listed(self))


def place(path: str | bytes | os.PathLike[Any]) -> Path:
    """A path, or the address that it is.

    Of an address that was a ``Path`` one slash is left. It counts unless there is a folder ``https:`` here: a
    file in that has such a name, too.

    Raises:
        ArgumentError: It is an address with a name, a password, a query or a fragment, in which secrets could
            be. The message shows none of it.

    >>> place("s3://bucket/a.mp4").parent / "b.mp4", place("a.mp4").name
    (RemotePath('s3://bucket/b.mp4'), 'a.mp4')
    """
    text = os.fsdecode(path)
    check_secrets(text)
    found = _ADDRESS.match(text)
    plain = found is None or (not found[0].endswith("//") and os.path.lexists(f"{found[1]}:"))
    return Path(text) if plain else RemotePath(text)


def check_secrets(text: str) -> None:
    """Refuse an address of whatever kind in which a secret could be.

    Raises:
        ArgumentError: It has a name, a password, a query or a fragment; the message shows none of it.
    """
    if not _SCHEME.match(text) or without_secrets(text) == text:
        return
    raise ArgumentError(
        f"the address {without_secrets(text)!r} was given with a name, a password or a query, which would "
        "stand in records and messages; give it without: credentials are taken from the environment and "
        "~/.netrc"
    )


def without_secrets(text: str) -> str:
    """An address without what could be a secret in it; any other text as it is.

    >>> without_secrets("https://me:word@example.org/a.mp4?sig=1"), without_secrets("s3://bucket/what?.mp4")
    ('https://example.org/a.mp4', 's3://bucket/what?.mp4')
    """
    if not _SCHEME.match(text):
        return text
    scheme, slashes, rest = re.split(r"(:/+)", text, maxsplit=1)
    host, slash, inside = rest.partition("/")
    if scheme.lower() != "hf":  # where it stands before a revision
        host = host.rpartition("@")[2]
    whole = f"{host}{slash}{inside}"
    if scheme.lower() not in ("s3", "gs"):  # whose names may hold anything
        whole = re.split(r"[?#]", whole, maxsplit=1)[0]
    elif found := _QUERY.search(whole):
        whole = whole[: found.start()]
    return f"{scheme}{slashes}{whole}"


def host_of(address: str) -> str:
    """The machine or the bucket of an address."""
    return printable(urlsplit(address).netloc.rpartition("@")[2])
