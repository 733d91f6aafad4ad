"""`a2m2 app` as a process of its own, and visitors who speak to it in plain HTTP."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

PATIENCE = 300.0  # seconds
SECRET = "kept-to-itself"  # whatever has this in its name is never to be opened by the server

# Runs in the server first: writes down every address it looks up or connects to. Gradio's own use of others
# is not ours to mend.
_AUDIT = """
import sys, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning, module="gradio")
warnings.filterwarnings("ignore", category=ResourceWarning)
def hook(event, args):
    if event == "open" and {secret!r} in str(args[0]):
        with open({log!r}, "a") as log:
            log.write(f"opened {{args[0]}}\\n")
    if event in ("socket.getaddrinfo", "socket.connect", "socket.sendto"):
        with open({log!r}, "a") as log:
            log.write(f"{{event}} {{args[1] if event != 'socket.getaddrinfo' else args[0]}}\\n")
sys.addaudithook(hook)
"""
# For servers of which something else is asked than to look at clips.
_REMEMBER = """
from remembered import remembered
seen = remembered()
seen.__enter__()
"""


class Server:
    """`a2m2 app` as a process of its own.

    Args:
        folder: For what is written down of it.
        arguments: Of the command.
        remembering: Whether it knows what other processes saw in the same clips: see ``remembered.py``.
    """

    def __init__(self, folder: Path, *arguments: str, remembering: bool = False) -> None:
        self.outgoing = folder / "outgoing.log"
        self.outgoing.touch()
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        (folder / "sitecustomize.py").write_text(
            _AUDIT.format(log=str(self.outgoing), secret=SECRET) + _REMEMBER * remembering
        )
        tests = Path(__file__).resolve().parents[1]
        known = os.environ.get("PYTHONPATH", "")
        places = os.pathsep.join(
            [str(folder), str(tests.parent), *[str(tests)] * remembering, known]
        )
        environment = {**os.environ, "PYTHONPATH": places, "TMPDIR": str(self.temporary)}
        self.errors = folder / "errors.log"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "error",
                    "-m",
                    "a2m2_zoo",
                    "app",
                    "--port",
                    "0",
                    *arguments,
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.errors.read_text()

    def close(self) -> None:
        self.process.send_signal(2)
        try:
            assert self.process.wait(PATIENCE) == 0, self.errors.read_text()
        finally:
            self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()


class Visitor:
    """Somebody who sends what a browser sends, or worse.

    Args:
        address: Of the page; a path below it may follow.
        cookie: Whether the page's cookie is kept.
    """

    def __init__(self, address: str, *, cookie: bool = True, origin: str | None = None) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self.host, self.port, self.base = parts.hostname, parts.port, parts.path.rstrip("/")
        self.session = secrets.token_hex(6)
        self.cookie = ""
        self.origin = origin
        if cookie:
            _, headers, _ = self.ask("GET", "/")
            self.cookie = headers["set-cookie"].partition(";")[0]
        self.config = json.loads(self.ask("GET", "/config")[2])

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request and its whole answer."""
        channel = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        if self.cookie:
            given.setdefault("cookie", self.cookie)
        if self.origin and method == "POST":
            given.setdefault("origin", self.origin)
        try:
            chunked = hasattr(body, "__next__")
            channel.request(method, self.base + path, body, given, encode_chunked=chunked)
            with channel.getresponse() as answer:
                found = {key.lower(): value for key, value in answer.getheaders()}
                return answer.status, found, answer.read()
        finally:
            channel.close()

    def post(self, path: str, body: object) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", path, json.dumps(body), content_type="application/json")

    def send(self, *files: Path, chunked: bool = False) -> tuple[int, Any]:
        """Upload files: the status, and their places or what was said."""
        line = secrets.token_hex(8)
        head = f'--{line}\r\nContent-Disposition: form-data; name="files"; filename='
        parts = [
            f'{head}"{file.name}"\r\n\r\n'.encode() + file.read_bytes() + b"\r\n" for file in files
        ]
        form = b"".join(parts) + f"--{line}--\r\n".encode()
        pieces = (form[i : i + 10_000] for i in range(0, len(form), 10_000))
        kind = f"multipart/form-data; boundary={line}"
        status, _, said = self.ask(
            "POST", "/gradio_api/upload", pieces if chunked else form, content_type=kind
        )
        return status, json.loads(said) if status == 200 else said.decode()

    def number(self, element: str, event: str = "click") -> int:
        """The number of what happens at ``event`` of the element with this id."""
        ids = [
            part["id"]
            for part in self.config["components"]
            if part["props"].get("elem_id") == element
        ]
        return next(
            rule["id"]
            for rule in self.config["dependencies"]
            if any(target[0] in ids and target[1] == event for target in rule["targets"])
        )

    def act(self, number: int, data: list[Any]) -> tuple[int, str]:
        """Have the page do something: the status, and everything it says until it is done."""
        body = {
            "data": data,
            "fn_index": number,
            "trigger_id": None,
            "session_hash": self.session,
            "event_data": None,
        }
        status, _, said = self.post("/gradio_api/queue/join", body)
        if status != 200:
            return status, said.decode()
        _, _, said = self.ask("GET", f"/gradio_api/queue/data?session_hash={self.session}")
        return status, said.decode()

    def add(self, name: str, *files: object) -> str:
        return self.act(self.number("class-add"), [name, list(files), 0])[1]

    def name_action(self, file: object) -> str:
        return self.act(self.number("ask"), [file, 0])[1]

    def load(self, file: object) -> str:
        return self.act(self.number("bank-load", "upload"), [file, 0])[1]

    def fetch(self, path: str) -> tuple[int, bytes]:
        status, _, said = self.ask("GET", f"/gradio_api/file={quote(path)}")
        return status, said

    def leave(self) -> None:
        """As a browser does: the channel that says it is there is closed."""
        channel = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        headers = {"cookie": self.cookie} if self.cookie else {}
        channel.request("GET", f"{self.base}/gradio_api/heartbeat/{self.session}", headers=headers)
        answer = channel.getresponse()
        answer.read(4)
        answer.close()
        channel.close()


def filed(path: object, **more: object) -> dict[str, object]:
    """A file as a browser names it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}
