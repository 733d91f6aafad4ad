"""The page's archive in a real browser: what is found is shown and plays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from app.serving import Server
from app.visitor import Visitor
from report import webdriver

from a2m2_zoo.synthetic import write_dataset

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("seen_once"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="needs gradio: a2m2_zoo[app]"),
    pytest.mark.skipif(
        webdriver.programs() is None,
        reason="needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver",
    ),
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of five actions."""
    folder = tmp_path_factory.mktemp("videos")
    write_dataset(folder, clips=2, seed=0, named=True, style="scene", studio=2)
    return folder


@pytest.fixture(scope="module")
def visitor(
    videos: Path, seen_once: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Visitor, Server]]:
    pytest.importorskip("lancedb")
    from a2m2_zoo.archive import Archive

    place = tmp_path_factory.mktemp("archive") / "videos"
    Archive.build(place, videos)
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, "--archive", str(place), remembering=True)
    with webdriver.browser(tmp_path_factory.mktemp("browser")) as browser:
        found = Visitor(browser, server.address)
        found.open()
        yield found, server
    server.close()
    assert list(server.temporary.glob("a2m2-app-*")) == []
    assert "Traceback" not in server.errors.read_text()


def test_what_is_found_is_shown_and_plays(
    visitor: tuple[Visitor, Server], videos: Path, tmp_path: Path
) -> None:
    page, _ = visitor
    page.tab("Archive")
    page.click("Search the archive")
    page.says("#archive-said", "There is no class")
    drawn = sorted((videos / "wave").glob("*.mp4"))
    example = tmp_path / "example.mp4"
    shutil.copyfile(drawn[0], example)
    page.add("wave", example)
    page.says("#class-said", "Added 1 clip to wave")
    page.click("Search the archive")
    page.says("#archive-said", "places found")
    first = page.until("return document.querySelector('.a-place')?.innerText")
    assert first.startswith("1. wave")
    assert drawn[0].name in first or drawn[1].name in first
    assert str(videos) not in page.text("body")  # names of files, and none of folders
    shown = "return [...document.querySelectorAll('.a-place img')].every(i => i.naturalWidth > 0)"
    assert page.until(shown)
    page.click("Play")
    playing = (
        "const v = document.querySelector('#archive-player video'); return !!v && v.readyState >= 2"
    )
    assert page.until(playing)
    assert page.complaints() == []


def test_a_video_that_is_gone_is_said_and_the_page_goes_on(
    visitor: tuple[Visitor, Server], videos: Path
) -> None:
    page, _ = visitor
    for path in videos.rglob("*.mp4"):
        path.unlink()
    page.click("Play")
    page.says("#archive-said", "the video is not on the machine that runs this page")
    page.click("Search the archive")
    page.says("#archive-said", "places found")
