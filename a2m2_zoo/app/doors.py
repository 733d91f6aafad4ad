"""The addresses of the page. What is not listed here is not there, whatever Gradio's next version serves.

Files come and go through this module alone: Gradio neither receives nor sends one, and no name of a file
reaches it that was not handed out here. What it is asked is written anew from the few fields it needs.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from a2m2_zoo.app.headers import Headers, Malformed
from a2m2_zoo.app.limits import MEGABYTE
from a2m2_zoo.app.store import ANYONE, Coming, clean_name
from a2m2_zoo.errors import VideoLimitError

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from a2m2_zoo.app.store import Store

_API = "/gradio_api/"
# No part of a path begins with a dot.
_STATIC = re.compile(
    r"/(config|theme\.css|favicon\.ico|manifest\.json"
    r"|(assets|static|svelte)/([\w@-][\w@.-]*/)*[\w@-][\w@.-]*"
    r"|gradio_api/(startup-events|app_id|info))?",
    re.ASCII,
)
_JSON_BYTES = 4 * MEGABYTE
_FORM_BYTES = MEGABYTE  # what a form has around its files
_DEEP = 20
_FILES = 200  # in one request
_HASH = re.compile(r"[\w-]{1,100}", re.ASCII)
# What a browser may show of what was sent. Anything else, a page above all, is only saved.
_SHOWN = re.compile(r"video/[\w.+-]+|image/(png|jpeg|gif|webp)")


class Refused(Exception):  # noqa: N818 - it is an answer
    """A request that is understood and not served; the message is one line."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Incoming:
    """A request.

    Attributes:
        scope: As the server gave it.
        receive: Its body.
        path: Its path on this page.
        headers: Its headers.
    """

    scope: Scope
    receive: Receive
    path: str
    headers: Headers


