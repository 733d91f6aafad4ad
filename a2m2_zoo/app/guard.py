"""What stands before the page: who may ask, under which name, and what every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, RedirectResponse

from a2m2_zoo.app.doors import Doors, Incoming, Refused
from a2m2_zoo.app.headers import (
    COOKIE,
    Headers,
    Malformed,
    PublicOrigin,
    new_visitor,
    read_headers,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from a2m2_zoo.app.store import Store

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
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-accel-buffering", b"no"),  # or nginx would keep answers back until there are many
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
_LINGER = 2.0  # seconds in which somebody who still sends is let read why that is in vain


class Guard:
    """An ASGI application around another one.

    Other sites that are open in the visitor's browser can neither send to the page (their origin differs)
    nor read from it (the host is compared, against names that were made to point here). Visitors are told
    apart by a cookie; one without it is no one in particular.

    Args:
        app: The page.
        store: Where uploads lie.
        hosts: Names the page may be called by, besides that of ``public``; None for any, which is safe behind
            a proxy alone: what comes from another origin than ``public`` can then change nothing.
        public: Where visitors open it if a proxy stands before it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: Store,
        hosts: Container[str] | None,
        public: PublicOrigin | None = None,
    ) -> None:
        self._app, self._doors = app, Doors(app, store)
        self._hosts, self._public = hosts, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request in one line, or hand on what is needed of it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer, receive = _Answer(send), _Heard(receive)
        try:
            headers = read_headers(scope["headers"])
            self._check_host(headers)
            if scope["method"] not in ("GET", "HEAD"):
                self._check_origin(headers)
            path = self._inner_path(scope["path"])
            if path is None:
                await RedirectResponse(scope["path"] + "/")(scope, receive, answer)
                return
            if path == "/" and not headers.visitor:
                answer.more.append((b"set-cookie", self._cookie()))
            await self._doors.open(Incoming(scope, receive, path, headers), answer)
        except (Malformed, Refused) as error:
            if not answer.begun:
                await _refuse(scope, receive, answer, error)

    def _check_host(self, headers: Headers) -> None:
        if self._hosts is None:
            return
        name = None if headers.host is None else headers.host.name
        public = None if self._public is None else self._public.origin.place
        if name is None or not (
            name in self._hosts or (public is not None and name == public.name)
        ):
            called = "no name" if name is None else f"the name {name}"
            raise Refused(
                421,
                f"this page is not served under {called}; open it by its address, or start it with "
                f"--allow-host {name or 'NAME'}",
            )

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.origin
        if origin is None:  # no browser sends to another site without it
            return
        if self._public is not None and origin.same(self._public.origin):
            return
        own = origin.place is not None and origin.place == headers.host
        if own and (self._public is None or self._hosts is not None):
            return
        hint = "" if self._public else "; behind a proxy, start the page with --public-origin"
        raise Refused(403, f"another site may not send to this page{hint}")

    def _inner_path(self, path: str) -> str | None:
        """The path below the public one, which proxies strip or not; None if it lacks its slash."""
        base = "" if self._public is None else self._public.path
        if base and path == base:
            return None
        return path[len(base) :] if base and path.startswith(base + "/") else path

    def _cookie(self) -> bytes:
        path = "/" if self._public is None else self._public.path or "/"
        secure = self._public is not None and self._public.origin.scheme == "https"
        made = f"{COOKIE}={new_visitor()}; Path={path}; HttpOnly; SameSite=Lax"
        return (made + "; Secure" * secure).encode()


class _Answer:
    """Sends on, with the headers that every answer carries."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.more: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            own = {key for key, _ in _HEADERS}
            kept = [h for h in message.get("headers", []) if h[0].lower() not in own]
            message = {**message, "headers": [*kept, *_HEADERS, *self.more]}
        await self._send(message)


class _Heard:
    """Receives, and knows whether more will come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.all = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.all = message["type"] != "http.request" or not message.get("more_body")
        return message


async def _refuse(
    scope: Scope, receive: _Heard, answer: _Answer, error: Malformed | Refused
) -> None:
    """Say why, and let somebody who is still sending read it before the connection is closed."""
    status = error.status if isinstance(error, Refused) else 400
    if scope["method"] in ("GET", "HEAD"):
        receive.all = True
    answer.more = [] if receive.all else [(b"connection", b"close")]

    async def lingering(message: Message) -> None:
        last = message["type"] == "http.response.body" and not receive.all
        await answer({**message, "more_body": True} if last else message)
        if last:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(_read_on(receive), _LINGER)
            await answer({"type": "http.response.body", "body": b""})

    await PlainTextResponse(str(error), status)(scope, receive, lingering)


async def _read_on(receive: _Heard) -> None:
    while not receive.all:
        await receive()
