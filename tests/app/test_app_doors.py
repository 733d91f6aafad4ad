"""No request, whatever file it names and wherever, makes a real page give, read or wait for it."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import makers
import pytest
from app.serving import SECRET, Server, Visitor, filed

from a2m2_zoo import SupportBank, build_bank

pytestmark = pytest.mark.slow

# What the answers say once a file was read. The page says none of it of a file that is not its visitor's.
_READ = ("Added", "Loaded", "among these classes", "<tbody>", "not a video", "not a bank", "why-")


@dataclass
class Scene:
    """A visitor who tries, and what could be got.

    Attributes:
        visitor: With two classes.
        places: Names of files, by kind.
        hits: Requests that a web server on this machine saw.
    """

    page: Server
    visitor: Visitor
    places: dict[str, str]
    hits: list[str]


@pytest.fixture(scope="module")
def scene(page: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("machine")
    video = makers.draw_video(folder / f"{SECRET}.mp4", 20)
    build_bank({"right": [video], "left": [video]}).save(folder / f"{SECRET}.safetensors")
    os.mkfifo(folder / f"{SECRET}.fifo")
    (folder / f"{SECRET}.svg").write_text("<svg>private</svg>")
    visitor, other = Visitor(page.address), Visitor(page.address)
    clips = [makers.draw_video(folder / f"{n}.mp4", 20, speed=s) for n, s in (("r", 7), ("b", -7))]
    sent = visitor.send(*clips)[1]
    for name, path in zip(("right", "back"), sent, strict=True):
        assert "Added 1 clip" in visitor.add(name, filed(path))
    ours = Path(visitor.send(clips[0])[1][0])
    theirs = other.send(clips[0])[1][0]
    claimed = other.send(clips[0])[1][0]
    other.name_action(filed(claimed))
    files = ours.parent.parent
    (files / "link.mp4").symlink_to(video)
    (ours.parent / "link.mp4").symlink_to(video)
    os.mkfifo(ours.parent / "pipe.mp4")
    (ours.parent / "beside.mp4").write_bytes(video.read_bytes())
    hits: list[str] = []

    class Canary(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    places = {
        "absolute": str(video),
        "a bank": str(folder / f"{SECRET}.safetensors"),
        "a drawing": str(folder / f"{SECRET}.svg"),
        "relative": os.path.relpath(video),
        "above": f"{ours.parent}/../../../../machine0/{video.name}",
        "above and back": f"{ours.parent}/../{ours.parent.name}/{ours.name}",
        "link": str(files / "link.mp4"),
        "link beside": str(ours.parent / "link.mp4"),
        "beside": str(ours.parent / "beside.mp4"),
        "pipe": str(folder / f"{SECRET}.fifo"),
        "pipe beside": str(ours.parent / "pipe.mp4"),
        "device": "/dev/zero",
        "terminal": "/dev/stdin",
        "environment": "/proc/self/environ",
        "descriptor": "/proc/self/fd/0",
        "root of the process": f"/proc/self/root{video}",
        "passwords": "/etc/passwd",
        "folder": str(files),
        "own folder": str(ours.parent),
        "drawn": f"{files.parent}/drawn/several-actions.mp4",
        "file address": video.as_uri(),
        "data address": "data:video/mp4;base64,AAAA",
        "another's": theirs,
        "another's, used": claimed,
        "twice a slash": f"/{ours}",
        "a slash behind": f"{ours}/",
        "zero": f"{video}\0",
        "long": "/x" * 3000,
        "empty": "",
        "dot": ".",
        "home": f"~/{video.name}",
        "share": "\\\\127.0.0.1\\share\\x.mp4",
        "pattern": f"{folder}/*.mp4",
        "protocol": f"concat:{video}|{video}",
    }
    with http.server.HTTPServer(("127.0.0.1", 0), Canary) as canary:
        thread = threading.Thread(target=canary.serve_forever, daemon=True)
        thread.start()
        web = f"http://127.0.0.1:{canary.server_port}/{SECRET}.mp4"
        places |= {"web address": web, "web address, no scheme": web.removeprefix("http:")}
        yield Scene(page, visitor, places, hits)
        canary.shutdown()
        thread.join()
    for link in (files / "link.mp4", ours.parent / "link.mp4", ours.parent / "pipe.mp4"):
        link.unlink(missing_ok=True)


def shapes(path: str) -> dict[str, Any]:
    """Ways in which a request can name a file."""
    return {
        "file": filed(path),
        "no meta": {"path": path},
        "with address": filed("", url=path),
        "address too": filed(path, url=path, is_stream=True, orig_name="x.mp4"),
        "inner": {"video": filed(path), "subtitles": None},
        "text": path,
    }


def nothing_was_got(scene: Scene) -> None:
    assert "opened" not in scene.page.outgoing.read_text()
    assert scene.hits == []
    assert scene.visitor.ask("GET", "/")[0] == 200


@pytest.mark.parametrize(
    ("element", "event"),
    [("class-add", "click"), ("ask", "click"), ("spot", "click"), ("bank-load", "upload")],
)
def test_no_event_reads_a_file_of_the_machine(scene: Scene, element: str, event: str) -> None:
    number = scene.visitor.number(element, event)
    got = []
    for kind, path in scene.places.items():
        # Every kind in the usual shape; every shape for a few.
        tried = shapes(path) if kind in ("absolute", "web address") else {"file": filed(path)}
        for shape, given in tried.items():
            data = {
                "class-add": ["third", [given], 0],
                "ask": [given, 0],
                "spot": [given, 0],
                "bank-load": [given, 0],
            }[element]
            status, said = scene.visitor.act(number, data)
            if status != 400 and ('"msg":"process_completed"' not in said or _got(said)):
                got.append((kind, shape, status, said[-300:]))
    assert got == []
    nothing_was_got(scene)


def _got(said: str) -> bool:
    return any(words in said for words in _READ)


@pytest.mark.parametrize(
    "door",
    [
        "/gradio_api/file={}",
        "/gradio_api/file/{}",
        "/file={}",
        "/file/{}",
        "/gradio_api/proxy={}",
        "/proxy={}",
        "/gradio_api/stream/{}",
        "/gradio_api/custom_component/{}",
        "/static/{}",
        "/assets/{}",
        "/svelte/{}",
        "/theme.css?{}",
        "/config/{}",
        "/gradio_api/deep_link?session_hash={}",
        "/?deep_link={}",
        "/gradio_api/upload_progress?upload_id={}",
        "/gradio_api/queue/data?session_hash={}",
        "/gradio_api/heartbeat/{}",
        "/gradio_api/call/add/{}",
        "/gradio_api/vibe-code/{}",
        "/gradio_api/dev/reload/{}",
        "/gradio_api/mcp/{}",
        "/monitoring/{}",
        "/pwa_icon/{}",
    ],
)
def test_no_address_gives_a_file_of_the_machine(scene: Scene, door: str) -> None:
    own = {kind: scene.visitor.ask("GET", door.format(""))[2] for kind in ("without",)}
    got = []
    for kind, path in scene.places.items():
        for spelled in {quote(path), quote(path, safe=""), quote(quote(path))}:
            status, _, said = scene.visitor.ask("GET", door.format(spelled))
            harmless = said == own["without"] or b'"config"' in said or b"upload" in door.encode()
            if status >= 500 or (status < 400 and not harmless and b"gradio" not in said):
                got.append((kind, status, said[:200]))
    assert got == []
    nothing_was_got(scene)


@pytest.mark.parametrize(
    "door",
    [
        "run/add",
        "api/add",
        "call/add",
        "call/v2/add",
        "component_server",
        "process_recording",
        "stream/1",
        "vibe-edit",
        "vibe-code",
        "run-history/connect",
        "file=/etc/passwd",
        "proxy=http://127.0.0.1/",
    ],
)
def test_no_other_door_takes_anything(scene: Scene, door: str) -> None:
    for given in ({"data": [filed(scene.places["absolute"])], "session_hash": "a"}, []):
        assert scene.visitor.post(f"/gradio_api/{door}", given)[0] == 404
    nothing_was_got(scene)


def test_what_is_the_visitors_own_is_read(scene: Scene, tmp_path: Path) -> None:
    """The tests above could not fail if nothing were ever read."""
    clip = makers.draw_video(tmp_path / "own.mp4", 22)
    (place,) = scene.visitor.send(clip)[1]
    assert scene.visitor.fetch(place) == (200, clip.read_bytes())
    said = scene.visitor.name_action(filed(place, url="http://127.0.0.1:1/x.mp4"))
    assert _got(said)
    picture = said.partition('"path":"')[2].partition('"')[0]
    assert scene.visitor.fetch(picture)[1].startswith(b"\x89PNG")
    for other in (Visitor(scene.page.address), Visitor(scene.page.address, cookie=False)):
        assert other.fetch(place)[0] == other.fetch(picture)[0] == 404
        other.session = scene.visitor.session  # which does not help
        assert "no longer here" in other.name_action(filed(place))
    saved = scene.visitor.act(6, [0])[1]
    assert "bank.safetensors" in saved
    bank = tmp_path / "bank.safetensors"
    bank.write_bytes(scene.visitor.fetch(saved.partition('"path":"')[2].partition('"')[0])[1])
    assert SupportBank.load(bank).counts() == {"back": 1, "right": 1}
    (place,) = scene.visitor.send(bank)[1]
    assert "Loaded 2 classes" in scene.visitor.load(filed(place))
    secret = makers.draw_video(tmp_path / f"{SECRET}.mp4", 2)
    scene.visitor.send(secret)
    assert "opened" in scene.page.outgoing.read_text()  # the log does see it
    scene.page.outgoing.write_text("")


def test_a_number_that_nothing_has_is_a_bad_request(scene: Scene) -> None:
    assert scene.visitor.act(999, []) == (400, "the page has nothing by that number")
