"""What goes wrong with LanceDB as one line, and LanceDB itself where it is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from a2m2_zoo.errors import A2M2Error, ArchiveError, DependencyError, SaveError

_FULL = ("no space left", "os error 28", "file too large", "os error 27", "quota", "os error 122")


@contextmanager
def reported(uri: str, *, writing: bool = False) -> Iterator[None]:
    """Errors of LanceDB as one line."""
    try:
        yield
    except (A2M2Error, KeyboardInterrupt):
        raise
    except (OSError, RuntimeError, ValueError) as error:
        said = words_of(error)
        if any(word in said.lower() for word in _FULL):
            raise SaveError(
                f"the archive {uri!r} cannot be written: no space is left; make room and go on with "
                "`a2m2 archive add` or `sync`: what is there is kept"
            ) from error
        verb, kind = ("written", SaveError) if writing else ("read", ArchiveError)
        raise kind(
            f"the archive {uri!r} cannot be {verb} ({said:.160}); look at it with `a2m2 archive verify`"
        ) from error


def words_of(error: BaseException) -> str:
    """What LanceDB says, in one line and without lines of its source."""
    return " ".join(str(error).split()).split(", /rustc/")[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what LanceDB warns of; we hold the archive's lock."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def damaged(uri: str, how: str) -> ArchiveError:
    """What to do about an archive that is not whole."""
    return ArchiveError(f"the archive {uri!r} is damaged: {how}; build it again from its videos")


def lancedb_or_say() -> Any:
    """LanceDB.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        import lancedb
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f'archives need LanceDB ({error}): pip install "a2m2_zoo[archive]"'
        ) from error
    return lancedb
