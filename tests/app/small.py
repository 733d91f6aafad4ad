"""A page in this process, without a model: for what is decided before anything is computed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from a2m2_zoo.app.guard import Guard
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.serve import listening
from a2m2_zoo.app.store import Store


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    body = b'{"components": [], "dependencies": []}'
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def small_page(folder: Path, **limits: int) -> Iterator[tuple[str, Path]]:
    """The real guard, store and server; the page behind them says nothing.

    Yields:
        Its address, and the folder of what was sent.
    """
    folder.mkdir()
    store = Store(folder, AppLimits(**limits))
    guard = Guard(_answer, store=store, hosts=frozenset({"127.0.0.1"}))
    uvicorn: Any = import_module("uvicorn")
    with listening("127.0.0.1", 0) as channel:
        server = uvicorn.Server(
            uvicorn.Config(guard, log_level="error", lifespan="off", proxy_headers=False, ws="none")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [channel]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{channel.getsockname()[1]}", folder
        finally:
            server.should_exit = True
            thread.join()
