"""From a source to a file on this machine: the package, the Hub's cache, then the network.

The files lie in the cache of ``huggingface_hub``, at a commit, so a warm cache asks nobody. The client
resumes, locks and logs in; here are the checks it does not make (size before, hash after; the form of every
answer in ``_guard``) and one line for everything that can go wrong.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR, WARNING
from pathlib import Path

from a2m2_zoo._utils.files import sha256_of
from a2m2_zoo.errors import CheckpointError, FetchError
from a2m2_zoo.hub._faults import again, client_errors, explain, from_scratch, innermost
from a2m2_zoo.hub._guard import OURS, DistrustedError, guard
from a2m2_zoo.hub.checkpoint import MAX_BYTES
from a2m2_zoo.hub.source import Source, checked

#: Seconds before the second and the third attempt. The client has retries of its own below these.
WAITS = (1.0, 3.0)
_SMALL = 64 << 20  # bytes of a file that is in git itself


def fetch(
    source: Source,
    *,
    root: Path,
    sha256: str | None = None,
    offline: bool | None = None,
    force: bool = False,
    name: str = "NAME",
) -> Path:
    """A file, from this machine where it is here and from the Hugging Face Hub where it is not.

    Private repositories are opened by the client's own means, ``hf auth login`` or ``HF_TOKEN``.

    Args:
        source: Where the file lies.
        root: The folder of files without a repository.
        sha256: Hash that a file must have that was fetched now. A file that was here is not read: whoever
            loads it compares.
        offline: Never use the network. ``HF_HUB_OFFLINE`` and ``TRANSFORMERS_OFFLINE`` forbid it too.
        force: Fetch again what is here already.
        name: What ``a2m2 models pull`` takes to get this file, for the messages.

    Raises:
        CheckpointError: ``source`` is not one: the name of a file, ``org/name``, 40 hex digits; or a link
            leads it out of ``root``.
        FetchError: The file is not here and cannot be fetched, or came with another hash.
    """
    if source.repo_id is None:
        return _beside(source, root)
    here = None if force else local(source, root=root)
    if here is not None:
        return here
    if reason := _forbidden(offline):
        raise FetchError(
            f"{source.file!r} of {source.repo_id} is not on this machine and the network is off ({reason}); "
            f"run `a2m2 models pull {name}` with a network, or put the file at {str(_place(source))!r}"
        )
    path, announced = _download(source, force=force)
    if sha256 is not None:
        compared(path, sha256, source=source, name=name)
    else:
        _as_announced(path, announced, source=source, name=name)
    return path


def is_there(file: str, repo_id: str, commit: str) -> bool:
    """Whether a repository has a file at a commit, which is not fetched; no wherever that cannot be known."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        guard()
        with _quiet():
            get_hf_file_metadata(hf_hub_url(repo_id, file, revision=commit), **OURS)
    except DistrustedError:
        return False
    except client_errors():
        return False
    return True


def _as_announced(path: Path, announced: str | None, *, source: Source, name: str) -> None:
    """Compare a file with what the Hub says of it: its sha256 if it is large, its blob's name in git if not.

    A commit pins both, so this is what the repository's owner committed.
    """
    if announced is not None and len(announced) == 64:
        compared(path, announced, source=source, name=name)
        return
    data = path.read_bytes() if path.stat().st_size <= _SMALL else b""
    blob = hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()
    if blob != announced:
        raise FetchError(
            f"{str(source)!r} is not what the Hub announced ({announced}); fetch it again with --force"
        )


def _beside(source: Source, root: Path) -> Path:
    """The path of a file without a repository, which must lie in its folder."""
    path = (root / checked(source).file).resolve()
    if not path.is_relative_to(root.resolve()):
        raise CheckpointError(
            f"the manifest's file {source.file!r} lies outside its folder; put it there"
        )
    return path


def compared(path: Path, sha256: str | None, *, source: Source, name: str = "NAME") -> str:
    """The hash of a file, which must be the announced one if there is one. Nothing is deleted.

    Raises:
        FetchError: It cannot be read, or has another hash; the way out is given.
    """
    found = file_sha256(path)
    if sha256 in (None, found):
        return found
    repair = f"run `a2m2 models pull {name} --force`, or delete {str(path)!r}"
    raise FetchError(
        f"{str(source)!r} has sha256 {found} where {sha256} was announced; it is damaged or was replaced: "
        + (repair if source.repo_id else "install the package again")
    )


def local(source: Source, *, root: Path) -> Path | None:
    """Where the file lies on this machine, or None; nobody is asked and nothing is written.

    Raises:
        CheckpointError: ``source`` is not one.
    """
    checked(source)
    if source.repo_id is None:
        path = root / source.file
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    # Not hf_hub_download(local_files_only=True), which may send requests of its own for its headers.
    found = try_to_load_from_cache(source.repo_id, source.file, revision=source.commit)
    return Path(found) if isinstance(found, str) else None


def file_sha256(path: Path) -> str:
    """Hash of a file that need not fit into memory.

    Raises:
        FetchError: It cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise FetchError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _forbidden(offline: bool | None) -> str | None:
    """Why the network must not be used. The client reads its variables once, at import."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if value := os.environ.get(name):
            if value.upper() in constants.ENV_VARS_TRUE_VALUES:
                return f"{name} is set"
            break
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE was set"
    return "offline=True" if offline else None


def _place(source: Source) -> Path:
    """Where the cache holds the file; one that is put there by hand is taken."""
    from huggingface_hub import constants

    assert source.repo_id is not None
    assert source.commit is not None
    folder = "models--" + source.repo_id.replace("/", "--")
    return Path(constants.HF_HUB_CACHE) / folder / "snapshots" / source.commit / source.file


def _download(source: Source, *, force: bool) -> tuple[Path, str | None]:
    """The file, and the hash that the Hub gave beforehand."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    assert source.repo_id is not None
    what = f"cannot fetch {source.file!r} of {source.repo_id} at {source.commit}"
    for wait in (*WAITS, None):
        try:
            guard()
            url = hf_hub_url(source.repo_id, source.file, revision=source.commit)
            with _quiet():
                facts = get_hf_file_metadata(url, **OURS)
                size = facts.size
                if size is not None and size > MAX_BYTES:
                    raise FetchError(
                        f"{source.file!r} of {source.repo_id} has {size:,} bytes; the limit is "
                        f"{MAX_BYTES:,} bytes"
                    )
                path = hf_hub_download(
                    source.repo_id,
                    source.file,
                    revision=source.commit,
                    force_download=force,
                    **OURS,
                )
            return Path(path), facts.etag
        except DistrustedError as refused:
            raise FetchError(f"{what}: {refused}") from refused
        except FetchError:
            raise
        except client_errors() as raised:
            error = innermost(raised)
            if wait is None or not again(error):
                why, quotable = explain(error, source)
                raise FetchError(f"{what}: {why}") from (error if quotable else None)
            force = force or from_scratch(error)
        time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's warnings, which show addresses with their signatures; errors say it all."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    if before == WARNING:
        logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