class Doors:
    """Answers requests, or asks the page.

    Args:
        app: The page.
        store: The visitors' files.
    """

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app, self._store = app, store
        self._secret = secrets.token_bytes(32)

    async def open(self, incoming: Incoming, send: Send) -> None:
        """Answer a request.

        Raises:
            Refused: There is nothing here, or not for this visitor, or it is too much.
            Malformed: It means nothing.
        """
        doors: dict[str, Callable[[Incoming, Send], Awaitable[None]]] = {
            "POST upload": self._upload,
            "POST queue/join": self._join,
            "POST cancel": self._cancel,
            "POST reset": self._reset,
            "GET queue/data": self._data,
            "GET upload_progress": self._progress,
        }
        method = "GET" if incoming.scope["method"] == "HEAD" else incoming.scope["method"]
        name = (
            incoming.path.removeprefix(_API).rstrip("/") if incoming.path.startswith(_API) else ""
        )
        door = doors.get(f"{method} {name}")
        if door is not None:
            await door(incoming, send)
        elif method == "GET" and name.startswith("file="):
            await self._file(incoming, incoming.path.removeprefix(f"{_API}file="), send)
        elif method == "GET" and name.startswith("heartbeat/"):
            session = self._session(incoming, name.removeprefix("heartbeat/"))
            await self._inside(incoming, send, path=f"{_API}heartbeat/{session}")
        elif method == "GET" and _STATIC.fullmatch(incoming.path):
            await self._inside(incoming, send, path=incoming.path)
        else:
            raise Refused(404, "there is nothing here")

    async def _inside(
        self, incoming: Incoming, send: Send, *, path: str, query: str = "", body: object = None
    ) -> None:
        """Ask the page, in words of our own."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = list(incoming.headers.plain)
        host = incoming.headers.host
        if host is not None:
            name = f"[{host.name}]" if ":" in host.name else host.name
            port = "" if host.port is None else f":{host.port}"
            headers.append((b"host", f"{name}{port}".encode()))
        if body is not None:
            length = str(len(content)).encode()
            headers += [(b"content-type", b"application/json"), (b"content-length", length)]
        scope = {
            **incoming.scope,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
        }
        said = body is None

        async def receive() -> Message:
            nonlocal said
            if said:
                return await incoming.receive()
            said = True
            return {"type": "http.request", "body": content, "more_body": False}

        await self._app(scope, receive, send)

    async def _upload(self, incoming: Incoming, send: Send) -> None:
        if not incoming.headers.kind.startswith("multipart/form-data"):
            raise Malformed("what is sent here must be a form with files")
        with self._store.receiving() as coming:
            try:
                kept = await self._keep_all(incoming, coming)
            except VideoLimitError as error:
                raise Refused(413, str(error)) from error
        await JSONResponse([str(path) for path in kept])(incoming.scope, incoming.receive, send)

    async def _keep_all(self, incoming: Incoming, coming: Coming) -> list[Path]:
        coming.reserve(incoming.headers.length or 0)
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await incoming.receive()
            total += len(message.get("body", b""))
            coming.reserve(total)
            return message

        scope = {**incoming.scope, "headers": [(b"content-type", incoming.headers.kind.encode())]}
        try:
            form = await Request(scope, counted).form(
                max_files=_FILES, max_fields=10, max_part_size=_FORM_BYTES
            )
        except ClientDisconnect:
            raise Refused(400, "it broke off") from None
        except (HTTPException, MultiPartException, ValueError, LookupError) as error:
            if isinstance(error, VideoLimitError):
                raise
            raise Malformed("what was sent is not a form with files") from None
        kept: list[Path] = []
        owner = self._owner(incoming)
        try:
            for part in form.getlist("files"):
                if not isinstance(part, UploadFile):
                    raise Malformed("what was sent is not a form with files")
                name, source = part.filename or "", part.file
                kept.append(await run_in_threadpool(self._store.keep, owner, name, source, coming))
        except BaseException:
            for path in kept:
                self._store.forget(path)
            raise
        finally:
            await form.close()
        return kept

    async def _join(self, incoming: Incoming, send: Send) -> None:
        given = await _read_json(incoming)
        session = self._session(incoming, given.get("session_hash"))
        data = given.get("data")
        if not isinstance(data, list):
            raise Malformed("'data' must be a list")
        body = {
            "session_hash": session,
            "fn_index": _number(given.get("fn_index")),
            "trigger_id": None if given.get("trigger_id") is None else _number(given["trigger_id"]),
            "data": self._safe(data, session),
            "event_data": None,
        }

        async def understood(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 500:
                raise Refused(400, "the page has nothing by that number")
            await send(message)

        await self._inside(incoming, understood, path=f"{_API}queue/join", body=body)

    async def _cancel(self, incoming: Incoming, send: Send) -> None:
        given = await _read_json(incoming)
        body = {
            "session_hash": self._session(incoming, given.get("session_hash")),
            "fn_index": _number(given.get("fn_index")),
            "event_id": str(given.get("event_id")),
        }
        await self._inside(incoming, send, path=f"{_API}cancel", body=body)

    async def _reset(self, incoming: Incoming, send: Send) -> None:
        body = {"event_id": str((await _read_json(incoming)).get("event_id"))}
        await self._inside(incoming, send, path=f"{_API}reset", body=body)

    async def _data(self, incoming: Incoming, send: Send) -> None:
        query = parse_qs(incoming.scope["query_string"].decode("latin-1"))
        session = self._session(incoming, query.get("session_hash", [""])[0])
        query_string = f"session_hash={session}"
        await self._inside(incoming, send, path=f"{_API}queue/data", query=query_string)

    async def _progress(self, incoming: Incoming, send: Send) -> None:
        # Gradio's script asks how far its own receiver is, which is not in use.
        answer = Response('data: {"msg": "done"}\n\n', media_type="text/event-stream")
        await answer(incoming.scope, incoming.receive, send)

    async def _file(self, incoming: Incoming, text: str, send: Send) -> None:
        path = self._store.readable(text, self._owner(incoming))
        if path is None:
            raise Refused(404, "that file is not here")
        kind = mimetypes.guess_type(path.name)[0] or ""
        shown = _SHOWN.fullmatch(kind) is not None
        answer = FileResponse(
            path,
            media_type=kind if shown else "application/octet-stream",
            filename=path.name,
            content_disposition_type="inline" if shown else "attachment",
            headers={"cache-control": "no-store"},
        )
        scope = {**incoming.scope, "headers": list(incoming.headers.plain)}
        try:
            await answer(scope, incoming.receive, send)
        except (OSError, RuntimeError):  # it was deleted just now
            raise Refused(404, "that file is not here") from None

    def _owner(self, incoming: Incoming) -> str:
        visitor = incoming.headers.visitor
        return self._digest(visitor) if visitor else ANYONE

    def _session(self, incoming: Incoming, given: object) -> str:
        """The name inside of a page that is open at a visitor: another visitor cannot say it."""
        if not isinstance(given, str) or not _HASH.fullmatch(given):
            raise Malformed("'session_hash' must be a short word")
        owner = self._owner(incoming)
        return f"{owner}.{self._digest(f'{owner}.{given}')}"

    def _digest(self, text: str) -> str:
        return hashlib.blake2b(text.encode(), key=self._secret, digest_size=16).hexdigest()

    def _safe(self, value: object, session: str, depth: int = 0) -> object:
        """A value without any name of a file, except of what this session sent."""
        if depth > _DEEP:
            raise Malformed("that is nested too deeply")
        if isinstance(value, list):
            return [self._safe(item, session, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        if not value.keys() & {"path", "url", "meta", "is_stream"}:
            return {key: self._safe(item, session, depth + 1) for key, item in value.items()}
        path = value.get("path")
        if not self._store.may_name(path, session):
            # A place where nothing is. The name stays, by which a clip that the page drew is known.
            path = str(self._store.folder / "none" / clean_name(str(path)))
        return {"path": path, "meta": {"_type": "gradio.FileData"}}


async def _read_json(incoming: Incoming) -> dict[str, Any]:
    if (incoming.headers.length or 0) > _JSON_BYTES:
        raise Refused(413, "that is too much")
    body = bytearray()
    while True:
        message = await incoming.receive()
        if message["type"] != "http.request":
            raise Refused(400, "it broke off")
        body += message.get("body", b"")
        if len(body) > _JSON_BYTES:
            raise Refused(413, "that is too much")
        if not message.get("more_body"):
            break
    try:
        given = json.loads(body)
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()  # lone surrogates, NaN
    except (ValueError, RecursionError):
        raise Malformed("what was sent is not JSON") from None
    if not isinstance(given, dict):
        raise Malformed("what was sent is not a JSON object")
    return given


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise Malformed("'fn_index' and 'trigger_id' must be whole numbers")
    return value
