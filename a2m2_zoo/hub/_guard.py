"""Answers of the Hub, or of whoever stands at HF_ENDPOINT, checked before the client acts on them.

The client makes file names of headers (``ETag``, ``X-Repo-Commit``), believes sizes, follows addresses and
waits as long as it is told. Here each of them must have the form that the Hub gives it. Requests of other
users of the client in this process are left alone: ours are known by their ``User-Agent``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from a2m2_zoo._utils.printable import printable
from a2m2_zoo._version import __version__
from a2m2_zoo.errors import FetchError
from a2m2_zoo.hub.checkpoint import MAX_BYTES

#: What the client's calls take so that their requests are known as ours.
OURS: dict[str, Any] = {"library_name": "a2m2_zoo", "library_version": __version__}

_ETAG = re.compile(r'(?:W/)?("?)([0-9a-f]{40}|[0-9a-f]{64})\1')
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SIZE = re.compile(r"[0-9]{1,15}")
_COMMIT_IN_PATH = re.compile(r"/resolve/([0-9a-f]{40})/")
_TALK = 32 << 20  # bytes of an answer that is no file
_INFLATED = 1100  # how many times deflate may blow up what was sent
_WAIT = 300  # seconds that the Hub may ask for; its own window is as long
_REDIRECTS = 20
_PORTS = {"http": 80, "https": 443}
_LOCK = threading.Lock()
_turns = threading.local()


class DistrustedError(FetchError):
    """An answer that no Hub gives; the client has not acted on it."""


def is_commit(value: object) -> bool:
    """Whether it is the full name of a commit."""
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None


def guard() -> None:
    """Check every answer to this package's requests from now on.

    Raises:
        FetchError: The installed client offers no way to.
    """
    from huggingface_hub import get_session, set_client_factory
    from huggingface_hub.utils import _http

    with _LOCK:
        if _watched(get_session()):
            return
        # The client makes a new session after some failures, so the one that is there is not enough.
        make: Callable[[], Any] | None = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)

        def made() -> Any:
            client = (make or _http.default_client_factory)()
            hooks = client.event_hooks
            client.event_hooks = {
                "request": [*hooks.get("request", ()), _request],
                "response": [*hooks.get("response", ()), _response],
            }
            return client

        set_client_factory(made)
        if not _watched(get_session()):
            raise FetchError(
                "the answers of the Hub cannot be checked with this version of huggingface_hub; install one "
                "that is at least 1 and below 3"
            )


def _watched(client: Any) -> bool:
    return _response in client.event_hooks.get("response", ())


def _ours(request: Any) -> bool:
    return str(request.headers.get("User-Agent", "")).startswith("a2m2_zoo/")


def _request(request: Any) -> None:
    """Before a request, redirected ones too, goes out."""
    if not _ours(request):
        return
    if "Authorization" in request.headers and not _goes_to_the_hub(str(request.url)):
        raise DistrustedError(
            f"the Hub sent the token to another host ({_host(str(request.url))}); it was not sent; check "
            "HF_ENDPOINT"
        )
    # Compressed answers could grow without bound, and a file's size would not be known.
    request.headers["Accept-Encoding"] = "identity"


def _response(response: Any) -> None:
    """Before the client sees an answer."""
    request = response.request
    if not _ours(request):
        return
    headers = response.headers
    for name in {name for name, value in headers.items() if not value.isprintable()}:
        del headers[name]
    url = str(request.url)
    _check_turns(response)
    _check_commit(headers, url)
    _check_etag(response)
    for name in ("X-Linked-Size", "Content-Length"):
        _check_size(name, headers.get(name))
    if "Location" in headers:
        _check_address(url, headers["Location"])
    _check_xet(response)
    _shorten_waits(headers)
    _bound(response)


def _check_turns(response: Any) -> None:
    turns = getattr(_turns, "count", 0) + 1 if 300 <= response.status_code < 400 else 0
    _turns.count = 0 if turns > _REDIRECTS else turns
    if turns > _REDIRECTS:
        raise DistrustedError(f"the Hub redirects without end (more than {_REDIRECTS} times)")


def _check_commit(headers: Any, url: str) -> None:
    commit = headers.get("X-Repo-Commit")
    if commit is None:
        return
    if not is_commit(commit):
        raise _refused("X-Repo-Commit", commit, "40 hex digits")
    wanted = _COMMIT_IN_PATH.search(urlsplit(url).path)
    if wanted and wanted[1] != commit:
        raise _refused("X-Repo-Commit", commit, f"{wanted[1]}, which was asked for")


def _check_etag(response: Any) -> None:
    """The client takes the first of two headers of an answer to HEAD as a file's name."""
    if response.request.method != "HEAD" or response.status_code >= 400:
        return
    headers = response.headers
    linked, plain = headers.get("X-Linked-Etag"), headers.get("ETag")
    if linked and not _ETAG.fullmatch(linked):
        raise _refused("X-Linked-Etag", linked, "40 or 64 hex digits")
    if plain and not _ETAG.fullmatch(plain):
        if not linked and response.status_code < 300:
            raise _refused("ETag", plain, "40 or 64 hex digits")
        del headers["ETag"]  # of a redirect itself, which has one of its own form


