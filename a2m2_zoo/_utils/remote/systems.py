"""The file systems behind addresses: facts of an object, what lies in a folder, the bytes of an object."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.remote.faults import SILENT_SECONDS, fault_of, passing
from a2m2_zoo.errors import A2M2Error, DependencyError, RemoteError, RemoteNotFoundError

T = TypeVar("T")

PIECE = (
    1 << 20
)  # bytes of a web server that are taken at once; with so many more, attempts are counted anew
_ASKED = 8 << 20  # bytes of a bucket that are asked for at once
_CONNECT_SECONDS = 10.0
_WAITS = (0.5, 2.0)  # seconds before an attempt is made again
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
# What servers say of a version, by the names that the file systems give it.
_VERSION = (
    "ETag", "etag", "generation", "md5Hash", "blob_id", "Content-MD5", "Digest", "LastModified",
    "last_modified", "Last-Modified", "updated", "mtime",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is known of an object without reading it.

    Attributes:
        size: Bytes; None where the server does not say.
        version: What changes when the object does; empty where the server says nothing of the kind.
        folder: It is a folder.
        ranges: Parts of it may be asked for, as far as is known.
    """

    size: int | None
    version: tuple[str, ...]
    folder: bool
    ranges: bool


class NoRanges(Exception):  # noqa: N818 - a fact about a server
    """The server sends the whole, whatever was asked for."""


def facts_of(path: RemotePath, check: Callable[[], object] = lambda: None) -> Facts:
    """What is known of an object, asked anew.

    Raises:
        RemoteError: It cannot be asked; ``RemoteNotFoundError`` where there is nothing.
        DependencyError: What such addresses need is not installed.
    """

    def ask() -> Facts:
        system = system_of(path.scheme)
        system.invalidate_cache()
        info = system.info(str(path))
        size, sizes = info.get("size"), ("size", info.get("size"))
        said = (sizes, *((name, info.get(name)) for name in _VERSION))
        version = tuple(f"{name}={value}" for name, value in said if value)
        return Facts(
            size=size,
            version=version if len(version) > (size is not None and size > 0) else (),
            folder=info.get("type") == "directory",
            ranges=bool(info.get("partial", True)) and size is not None,
        )

    return tried(path, ask, check)


def facts_or_none(path: RemotePath) -> Facts | None:
    """What is known of an object; None where there is nothing.

    Raises:
        RemoteError: It cannot be asked.
    """
    try:
        return facts_of(path)
    except RemoteNotFoundError:
        return None


def listed(folder: RemotePath) -> list[tuple[str, bool]]:
    """Names of what lies directly in a folder of a bucket and whether they are folders, sorted.

    Raises:
        RemoteError: It cannot be listed.
    """
    if folder.scheme in ("http", "https"):
        raise RemoteError(errno.ENOTDIR, "a web server has no folders: give its files", str(folder))

    def ask() -> list[tuple[str, bool]]:
        system = system_of(folder.scheme)
        system.invalidate_cache()
        found = {}
        for entry in system.ls(str(folder), detail=True):
            name = entry["name"].rstrip("/").rpartition("/")[2]
            if name and entry["name"].rstrip("/") != str(folder).partition("://")[2]:
                found[name] = entry.get("type") == "directory"
        return sorted(found.items())

    return tried(folder, ask)


def pieces_of(
    path: RemotePath, facts: Facts, start: int = 0, count: int | None = None
) -> Generator[bytes, None, None]:
    """The bytes from ``start``, ``count`` of them or all; more may come than the server has announced.

    Raises:
        NoRanges: A part was asked for, and the server does not give any.
    """
    system, address = system_of(path.scheme), str(path)
    end = facts.size if count is None else start + count
    if path.scheme not in ("http", "https"):
        for at in range(start, end or 0, _ASKED):
            yield system.cat_file(address, start=at, end=min(at + _ASKED, end or 0))
        return
    part = start > 0 or end != facts.size
    headers = {"Accept-Encoding": "identity"}
    if part:
        headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    with closing(system.open(address, "rb", block_size=0, size=1, headers=headers)) as stream:
        told = re.match(r"bytes (\d+)-", stream.r.headers.get("Content-Range", ""))
        if part and (stream.r.status != 206 or told is None or int(told[1]) != start):
            raise NoRanges
        while piece := stream.read(PIECE):
            yield piece


def check_version(path: RemotePath, facts: Facts, check: Callable[[], object]) -> None:
    """Refuse an object that is another by now.

    Raises:
        RemoteError: It is, or it cannot be asked.
    """
    now = facts_of(path, check)
    if (now.version, now.size) != (facts.version, facts.size):
        raise changed(path)


def tried(
    path: RemotePath,
    work: Callable[[], T],
    check: Callable[[], object] = lambda: None,
    done: Callable[[], int] = lambda: 0,
) -> T:
    """Do it, and again where that may help; ``done`` says how much is there already."""
    attempt, before = 0, 0
    while True:
        check()
        try:
            return work()
        except (A2M2Error, NoRanges) as error:
            if not isinstance(error, RemoteError) or not passing(error):
                raise
            fault = error
        except Exception as error:  # whatever a client raises is one line
            fault = fault_of(path, error)
            if not passing(fault):
                raise fault from None
        if done() >= before + PIECE:
            attempt, before = 0, done()
        if attempt == len(_WAITS):
            raise fault from None
        time.sleep(_WAITS[attempt])
        attempt += 1


def system_of(scheme: str) -> Any:
    """The file system for a scheme, one for all of a process, with its connections.

    Raises:
        DependencyError: What it needs is not installed.
    """
    return _system(scheme, os.getpid())


@cache
def _system(scheme: str, process: int) -> Any:  # a forked child has none of the threads
    try:
        import fsspec

        return fsspec.filesystem(scheme, use_listings_cache=False, **_options(scheme))
    except ImportError as error:
        known = "fsspec" if error.name == "fsspec" else "aiohttp"
        package = _PACKAGES.get(scheme, known)
        extra = f" {package}" if scheme in _PACKAGES else ""
        raise DependencyError(
            f"{scheme}:// needs {package}, which is not installed ({error}); pip install "
            f'"a2m2_zoo[remote]"{extra}'
        ) from error


def _options(scheme: str) -> dict[str, Any]:
    if scheme in ("http", "https"):
        import aiohttp

        limit = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=SILENT_SECONDS
        )
        # The environment has proxies, and ~/.netrc names and passwords.
        return {"client_kwargs": {"timeout": limit, "trust_env": True}}
    if scheme == "s3":
        once = {"total_max_attempts": 1, "mode": "standard"}
        bounds = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": SILENT_SECONDS}
        return {"config_kwargs": {**bounds, "retries": once}}
    return {}


def changed(path: RemotePath) -> RemoteError:
    """The error for an object that is another by now."""
    return RemoteError(
        errno.ESTALE, "it changed while it was read: read it when it is finished", str(path)
    )
