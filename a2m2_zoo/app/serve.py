"""Running the page: on loopback unless told otherwise, with a folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo.app.engine import Engine
from a2m2_zoo.app.headers import Names, host_name
from a2m2_zoo.app.layout import MISSING, build, gradio, theme
from a2m2_zoo.app.limits import AppLimits
from a2m2_zoo.app.view import CSS
from a2m2_zoo.app.visits import Sessions
from a2m2_zoo.errors import ArgumentError, DependencyError

if TYPE_CHECKING:
    from a2m2_zoo.app.guard import Guard
    from a2m2_zoo.app.headers import PublicOrigin
    from a2m2_zoo.archive import Archive
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.model import Model

#: The first port that is tried where none is asked for.
PORT = 7860
_TRIED = 40
_SESSION = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")  # a page's name inside (doors.Doors)


def serve(
    model: Model,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    supports: SupportBank | None = None,
    limits: AppLimits | None = None,
    public: PublicOrigin | None = None,
    archive: Archive | None = None,
    allow: Sequence[str] = (),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until Ctrl-C, or until the process is asked to end (then raises ``SystemExit``).

    Args:
        model: The recogniser.
        host: Address to listen at.
        port: Port to listen at; 0 for any. None takes the first that is free from ``PORT`` on.
        supports: Classes that every visitor begins with.
        limits: What visitors may cost.
        public: Where visitors open the page if a proxy stands before it.
        archive: Videos in which visitors may look for their classes, and see what they find.
        allow: More names than the machine's own that the page may be called by.
        on_ready: Called with the page's address once it answers.

    Raises:
        DependencyError: Gradio is not installed.
        ArgumentError: The address cannot be listened at, or a name is none.
        BankError: The supports were encoded by another model.
    """
    limits = limits or AppLimits()
    hosts = names_of(host, allow, public=public)
    with (
        ending_orderly(),
        tempfile.TemporaryDirectory(prefix="a2m2-app-", ignore_cleanup_errors=True) as folder,
    ):
        engine = Engine(model, Path(folder), limits=limits, start=supports, archive=archive)
        sessions = Sessions(engine)
        app = application(engine, sessions, hosts=hosts, public=public)
        uvicorn: Any = import_module("uvicorn")
        with listening(host, port) as channel, _sweeping(sessions):
            config = uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=2,
                lifespan="on",
                proxy_headers=False,  # anybody can send those
                ws="none",
            )
            logging.getLogger("uvicorn.error").addFilter(_one_line)
            server = uvicorn.Server(config)
            obey = server.handle_exit

            def leave(number: int, frame: object) -> None:
                # What visitors still wait for is broken off, which is not worth a traceback.
                engine.end()
                logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
                obey(number, frame)

            server.handle_exit = leave
            if on_ready is not None:
                shown = f"[{host}]" if ":" in host else host
                on_ready(f"http://{shown}:{channel.getsockname()[1]}")
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[channel])


def application(
    engine: Engine,
    sessions: Sessions,
    *,
    hosts: Container[str] | None,
    public: PublicOrigin | None = None,
) -> Guard:
    """The page behind its guard, as an ASGI application.

    Raises:
        DependencyError: Gradio is not installed.
    """
    gr = gradio(engine.files)
    from a2m2_zoo.app.guard import Guard  # needs what comes with Gradio

    page: Any = build(gr, engine, sessions)
    app = import_module("fastapi").FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        root_path=None if public is None else public.url,
        server_name="127.0.0.1",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=f"{engine.limits.upload_mb}mb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(gr),
        css=CSS,
    )
    # Gradio checks the paths it is given only in a page that it launched itself. `Doors` lets none through
    # that was not handed out; this is the second lock.
    page.has_launched = True
    return Guard(app, store=engine.store, hosts=hosts, public=public)


def check_installed() -> None:
    """Refuse early what would only fail after the model was loaded.

    Raises:
        DependencyError: Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise DependencyError(MISSING)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def listening(host: str, port: int | None) -> Iterator[socket.socket]:
    """A socket that listens; closed afterwards.

    Raises:
        ArgumentError: The address is taken, or not one of this machine.
    """
    ports = range(PORT, PORT + _TRIED) if port is None else (port,)
    reason: object = None
    for number in ports:
        try:
            family, kind, *_, place = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            channel = socket.socket(family, kind)
        except (OSError, OverflowError) as error:
            reason = error
            break
        try:
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            channel.bind(place)
            channel.listen(128)
        except OSError as error:
            channel.close()
            reason = error.strerror or error
            continue
        with channel:
            yield channel
        return
    where = f"port {port}" if port is not None else f"ports {PORT} to {PORT + _TRIED - 1}"
    raise ArgumentError(
        f"cannot listen at {host!r}, {where}: {reason}; give another --port or --host"
    )


def _one_line(record: logging.LogRecord) -> bool:
    """Say of a request that broke off, mostly since its page was left, what and not where."""
    if record.exc_info:
        what = _SESSION.sub("a page that was left", repr(record.exc_info[1]))
        record.msg, record.args = f"a request broke off: {what}", ()
        record.exc_info = None
    return True


def names_of(
    host: str, allow: Sequence[str] = (), *, public: PublicOrigin | None = None
) -> Names | None:
    """What a page that listens at ``host`` may be called; None for anything.

    Args:
        host: As for ``serve``.
        allow: As for ``serve``.
        public: As for ``serve``.

    Raises:
        ArgumentError: One of ``allow`` is no name of a host.
    """
    more = {host_name(text) for text in allow}
    names = {"127.0.0.1", "localhost", "::1", host.lower(), *more}
    if is_loopback(host):
        return Names(frozenset(names), addresses=False)
    if public is not None and not more:
        return None  # proxies on other machines call it as they like
    own = {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Names(frozenset(names | own), addresses=True)


@contextlib.contextmanager
def ending_orderly() -> Iterator[None]:
    """Let what asks the process to end unwind it, so that uploads are deleted then, too."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    def hang_up(_: int, __: object) -> None:
        signal.raise_signal(signal.SIGTERM)  # which the server knows and obeys in order

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name, handler in (("SIGTERM", end), ("SIGHUP", hang_up)):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def _sweeping(sessions: Sessions) -> Iterator[None]:
    done = threading.Event()

    def sweep() -> None:
        while not done.wait(60):
            sessions.sweep()

    thread = threading.Thread(target=sweep, name="a2m2-sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)
