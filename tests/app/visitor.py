"""Somebody at the page, with a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report import webdriver


class Visitor:
    """Somebody at the page."""

    def __init__(self, browser: webdriver.Browser, address: str) -> None:
        self.browser, self._address = browser, address

    def open(self) -> None:
        body = {"url": self._address}
        self.browser._send("POST", f"{self.browser._session}/url", body)
        self.until("return !!document.querySelector('#class-add')")
        self.browser.console()  # what the page before it said at its end

    def complaints(self) -> list[str]:
        """Errors of the page, and whatever its policy refused."""
        found = self.browser.console()
        return [
            entry["message"]
            for entry in found
            if entry["level"] == "SEVERE" or "Content Security" in entry["message"]
        ]

    def until(self, script: str) -> Any:
        return webdriver.patiently(
            lambda: self.browser.run(script), lambda: (script, self.text("body"))
        )

    def text(self, place: str) -> str:
        script = "return (document.querySelector(arguments[0]) || {innerText: ''}).innerText"
        return str(self.browser.run(script, place))

    def says(self, place: str, words: str) -> str:
        self.until(
            f"return (document.querySelector('{place}')||{{innerText:''}}).innerText.includes({words!r})"
        )
        return self.text(place)

    def click(self, label: str) -> None:
        script = """const b = [...document.querySelectorAll('button')]
            .find(b => b.innerText.trim() === arguments[0] && b.checkVisibility() && !b.disabled);
            if (b) b.click(); return !!b"""
        webdriver.patiently(lambda: self.browser.run(script, label), lambda: label)

    def tab(self, label: str) -> None:
        script = """[...document.querySelectorAll('[role=tab]')]
            .find(t => t.innerText.trim() === arguments[0] && t.checkVisibility()).click()"""
        self.browser.run(script, label)

    def type(self, place: str, words: str) -> None:
        self.browser._send("POST", f"{self._element(place)}/value", {"text": words})

    def give(self, place: str, *files: Path) -> None:
        """Choose files, as in the dialog of the browser."""
        self.choose(place + " input[type=file]", *files)

    def choose(self, place: str, *files: Path) -> None:
        """As ``give``, for an input that is named itself."""
        text = "\n".join(map(str, files))
        self.browser._send("POST", f"{self._element(place)}/value", {"text": text})

    def add(self, name: str, *files: Path) -> None:
        self.type("#class-name textarea, #class-name input", name)
        self.give("#class-clips", *files)
        for file in files:
            self.says("#class-clips", file.stem)
        self.click("Add to class")

    def _element(self, place: str) -> str:
        wanted = {"using": "css selector", "value": place}
        found = self.browser._send("POST", f"{self.browser._session}/element", wanted)
        return f"{self.browser._session}/element/{next(iter(found.values()))}"
