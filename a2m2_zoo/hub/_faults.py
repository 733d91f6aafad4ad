"""What the Hub's client raises, in one line for people.

Version 1 of ``huggingface_hub`` stands on httpx, version 2 on httpx2. Neither is imported here: errors of
the transport are told apart by the names of their classes, which are the same in both.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from a2m2_zoo._utils.printable import without_secret

if TYPE_CHECKING:
    from a2m2_zoo.hub.source import Source

_PASSING = {408, 416, 429, 500, 502, 503, 504}
_LASTING = {"ProxyError", "UnsupportedProtocol", "LocalProtocolError"}


@cache
def client_errors() -> tuple[type[Exception], ...]:
    """All that the client raises where a file cannot be had.

    Its own errors, among them the base of the transport's errors, which its own derive from; what the
    system says; and the built-ins that it, its proxies (ImportError) and its Xet library raise bare.
    """
    from huggingface_hub import errors

    own = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (*own, OSError, ValueError, RuntimeError, ImportError)


def innermost(error: Exception) -> Exception:
    """The error that the client wrapped into one that says less."""
    from huggingface_hub.errors import HfHubHTTPError

    cause = error.__cause__
    wrapped = isinstance(cause, Exception) and not isinstance(error, HfHubHTTPError)
    return cause if wrapped and isinstance(cause, client_errors()) else error


def again(error: Exception) -> bool:
    """Whether another attempt may help."""
    if (status := _status(error)) is not None:
        return status in _PASSING
    kinds = _kinds(error)
    return ("TransportError" in kinds and not kinds & _LASTING) or _miscounted(error)


def from_scratch(error: Exception) -> bool:
    """Whether the bytes that came so far are in the way of the next attempt."""
    return _status(error) == 416 or _miscounted(error)


def explain(error: Exception, source: Source) -> tuple[str, bool]:
    """What went wrong and what to do; and whether the error's own text may be shown."""
    if isinstance(error, UnicodeEncodeError) or "LocalProtocolError" in _kinds(error):
        # Its text holds the header, and with it the token.
        return "the token of HF_TOKEN or `hf auth login` holds a character that none has", False
    return _answered(error, source) or _broken(error) or _cache(error) or _first_line(error), True


def _answered(error: Exception, source: Source) -> str | None:
    from huggingface_hub import errors

    hub, status = _host(), _status(error)
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return f"the repository is gated; accept its terms at {hub}/{source.repo_id} and {log_in}"
    if isinstance(error, errors.DisabledRepoError):
        return "the repository has been disabled"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such commit"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return "there is no such file at that commit"
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return f"there is no such repository, or it is private ({status}); check the name, {log_in}"
    if isinstance(error, errors.FileMetadataError):
        return f"what answers at {hub} is no Hub; check HF_ENDPOINT and the proxy"
    if status is None:
        return None
    return {
        403: "access was refused (403); the token's permissions do not cover it",
        416: "the Hub would not go on with a file that came in part (416)",
        429: f"too many requests (429); try again{_wait(error)}",
    }.get(
        status
    ) or f"the Hub {'failed' if status >= 500 else 'refused'} ({status}); try again later"


def _broken(error: Exception) -> str | None:
    kinds, said = _kinds(error), _first_line(error)
    if "UnsupportedProtocol" in kinds:
        return "the Hub's address begins with neither https:// nor http://; check HF_ENDPOINT"
    if "ConnectError" in kinds or "ConnectTimeout" in kinds:
        return f"{_host()} cannot be reached ({said}); check the network, the proxy and HF_ENDPOINT"
    if "TimeoutException" in kinds:
        return "the Hub fell silent; try again, with HF_HUB_DOWNLOAD_TIMEOUT=60 on a slow network"
    if "ProxyError" in kinds:
        return f"the proxy refused ({said}); check HTTPS_PROXY and NO_PROXY"
    if "TransportError" in kinds:
        return f"the connection broke ({said}); try again"
    if _miscounted(error):
        return "another number of bytes came than was announced; try again"
    if isinstance(error, (RuntimeError, OSError)) and not getattr(error, "errno", None):
        # What the Xet library says of whatever befell it.
        return (
            f"the transfer failed ({said}); try again, with HF_HUB_DISABLE_XET=1 if it fails again"
        )
    return None


def _cache(error: Exception) -> str | None:
    if not isinstance(error, OSError) or error.errno is None:
        return None
    from huggingface_hub import constants

    return (
        f"cannot write the cache {constants.HF_HUB_CACHE!r} ({error.strerror}); make room there or set "
        "HF_HOME to a folder that is writable and has room"
    )


def _status(error: Exception) -> int | None:
    response: Any = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _wait(error: Exception) -> str:
    response: Any = getattr(error, "response", None)
    seconds = response.headers.get("Retry-After", "")
    return f" in {seconds} seconds" if re.fullmatch(r"\d{1,6}", seconds) else " later"


def _kinds(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _miscounted(error: Exception) -> bool:
    """The client compares sizes, and says so in an OSError of no class of its own."""
    return type(error) is OSError and str(error).startswith("Consistency check failed")


def _host() -> str:
    """The Hub's address, without a name and password that may stand in it."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _first_line(error: Exception) -> str:
    """The error's own words, short."""
    return without_token(next(iter(str(error).splitlines()), "") or type(error).__name__, 200)


def without_token(said: str, most: int = 300) -> str:
    """One printable line without a token or the signature of an address, whoever put it there."""
    from huggingface_hub import get_token

    with suppress(OSError):  # the client's folder may be what is broken
        if token := get_token():
            said = said.replace(token, "***")
    return without_secret(said, most)
