"""What the clients of file systems raise, in one line for people, without a secret.

The clients (aiohttp, botocore, httpx, s3fs, gcsfs, huggingface_hub) are not imported here: their errors are
told apart by the names of their classes and the status in them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

from a2m2_zoo._utils.printable import without_secret
from a2m2_zoo._utils.remote.addresses import RemotePath, host_of
from a2m2_zoo.errors import RemoteError, RemoteNotFoundError

#: Seconds without a byte after which a server is given up.
SILENT_SECONDS = 20.0

_PASSING = {
    errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET, errno.EIO, errno.EAGAIN,
}  # fmt: skip
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
_UNREACHED = {
    "ClientConnectorError", "EndpointConnectionError", "ConnectError", "ConnectTimeout",
    "ConnectTimeoutError", "ConnectionRefusedError", "gaierror", "ConnectionTimeoutError",
}  # fmt: skip
_SILENT = {"TimeoutError", "FSTimeoutError", "ReadTimeoutError", "ReadTimeout", "TimeoutException"}
_BROKEN = {
    "ClientPayloadError", "ServerDisconnectedError", "ConnectionError", "IncompleteReadError",
    "ContentLengthError", "ResponseStreamingError", "ConnectionClosedError", "RemoteProtocolError",
    "ClientOSError",
}  # fmt: skip
_HELP = {
    "s3": "check AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do (for a "
    "public bucket: FSSPEC_S3_ANON=true)",
    "gs": "check GOOGLE_APPLICATION_CREDENTIALS and what it may do (for a public bucket: "
    "FSSPEC_GS_TOKEN=anon)",
    "hf": "log in with `hf auth login` or set HF_TOKEN",
}
_WEB = "put a name and a password for it into ~/.netrc"


def passing(fault: RemoteError) -> bool:
    """Whether another attempt may help."""
    return fault.errno in _PASSING


def fault_of(path: RemotePath, error: BaseException) -> RemoteError:
    """An error of a client as one of the package."""
    if isinstance(error, RemoteError):
        return error
    number, said = _explained(path, error)
    kind = RemoteNotFoundError if number == errno.ENOENT else RemoteError
    return kind(number, said, str(path))


def _explained(path: RemotePath, error: BaseException) -> tuple[int, str]:
    chain = list(_chain(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    status = next((found for one in chain if (found := _status(one))), None)
    why = f" ({status})" if status else ""
    help_ = _HELP.get(path.scheme, _WEB)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return (
            errno.ENOSPC,
            "no room for it in the folder for temporary files: make some, or set TMPDIR",
        )
    if names & _NO_CREDENTIALS:
        return errno.EACCES, f"there are no credentials: {help_}"
    if status in (401, 403) or (status is None and "PermissionError" in names):
        return errno.EACCES, f"access is refused{why}: {help_}"
    if status in (404, 410) or (status is None and "RepositoryNotFoundError" in names):
        private = f", or it is private{why}: {help_}" if path.scheme == "hf" else f"{why}: check it"
        return errno.ENOENT, f"there is nothing at this address{private}"
    if status == 429 or (status or 0) >= 500:
        return errno.EAGAIN, f"the server failed{why}: try again later"
    if status is not None and status >= 400:
        return errno.EINVAL, f"the server refused{why}: check the address"
    if names & _UNREACHED:
        what = host_of(str(path)) if path.scheme in ("http", "https") else "its server"
        return errno.EHOSTUNREACH, f"{what} cannot be reached: check the address and the network"
    if names & _SILENT:
        return errno.ETIMEDOUT, f"the server was silent for {SILENT_SECONDS:g} s: try again later"
    if names & _BROKEN:
        return errno.ECONNRESET, "the connection broke, again and again: try later"
    if "FileNotFoundError" in names:
        return errno.ENOENT, "there is nothing at this address: check it"
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return errno.EIO, f"it cannot be had ({without_secret(first, 200)}): check the address"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came from, the latest first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of any client."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found: Any = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None) or getattr(error, "status", None)
    return found if isinstance(found, int) and found >= 400 else None
