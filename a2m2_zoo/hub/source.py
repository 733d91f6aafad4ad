"""Where a file lies: a plain value that the manifest gives and ``fetch`` takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REPOSITORY = r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}"


@dataclass(frozen=True)
class Source:
    """Where a file lies.

    Attributes:
        file: Path inside the manifest's folder (of the package's own manifest: the package), or inside the
            repository; with forward slashes.
        repo_id: ``org/name`` on the Hugging Face Hub; None for a file in the manifest's folder.
        commit: 40 hex digits of the repository's commit; None for a file in the manifest's folder.
    """

    file: str
    repo_id: str | None = None
    commit: str | None = None

    def __str__(self) -> str:
        return self.file if self.repo_id is None else f"{self.repo_id}@{self.commit}/{self.file}"


def is_repository(name: str) -> bool:
    """Whether it reads ``ORG/NAME`` and the Hub would take it.

    >>> is_repository("org/name"), is_repository("org/../name")
    (True, False)
    """
    return bool(re.fullmatch(_REPOSITORY, name, re.ASCII)) and not re.search(r"\.\.|--", name)
