"""Where a file lies: a plain value that the manifest gives and ``fetch`` takes."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, to_builtins

from a2m2_zoo.errors import CheckpointError
from a2m2_zoo.hub._strict import Strict, strict

#: How names begin of networks that a repository describes, for transformers: ``hf:ORG/NAME@COMMIT``.
HF = "hf:"
_PART = "[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_REPOSITORY = rf"^(?!.*(\.\.|--)){_PART}/{_PART}$"
#: No part of the path is empty, one dot or two. JSON lies beside weights and says what they are.
_FILE = r"""^(?!(.*/)?\.{0,2}/)[^\\:*?"<>|]*[^\\:*?"<>|/]\.(safetensors|json)$"""

File = Annotated[
    str,
    Meta(
        pattern=_FILE,
        max_length=2000,
        description="the path of a .safetensors file inside its folder",
    ),
]
Repository = Annotated[str, Meta(pattern=_REPOSITORY, description="ORG/NAME")]
Commit = Annotated[
    str, Meta(pattern="^[0-9a-f]{40}$", description="a commit of 40 lower-case hex digits")
]


class Source(Strict, frozen=True):
    """Where a file lies.

    Attributes:
        file: Path inside the manifest's folder (of the package's own manifest: the package), or inside the
            repository; with forward slashes.
        repo_id: ``org/name`` on the Hugging Face Hub; None for a file in the manifest's folder.
        commit: 40 hex digits of the repository's commit; None for a file in the manifest's folder.
    """

    file: File
    repo_id: Repository | None = None
    commit: Commit | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, other in (("repo_id", self.commit), ("commit", self.repo_id)):
            if getattr(self, key) is None and other is not None:
                raise CheckpointError(f"{key} is missing")

    def __str__(self) -> str:
        return self.file if self.repo_id is None else f"{self.repo_id}@{self.commit}/{self.file}"


def checked(source: Source) -> Source:
    """The same, held to what a manifest may say.

    Raises:
        CheckpointError: A value that is no such path, repository or commit, by name.
    """
    return strict(to_builtins(source), Source, "source")


def is_repository(name: str) -> bool:
    """Whether it reads ``ORG/NAME`` and the Hub would take it.

    >>> is_repository("org/name"), is_repository("org/../name")
    (True, False)
    """
    return bool(re.fullmatch(_REPOSITORY, name))
