"""The Hub's client kept quiet while it uploads, and its failures as one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR

from a2m2_zoo.errors import PublishError
from a2m2_zoo.hub._faults import client_errors, without_token
from a2m2_zoo.hub._guard import DistrustedError

SETTINGS = "https://huggingface.co/settings/tokens"


@contextmanager
def quiet_client() -> Iterator[list[str]]:
    """The client's own log left out, its bars kept to terminals, its warnings collected as lines."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    level, hidden = logging.get_verbosity(), are_progress_bars_disabled()
    notes: list[str] = []
    logging.set_verbosity(ERROR)
    if not hidden and (sys.stderr is None or not sys.stderr.isatty()):
        disable_progress_bars()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # of the client's use of its own parts
            yield notes
            notes += [without_token(str(warning.message)) for warning in caught]
    finally:
        logging.set_verbosity(level)
        if not hidden and are_progress_bars_disabled():
            enable_progress_bars()


@contextmanager
def publish_errors(repo_id: str, state: str, *, unsure: str | None = None) -> Iterator[None]:
    """Failures of the client as one line, with what is on the Hub.

    Args:
        repo_id: The repository.
        state: What is on the Hub, if it refused.
        unsure: The same if it may have done what was asked.
    """
    try:
        yield
    except PublishError:
        raise
    except failures() as error:
        said = f"{reason(error, repo_id)}; {unsure if unsure and unanswered(error) else state}"
        raise PublishError(said) from (None if _holds_token(error) else error)


def failures() -> tuple[type[Exception], ...]:
    """What the client raises; the last four for answers of another form than it expects."""
    return (*client_errors(), LookupError, TypeError, AttributeError, AssertionError)


def unanswered(error: BaseException) -> bool:
    """Whether the Hub may have done what was asked although the client saw a failure."""
    status = _status(error)
    return status >= 500 if status is not None else not isinstance(_cause(error), ValueError)


def reason(error: BaseException, repo_id: str) -> str:
    """What went wrong and what helps."""
    from huggingface_hub.errors import (
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
    )

    cause, status = _cause(error), _status(error)
    org = repo_id.partition("/")[0]
    known = {
        401: f"the Hub does not take the token (401); make one with write permission at {SETTINGS} and log "
        "in with `hf auth login`, or set HF_TOKEN",
        403: f"the token may not write to {repo_id} (403); take one with write permission for {org}",
        404: f"the Hub does not know {repo_id}, or hides it from this token (404)",
        412: f"somebody else changed {repo_id} meanwhile (412); look at what is there",
        429: "the Hub asks for fewer requests (429); wait some minutes",
    }
    if isinstance(cause, DistrustedError):
        return str(cause)
    if isinstance(cause, RemoteEntryNotFoundError):
        return "a file that was sent is not there (404)"
    if status in known:
        return known[status]
    if status is not None:
        said = without_token(getattr(cause, "server_message", None) or "")
        fault = "has a fault of its own" if status >= 500 else "refused"
        return f"the Hub {fault} ({status}{': ' + said if said else ''})"
    if _bad_token(cause):
        return "the token of HF_TOKEN or `hf auth login` holds a character that none has"
    if isinstance(cause, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish"
    if isinstance(cause, LocalTokenNotFoundError):
        return "there is no token for the Hub; log in with `hf auth login`, or set HF_TOKEN"
    if "HTTPError" in _kinds(cause):
        said = without_token(str(cause))
        return (
            f"the connection to the Hub broke ({type(cause).__name__}{': ' + said if said else ''})"
        )
    if isinstance(cause, OSError):
        return f"publishing stopped ({without_token(cause.strerror or str(cause))})"
    if "Invalid metadata in README.md" in str(cause):
        return f"the Hub refused the card ({without_token(str(cause).partition('README.md.')[2])})"
    return f"the Hub's answer is not what was expected ({without_token(str(cause))})"


def _cause(error: BaseException) -> BaseException:
    """The client wraps what went wrong, in uploading threads and where it looks into its cache."""
    plain = {"HTTPError", "ValueError"}
    while not plain & _kinds(error) and isinstance(error.__cause__, client_errors()):
        error = error.__cause__
    return error


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(_cause(error), "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _bad_token(error: BaseException) -> bool:
    cause = _cause(error)
    return isinstance(cause, UnicodeEncodeError) or "LocalProtocolError" in _kinds(cause)


def _holds_token(error: BaseException | None) -> bool:
    """Whether the chain shows the token: a refused header does, and a Hub may repeat it."""
    from huggingface_hub import get_token

    token = get_token()
    while error is not None:
        if _bad_token(error) or (token and token in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}
