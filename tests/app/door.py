"""A guard with a page behind it, asked directly as a server would ask it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from a2m2_zoo.app.guard import Guard
from a2m2_zoo.app.headers import PublicOrigin
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.store import Store

LOCAL = frozenset({"127.0.0.1", "localhost"})


class Page:
    """Stands for Gradio: remembers what it was asked."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        self.received.append({**scope, "body": body})
        headers = [(b"x-frame-options", b"ALLOW")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"page"})


class Door:
    """A guard with a page behind it, asked directly."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: frozenset[str] | None = LOCAL,
        limits: AppLimits | None = None,
        public: str | None = None,
    ) -> None:
        self.page = Page()
        self.store = Store(folder, limits or AppLimits())
        origin = None if public is None else PublicOrigin.parse(public)
        self.guard = Guard(self.page, store=self.store, hosts=hosts, public=origin)
        self.headers: list[tuple[bytes, bytes]] = []

    def ask(
        self, path: str, method: str = "GET", *pieces: bytes, query: str = "", **headers: str
    ) -> int:
        given = {"host": "127.0.0.1:7860", **headers}
        raw = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in given.items()]
        return self.ask_raw(path, method, raw, *pieces, query=query)

    def ask_raw(
        self,
        path: str,
        method: str,
        headers: list[tuple[bytes, bytes]],
        *pieces: bytes,
        query: str = "",
    ) -> int:
        sent: list[dict[str, Any]] = []
        left = list(pieces or [b""])
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()  # as a server does until somebody leaves
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        self.headers = sent[0]["headers"]
        self.body = b"".join(m.get("body", b"") for m in sent[1:])
        return int(sent[0]["status"])

    def upload(self, data: bytes, *, step: int = 1 << 16, **headers: str) -> int:
        """Send one file in pieces, its length not announced unless ``headers`` do."""
        form = (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
            + data
            + b"\r\n--x--\r\n"
        )
        pieces = [form[i : i + step] for i in range(0, len(form), step)]
        kind = {"content_type": "multipart/form-data; boundary=x", **headers}
        return self.ask("/gradio_api/upload", "POST", *pieces, **kind)