def _check_size(name: str, value: str | None) -> None:
    if value is None:
        return
    if not _SIZE.fullmatch(value):
        raise _refused(name, value, "a number of bytes")
    if int(value) > MAX_BYTES:
        raise DistrustedError(f"it has {int(value):,} bytes; the limit is {MAX_BYTES:,} bytes")


def _check_address(here: str, there: str) -> None:
    """Redirects lead to a host that is asked in the same way, or a safer one."""
    try:
        there = urljoin(here, there)
        scheme, host, _ = _origin(there)
    except ValueError as error:
        raise _refused("Location", there, "an address") from error
    if scheme not in _PORTS or not host or "@" in urlsplit(there).netloc:
        raise _refused("Location", there, "the address of a file, http:// or https://")
    if scheme == "http" and _origin(here)[0] == "https":
        raise _refused("Location", there, "https://, as before")


def _check_xet(response: Any) -> None:
    """The storage for large files: its library gets the token, and is told where to go, by headers."""
    headers = response.headers
    digest = headers.get("X-Xet-Hash")
    if digest is not None and not re.fullmatch("[0-9a-f]{64}", digest):
        raise _refused("X-Xet-Hash", digest, "64 hex digits")
    routes = [headers.get("X-Xet-Refresh-Route"), response.links.get("xet-auth", {}).get("url")]
    for route in filter(None, routes):
        if not _goes_to_the_hub(route):
            raise _refused("X-Xet-Refresh-Route", route, "an address of the Hub itself")
    storage = headers.get("X-Xet-Cas-Url")
    if storage is not None:
        _check_address(str(response.request.url), storage)


def _shorten_waits(headers: Any) -> None:
    for name, form in (("Retry-After", r"\s*(\d+)\s*"), ("ratelimit", r".*\bt\s*=\s*(\d+).*")):
        found = re.fullmatch(form, headers.get(name, ""))
        if found and (len(found[1]) > 9 or int(found[1]) > _WAIT):
            del headers[name]


def _bound(response: Any) -> None:
    """The body breaks off where it is longer than any that is meant."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "deflate"):
        raise _refused("Content-Encoding", coding, "none")
    request = response.request
    a_file = request.method == "GET" and "/api/" not in request.url.path
    most = MAX_BYTES if a_file and response.status_code < 300 else _TALK
    if coding in ("gzip", "deflate"):
        most = most // _INFLATED
    stream = response.stream
    # One that the client's HTTP library takes; which library that is depends on the client's version.
    base = next((k for k in type(stream).__mro__ if k.__name__ == "SyncByteStream"), object)

    class Bounded(base):  # type: ignore[misc, valid-type]
        def __iter__(self) -> Iterator[bytes]:
            left = most
            for part in stream:
                left -= len(part)
                if left < 0:
                    raise DistrustedError(f"the Hub sent more than {most:,} bytes")
                yield part

        def close(self) -> None:
            stream.close()

    response.stream = Bounded()


def _goes_to_the_hub(url: str) -> bool:
    """Whether the token may go there: to the Hub that the client is set to, or the one it came from."""
    from huggingface_hub import constants

    try:
        return _origin(url) in (_origin(constants.ENDPOINT), _origin("https://huggingface.co"))
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def _host(url: str) -> str:
    return printable(urlsplit(url).netloc.rpartition("@")[2])[:80]


def _refused(name: str, value: str, expected: str) -> DistrustedError:
    shown = printable(value.partition("?")[0])[:80]
    return DistrustedError(
        f"the Hub's answer is not to be trusted: {name} is {shown!r}, expected {expected}; check HF_ENDPOINT"
    )
