"""A folder's worth of files to a repository of the Hub: one commit, read back byte by byte before it counts.

The token is the one that ``hf auth login`` keeps or ``HF_TOKEN`` holds. It is never an argument and never in
a message.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._utils.files import sha256_of
from a2m2_zoo.errors import ArgumentError, PublishError
from a2m2_zoo.hub._client import (
    SETTINGS,
    failures,
    publish_errors,
    quiet_client,
    reason,
    unanswered,
)
from a2m2_zoo.hub._guard import OURS, guard, is_commit
from a2m2_zoo.hub.source import is_repository

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

CARD, CONFIG, MODEL = "README.md", "config.json", "model.safetensors"


@dataclass(frozen=True)
class Bundle:
    """What a repository is to hold.

    Attributes:
        repo_id: ``org/name``.
        files: Name in the repository → the content, or the file that has it.
        sha256: Name → hash of the content.
    """

    repo_id: str
    files: Mapping[str, bytes | Path]
    sha256: Mapping[str, str]

    def size(self, name: str) -> int:
        """Bytes of a file."""
        content = self.files[name]
        return len(content) if isinstance(content, bytes) else content.stat().st_size


@dataclass(frozen=True)
class Uploaded:
    """A commit that was read back and is what was sent.

    Attributes:
        commit: Its 40 hex digits.
        url: Where people see it.
        notes: What the Hub had to say.
    """

    commit: str
    url: str
    notes: tuple[str, ...]


def check_repository(repo_id: str) -> None:
    """Refuse what cannot be a repository.

    Raises:
        ArgumentError: It does not read ``org/name``, or the Hub would not take it.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
        sound = is_repository(repo_id)
    except HFValidationError:
        sound = False
    if not sound:
        raise ArgumentError(
            f"{repo_id!r} cannot be a repository; expected ORG/NAME of letters, digits, '-', '_' and '.'"
        )


def upload(bundle: Bundle, *, private: bool = False, message: str | None = None) -> Uploaded:
    """Make the repository where it is missing, commit the files at once, read each back and compare.

    Args:
        bundle: The files.
        private: Whether a new repository is private; one that exists stays as it is.
        message: Of the commit.

    Raises:
        ArgumentError: The repository's name cannot be one.
        PublishError: It failed; the message says what is on the Hub now.
    """
    check_repository(bundle.repo_id)
    with quiet_client() as notes, _connected() as api:
        with publish_errors(bundle.repo_id, "nothing was changed on the Hub"):
            guard()
        before = _repository(api, bundle.repo_id, private=private)
        commit = _commit(api, bundle, before, message or f"Publish {bundle.repo_id}")
        _read_back(api, bundle, commit)
        url = f"{api.endpoint}/{bundle.repo_id}/tree/{commit}"
    return Uploaded(commit, url, tuple(notes))


def digest(content: bytes | Path) -> str:
    """sha256 of content or of a file's."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return sha256_of(content)


def _repository(api: HfApi, repo_id: str, *, private: bool) -> ModelInfo:
    """The repository as it is; made first where it is missing."""
    from huggingface_hub.errors import RepositoryNotFoundError

    nothing = "nothing was changed on the Hub"
    found = None
    with publish_errors(repo_id, nothing):
        try:
            found = api.model_info(repo_id)
        except RepositoryNotFoundError as error:
            if error.response.status_code == 401:
                raise
    if found is None:
        unsure = f"whether {repo_id} was made, without files yet, is not known; publish again"
        with publish_errors(repo_id, nothing, unsure=unsure):
            api.create_repo(repo_id, private=private, exist_ok=True)
        with publish_errors(repo_id, f"{repo_id} was made and has no files yet; publish again"):
            found = api.model_info(repo_id)
    if private and not found.private:
        raise PublishError(
            f"{repo_id} is public and was to be private; no file was sent; make it private in its settings, "
            "or publish to another repository"
        )
    _commit_of(found.sha, repo_id)
    library = found.library_name or getattr(found.card_data, "library_name", None)
    files = {sibling.rfilename for sibling in found.siblings or []}
    if files - {".gitattributes", CARD, "LICENSE"} and library != "a2m2_zoo":
        raise PublishError(
            f"{repo_id} holds something that is no model of a2m2_zoo; nothing was changed; publish to "
            "another repository, or empty that one"
        )
    return found


def _commit(api: HfApi, bundle: Bundle, before: ModelInfo, message: str) -> str:
    """The commit with exactly these files, made on top of what was looked at."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    there = {sibling.rfilename for sibling in before.siblings or []}
    # A receipt beside weights that it does not measure would mislead.
    stale = sorted(n for n in there - set(bundle.files) if is_receipt(n))
    operations: list[Any] = [CommitOperationDelete(name) for name in stale]
    for name, content in bundle.files.items():
        operations.append(CommitOperationAdd(name, content))
    state = f"nothing was committed to {bundle.repo_id}, last seen at {before.sha}; publish again"
    with publish_errors(bundle.repo_id, state):
        try:
            made = api.create_commit(
                bundle.repo_id, operations, commit_message=message, parent_commit=before.sha
            )
        except failures() as error:
            # An answer can be lost after the Hub did the work: what is there decides.
            if not unanswered(error) or (head := _head(api, bundle.repo_id)) == before.sha:
                raise
            if head is None:
                raise PublishError(
                    f"{reason(error, bundle.repo_id)}; whether {bundle.repo_id} has the new commit is not "
                    "known; publish again: what is there already is not sent twice"
                ) from error
            return head
    return _commit_of(made.oid, bundle.repo_id)


def is_receipt(name: str) -> bool:
    """Whether a file of a repository is a receipt that came with the weights."""
    return name.startswith("metrics") and name.endswith(".json")


def receipt_name(index: int) -> str:
    """What the receipt at an index is called in the repository."""
    return "metrics.json" if index == 0 else f"metrics-{index + 1}.json"


def _head(api: HfApi, repo_id: str) -> str | None:
    try:
        found = api.model_info(repo_id).sha
    except failures():
        return None
    return found if is_commit(found) else None


def _commit_of(value: object, repo_id: str) -> str:
    """A commit that the Hub names; the client makes paths of it."""
    if not is_commit(value):
        raise PublishError(
            f"the Hub names {str(value)[:80]!r} as the commit of {repo_id}, expected 40 hex digits; check "
            f"HF_ENDPOINT, and look at what is in {repo_id}"
        )
    return str(value)


def _read_back(api: HfApi, bundle: Bundle, commit: str) -> None:
    """Fetch every file at the commit, past every cache, and compare."""
    state = (
        f"commit {commit} is on the Hub, unchecked: do not use it; publish again, which sends only what is "
        "missing and checks all"
    )
    with publish_errors(bundle.repo_id, state), tempfile.TemporaryDirectory() as cache:
        for name, expected in bundle.sha256.items():
            path = api.hf_hub_download(bundle.repo_id, name, revision=commit, cache_dir=cache)
            if (found := digest(Path(path))) != expected:
                raise PublishError(
                    f"the Hub has other bytes for {name} at commit {commit} of {bundle.repo_id} (sha256 "
                    f"{found}, sent was {expected}); do not use that commit; publish again"
                )


@contextmanager
def _connected() -> Iterator[HfApi]:
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise PublishError(
            "there is no token for the Hub; nothing was changed; log in with `hf auth login`, or set "
            f"HF_TOKEN (make a token with write permission at {SETTINGS})"
        )
    yield HfApi(token=True, **OURS)
