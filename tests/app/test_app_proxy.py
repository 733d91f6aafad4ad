"""The page behind a real nginx and a real Caddy: a clip goes in, an answer comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import makers
import pytest
from app import proxies
from app.conftest import running_page
from app.serving import Server, Visitor, filed
from report import webdriver

pytestmark = pytest.mark.slow

_PUBLIC = "https://clips.example.org/clips"
_ORIGIN = "https://clips.example.org"


@dataclass
class Behind:
    """A page and the proxies before it; nginx's first is its public origin.

    Attributes:
        page: The page.
        ports: Of the proxies, by what they are called.
    """

    page: Server
    ports: dict[str, int]

    def visitor(self, name: str) -> Visitor:
        return Visitor(f"http://127.0.0.1:{self.ports[name]}/clips", origin=_ORIGIN)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not (proxies.find("nginx") or proxies.find("caddy")):
        pytest.skip("needs nginx or caddy on the path")
    arguments = ("--public-origin", _PUBLIC, "--max-upload-mb", "5", "--model", "protonet-lite0")
    with running_page(tmp_path_factory.mktemp("page"), *arguments) as running:
        yield running


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def behind(
    request: pytest.FixtureRequest, page: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    program = request.param
    if proxies.find(program) is None:
        pytest.skip(f"needs {program} on the path")
    kinds = proxies.NGINX if program == "nginx" else proxies.CADDY
    ports = dict(zip(kinds, proxies.free_ports(len(kinds)), strict=True))
    start = proxies.nginx if program == "nginx" else proxies.caddy
    with start(tmp_path_factory.mktemp(program), page.address, ports):
        yield Behind(page, ports)


def test_a_clip_goes_in_and_an_answer_comes_out(behind: Behind, tmp_path: Path) -> None:
    clips = {
        name: makers.draw_video(tmp_path / f"{name}.mp4", 20, speed=speed)
        for name, speed in (("right", 7), ("back", -7))
    }
    for number, kind in enumerate(behind.ports):
        visitor = behind.visitor(kind)
        assert visitor.config["root"] == _PUBLIC, kind
        assert "a2m2_visitor=" in visitor.cookie
        for name, clip in clips.items():
            status, places = visitor.send(clip, chunked=number % 2 == 1)
            assert status == 200, (kind, places)
            assert "Added 1 clip" in visitor.add(name, filed(places[0])), kind
        status, (place,) = visitor.send(clips["right"])
        said = visitor.name_action(filed(place))
        assert '<div class=\\"a-verdict\\"><bdi>right' in said, (kind, said[-500:])
        assert visitor.fetch(place) == (200, clips["right"].read_bytes())
        assert visitor.fetch("/etc/passwd")[0] == 404


def test_what_is_too_large_is_cut_and_other_sites_are_refused(
    behind: Behind, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes((5 << 20) + 1))
    for kind in behind.ports:
        visitor = behind.visitor(kind)
        for chunked in (False, True):
            assert visitor.send(large, chunked=chunked)[0] == 413, kind
        visitor.origin = "https://evil.example"
        assert visitor.send(makers.draw_video(tmp_path / "c.mp4", 4))[0] == 403, kind


def test_without_the_option_it_is_said_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs gradio: a2m2_zoo[app]")
    from app.small import small_page

    with small_page(tmp_path / "page") as (address, _):
        visitor = Visitor(address, origin=_ORIGIN)
        status, said = visitor.send(makers.draw_video(tmp_path / "c.mp4", 4))
        assert status == 403
        assert "--public-origin" in said


@pytest.mark.skipif(
    None in (webdriver.programs(), proxies.find("nginx")) or find_spec("gradio") is None,
    reason="needs gradio, nginx, chromium and chromedriver",
)
def test_a_browser_behind_nginx(tmp_path: Path) -> None:
    """Gradio's own script, which builds addresses from what the page says of itself."""
    (port,) = proxies.free_ports(1)
    ports = dict.fromkeys(list(proxies.NGINX)[:1], port)
    public = f"http://127.0.0.1:{port}/clips"
    (tmp_path / "page").mkdir()
    (tmp_path / "nginx").mkdir()
    arguments = ("--public-origin", public, "--model", "protonet-lite0")
    with (
        running_page(tmp_path / "page", *arguments) as page,
        proxies.nginx(tmp_path / "nginx", page.address, ports),
        webdriver.browser(tmp_path) as session,
    ):
        from app.test_app_browser import Visitor as AtBrowser

        visitor = AtBrowser(session, public + "/")
        visitor.open()
        visitor.add("right", makers.draw_video(tmp_path / "r.mp4", 20))
        visitor.says("#class-said", "Added 1 clip to right")
        visitor.add("back", makers.draw_video(tmp_path / "b.mp4", 20, speed=-7))
        visitor.says("#class-said", "Added 1 clip to back")
        visitor.give("#query", makers.draw_video(tmp_path / "q.mp4", 22))
        visitor.says("#answer", "among these classes")
        assert visitor.text(".a-verdict").startswith("right")
        assert visitor.complaints() == []
