"""The page in a real browser against a real server: what a visitor does; nothing leaves the machine."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import makers
import pytest
from app.serving import Server
from app.visitor import Visitor
from report import webdriver

from a2m2_zoo import SupportBank

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gradio") is None, reason="needs gradio: a2m2_zoo[app]"),
    pytest.mark.skipif(
        webdriver.programs() is None,
        reason="needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver",
    ),
]

_UPLOAD_MB = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    running = Server(folder, "--max-upload-mb", str(_UPLOAD_MB), remembering=True)
    yield running
    running.close()
    assert list(running.temporary.glob("a2m2-app-*")) == []  # nothing that was sent is left
    for line in running.outgoing.read_text().splitlines():
        assert re.search(r"127\.0\.0\.1|localhost|::1|/dev/log", line) or line.endswith("None"), (
            line
        )
    said = running.errors.read_text()
    assert "Traceback" not in said, said
    # Gradio's words for a page that was left while it was being opened or waited for an answer.
    left = ("HTTPException(status_code=404", "KeyError('a page that was left')")
    broken = [line for line in said.splitlines() if "broke off" in line]
    assert all(any(word in line for word in left) for line in broken), said


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Browser]:
    camera = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webdriver, "_FLAGS", (*webdriver._FLAGS, *camera))
        with webdriver.browser(tmp_path_factory.mktemp("browser")) as session:
            yield session


@pytest.fixture
def visitor(browser: webdriver.Browser, server: Server, tmp_path: Path) -> Visitor:
    browser._devtools(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": True},
    )
    browser.screen(1360, 1000)
    found = Visitor(browser, server.address)
    found.open()
    return found


@pytest.fixture
def collected(visitor: Visitor, tmp_path: Path) -> Visitor:
    """A visitor with two classes."""
    visitor.add("right", *(makers.draw_video(tmp_path / f"r{i}.mp4", 20 + i) for i in range(2)))
    visitor.says("#class-said", "Added 2 clips to right")
    visitor.add("back <b>${1+1}{{x}}", makers.draw_video(tmp_path / "b.mp4", 20, speed=-7))
    visitor.says("#class-said", "Added 1 clip to back <b>${1+1}{{x}}")
    return visitor


def arrived(folder: Path, pattern: str) -> Path:
    return webdriver.patiently(lambda: list(folder.glob(pattern)), lambda: list(folder.iterdir()))[
        0
    ]


def test_from_clips_to_an_answer_to_a_bank_and_back(collected: Visitor, tmp_path: Path) -> None:
    collected.until("return document.querySelectorAll('.a-class').length === 2")
    assert (
        collected.browser.run(
            "return [...document.querySelectorAll('.a-thumbs img')].map(i => i.naturalWidth > 20)"
        )
        == [True] * 3
    )
    collected.give("#query", makers.draw_video(tmp_path / "q.mp4", 22))
    collected.says("#answer", "among these classes")
    assert collected.text(".a-verdict").startswith("right")
    collected.until(
        "const i = document.querySelector('#why img'); return i && i.naturalWidth > 1000"
    )
    collected.click("Save bank")
    saved = arrived(tmp_path, "*.safetensors")
    assert SupportBank.load(saved).counts() == {"back <b>${1+1}{{x}}": 1, "right": 2}
    collected.click("Remove all")
    collected.until("return document.querySelectorAll('.a-class').length === 0")
    collected.choose("input[type=file][accept*=safetensors]", saved)
    collected.says("#class-said", "Loaded 2 classes from bank.safetensors")
    collected.until("return document.querySelectorAll('.a-class').length === 2")
    collected.click("Remove")
    collected.until("return document.querySelectorAll('.a-class').length === 1")
    assert collected.complaints() == []


def test_a_broken_file_is_one_line_and_the_page_goes_on(collected: Visitor, tmp_path: Path) -> None:
    broken = makers.BROKEN["text.mp4"](tmp_path / "text.mp4")
    collected.add("third", broken)
    said = collected.says("#class-said", "not a video that can be read")
    assert said.startswith("text.mp4: not a video")
    assert "\n" not in said.strip()
    collected.give("#query", broken)
    collected.says("#query-said", "not a video that can be read")
    assert collected.text("#answer").strip() == ""
    collected.browser.console()  # the player's own complaint about that file
    # Again and again: a player that has only just appeared does not yet hear.
    collected.until(
        "document.querySelector('#query button[aria-label=Clear]')?.click();"
        "return !!document.querySelector('#query input[type=file]')"
    )
    collected.says("#answer", "will be here")
    assert collected.text("#query-said").strip() == ""
    collected.give("#query", makers.draw_video(tmp_path / "q.mp4", 22))
    collected.says("#answer", "among these classes")
    assert collected.text("#query-said").strip() == ""


def test_a_newcomer_sees_an_answer_in_one_click(visitor: Visitor) -> None:
    visitor.click("Try it with drawn clips")
    visitor.says("#answer", "The clip shows")
    visitor.until("return document.querySelectorAll('.a-class').length === 5")
    visitor.until("const i = document.querySelector('#why img'); return i && i.naturalWidth > 1000")
    visitor.tab("Longer video")
    visitor.click("Drawn video")
    visitor.until("return !!document.querySelector('#long-video video')")
    visitor.click("Find the actions")
    visitor.until("return document.querySelectorAll('#segments tbody tr').length > 1")
    visitor.until(
        "const i = document.querySelector('#timeline img'); return i && i.naturalWidth > 1000"
    )
    assert visitor.browser.run("return document.querySelectorAll('#segments tr.none').length") < 3
    visitor.browser.run(
        "const i = document.querySelector('#long-video-reject input[type=number]'); i.value = 1;"
        "for (const kind of ['input', 'change', 'blur']) i.dispatchEvent(new Event(kind, {bubbles: true}))"
    )
    visitor.click("Find the actions")
    visitor.until(  # no probability reaches 1
        "const all = [...document.querySelectorAll('#segments tbody tr')];"
        "return all.length > 0 && all.every(row => row.classList.contains('none'))"
    )
    assert visitor.complaints() == []


def test_a_clip_from_the_camera(visitor: Visitor) -> None:
    visitor.type("#class-name textarea, #class-name input", "beep")
    visitor.tab("Record")
    visitor.click("Click to Access Webcam")
    start = "button[aria-label='start recording']"
    visitor.until(f'return !!document.querySelector("{start}")')
    visitor.until("return document.querySelector('#class-camera video').currentTime > 0.5")
    visitor.browser.run(f'document.querySelector("{start}").click()')
    time.sleep(3)
    visitor.click("Stop")
    visitor.until("return !!document.querySelector('#class-camera video[src*=\"/file=\"]')")
    visitor.click("Add recording to class")
    visitor.says("#class-said", "Added 1 clip to beep")
    assert visitor.complaints() == []


def test_what_is_too_large_is_said(visitor: Visitor, server: Server, tmp_path: Path) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes((_UPLOAD_MB << 20) + 1))
    visitor.until("return !!document.querySelector('#query input[type=file]')")
    visitor.give("#query", large)
    visitor.says("body", f"exceed the maximum allowed size of {_UPLOAD_MB}.0 Mb")
    assert not list(server.temporary.rglob("large.mp4"))


def test_a_phone_and_a_dark_room(visitor: Visitor) -> None:
    for width, dark in ((375, False), (768, True)):
        visitor.browser.screen(width, 900, dark=dark)
        visitor.open()
        assert visitor.browser.run("return document.documentElement.scrollWidth") <= width
    paper = visitor.browser.run("return getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper)[:3])) < 200


def test_a_visitor_who_leaves_leaves_nothing(
    collected: Visitor, server: Server, tmp_path: Path
) -> None:
    assert list(server.temporary.glob("a2m2-app-*/files/visit-*"))
    collected.give("#class-clips", makers.draw_video(tmp_path / "unused.mp4", 20))
    collected.says("#class-clips", "unused")
    webdriver.patiently(lambda: list(server.temporary.rglob("unused.mp4")))
    collected.browser._send("POST", f"{collected.browser._session}/url", {"url": "about:blank"})

    def nothing_left() -> bool:
        visits = server.temporary.glob("a2m2-app-*/files/visit-*")
        return [*visits, *server.temporary.rglob("unused.mp4")] == []

    webdriver.patiently(nothing_left)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={secret}",
        "/gradio_api/file=/etc/hostname",
        "/gradio_api/file=../../../../etc/hostname",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/docs",
        "/gradio_api/openapi.json",
    ],
)
def test_no_file_of_the_machine_is_served(server: Server, tmp_path: Path, path: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(server.address + path.format(secret=secret), timeout=webdriver.PATIENCE)
    with caught.value as answer:
        assert answer.code in (403, 404)
        assert "secret" not in answer.read().decode().replace(str(secret), "")


def test_the_page_asks_nothing_of_other_machines(
    tmp_path_factory: pytest.TempPathFactory, server: Server
) -> None:
    # A browser of its own: the log of its network is complete once it has ended. No name resolves in it.
    log = tmp_path_factory.mktemp("own") / "net.json"
    flags = ("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", f"--log-net-log={log}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webdriver, "_FLAGS", (*webdriver._FLAGS, *flags))
        with webdriver.browser(tmp_path_factory.mktemp("own-browser")) as session:
            visitor = Visitor(session, server.address)
            visitor.open()
            visitor.click("Try it with drawn clips")
            visitor.says("#answer", "The clip shows")
            named = session.run(
                "return [...document.querySelectorAll('link, script, img, iframe, video, source')]"
                ".map(e => e.href || e.src).filter(u => u && !/^(data|blob):/.test(u))"
            )
            assert visitor.complaints() == []
    assert {urlsplit(url).hostname for url in named} == {"127.0.0.1"}
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    requests = [p for p in events if "url" in p and server.address in str(p.get("initiator"))]
    assert {urlsplit(p["url"].removeprefix("blob:")).hostname for p in requests} == {"127.0.0.1"}
    assert len(requests) > 20


def test_ctrl_c_ends_it_in_the_middle_of_a_search(
    collected: Visitor, server: Server, tmp_path: Path
) -> None:
    # The last test: the server is gone afterwards, and its fixture looks at what it left.
    collected.tab("Longer video")
    collected.give("#long-video", makers.draw_video(tmp_path / "long.mp4", 6000))
    collected.until("return !!document.querySelector('#long-video video')")
    collected.click("Find the actions")
    collected.says("#segments", "processing")
    server.close()
    assert "the page is being closed" in server.errors.read_text()
