"""What stands before the page: only the addresses it needs, only from itself, only so many bytes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from a2m2_zoo.app.limits import MEGABYTE, AppLimits
from a2m2_zoo.app.session import held_bytes

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

_READ = re.compile(
    r"/(|config|theme\.css|favicon\.ico|manifest\.json|(assets|static|svelte)/.*"
    r"|gradio_api/(startup-events|app_id|info|upload_progress|queue/data|heartbeat/[^/]+"
    r"|file=(?!https?:).*))"
)
_WRITE = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)/?")
_UPLOAD = "/gradio_api/upload"
_JSON_BYTES = 4 * MEGABYTE

#: The browser itself refuses whatever would leave the machine.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]


class Guard:
    """An ASGI application around another one.

    Other sites that are open in the visitor's browser can neither send to the page (their origin differs)
    nor read from it (the host is compared, against names that were made to point here).

    Args:
        app: The page.
        limits: How many bytes it takes.
        files: Where uploads lie.
        hosts: Names the page may be called by; None for any.
    """

    def __init__(
        self, app: App, *, limits: AppLimits, files: Path, hosts: frozenset[str] | None
    ) -> None:
        self._app, self._limits, self._files, self._hosts = app, limits, files, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Refuse a request in one line, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        refused = self._refusal(scope["method"], scope["path"], headers)
        if refused:
            await _refuse(send, *refused)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {key for key, _ in _HEADERS}
                kept = [h for h in message.get("headers", []) if h[0].lower() not in own]
                message = {**message, "headers": [*kept, *_HEADERS]}
            await send(message)

        await self._app(scope, receive, guarded)

    def _refusal(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return 421, "this page is not served under that name"
        if method in ("GET", "HEAD"):
            return None if _READ.fullmatch(path) else (404, "there is nothing here")
        if method != "POST" or not _WRITE.fullmatch(path):
            return 404, "there is nothing here"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "another site may not send to this page"
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "the length of what is sent must be announced"
        if path.rstrip("/") != _UPLOAD:
            return (413, "that is too much") if int(length) > _JSON_BYTES else None
        held = held_bytes(self._files)
        if held + int(length) > self._limits.held_mb * MEGABYTE:
            return 413, f"the page holds {self._limits.held_mb} MB of files at most; send less"
        return None


def _name(host: str) -> str:
    return (urlsplit(f"//{host}").hostname or "") if host else ""


async def _refuse(send: Send, status: int, text: str) -> None:
    body = text.encode()
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})
