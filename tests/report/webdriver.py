"""A few WebDriver commands over plain HTTP: a headless browser for the tests of the page."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

PATIENCE = 300.0
"""Seconds until something that should be there is missing: no matter of speed, a machine may be busy."""

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip
_Found = TypeVar("_Found")


def patiently(look: Callable[[], _Found], missing: Callable[[], object] = str) -> _Found:
    """What ``look`` finds once it finds anything; fails with what ``missing`` says when patience ends."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, missing()
        time.sleep(0.1)
    return found


def programs() -> tuple[str, str] | None:
    """Paths of the browser and its driver, or None where one is missing."""
    browser = os.environ.get("A2M2_CHROMIUM") or shutil.which("chromium")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One session of one browser."""

    def __init__(self, address: str, browser: str, profile: Path) -> None:
        self._address = address
        options = {"binary": browser, "args": [*_FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        started = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{started['sessionId']}"

    def open(self, page: Path) -> None:
        """Load a file and wait until it is there."""
        self._send("POST", f"{self._session}/url", {"url": page.as_uri()})

    def run(self, script: str, *args: object) -> Any:
        """The value that ``script`` returns in the page."""
        body = {"script": script, "args": list(args)}
        return self._send("POST", f"{self._session}/execute/sync", body)

    def console(self) -> list[dict[str, Any]]:
        """What the browser complained about since the last call."""
        found = self._send("POST", f"{self._session}/se/log", {"type": "browser"})
        return list(found)

    def screen(self, width: int, height: int = 800, *, dark: bool = False, media: str = "") -> None:
        """Be a screen of this width, light or dark, or a printer with ``media="print"``."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})

    def press_tab(self) -> None:
        """Press and release the Tab key."""
        for kind in ("keyDown", "keyUp"):
            key = {"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
            self._devtools("Input.dispatchKeyEvent", key)

    def picture(self, path: Path, *, whole: bool = True) -> Path:
        """A PNG of the page."""
        wanted = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
            wanted["clip"] = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        path.write_bytes(base64.b64decode(self._devtools("Page.captureScreenshot", wanted)["data"]))
        return path

    def close(self) -> None:
        """End the session and with it the browser."""
        self._send("DELETE", self._session)

    def _devtools(self, command: str, params: dict[str, Any]) -> Any:
        body = {"cmd": command, "params": params}
        return self._send("POST", f"{self._session}/goog/cdp/execute", body)

    def _send(self, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            self._address + path, data=data, method=verb, headers=headers
        )
        # No proxy that the environment names may come between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)["value"]
            raise RuntimeError(f"{path}: {said['error']}: {said['message']}") from None


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser whose files lie in ``folder``; it and its driver are gone afterwards."""
    found = programs()
    assert found is not None
    log = folder / "driver.log"
    with log.open("w") as out:
        driver = subprocess.Popen([found[1], "--port=0"], stdout=out, stderr=out, cwd=folder)
    try:
        session = Browser(f"http://127.0.0.1:{_port(log)}", found[0], folder / "profile")
        try:
            yield session
        finally:
            session.close()
    finally:
        driver.terminate()
        driver.wait(PATIENCE)


def _port(log: Path) -> int:
    def announced() -> str:
        lines = (
            one for one in log.read_text().splitlines() if "started successfully on port" in one
        )
        return next(lines, "")

    return int(patiently(announced, log.read_text).rstrip(".").rsplit(" ", 1)[1])
