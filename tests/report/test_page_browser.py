"""The comparison page in a real browser: what a person would see, at every width and in every light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import webdriver
from page_maker import comparison

from a2m2_zoo.report.page import Explained, write_page

pytestmark = pytest.mark.skipif(
    webdriver.programs() is None,
    reason="needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver",
)

WIDTHS = (1280, 768, 375, 320)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages: one as large and as hostile as they come, one small."""
    folder = tmp_path_factory.mktemp("page")
    picture = folder / "why.png"
    with av.open(str(picture), "w", format="image2") as container:
        stream = container.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 1672, 814, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.full((814, 1672, 3), 200, np.uint8), format="rgb24")
        for packet in (*stream.encode(frame), *stream.encode()):
            container.mux(packet)
    made = comparison()
    first = made.class_names[0]
    odds = ((first, 0.75), (made.class_names[2], 0.25))
    example = Explained(picture.read_bytes(), f"{first}: a.mp4", first, first, odds)
    write_page(folder / "large.html", made, explained=[example])
    write_page(
        folder / "small.html", replace(comparison(5, hostile=False, shots=(1,)), failures=())
    )
    return folder


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Browser]:
    with webdriver.browser(tmp_path_factory.mktemp("browser")) as session:
        yield session


@pytest.fixture
def page(session: webdriver.Browser, folder: Path) -> webdriver.Browser:
    """The large page, fresh, on a desktop screen."""
    session.screen(1280)
    session.open(folder / "large.html")
    return session


def test_nothing_runs_nothing_is_loaded_and_the_browser_has_no_complaint(
    page: webdriver.Browser,
) -> None:
    assert page.console() == []
    assert page.run("return document.scripts.length") == 0
    loaded = page.run(
        "return performance.getEntriesByType('resource').map(e => e.name.slice(0, 5))"
    )
    assert set(loaded) <= {"data:"}
    assert page.run("return document.images[0].naturalWidth") == 1672
    # Its own style sheet passed its own policy.
    assert page.run("return getComputedStyle(document.body).marginTop") == "0px"


def test_the_policy_holds_against_a_name_that_got_through(page: webdriver.Browser) -> None:
    refused = page.run(
        """return new Promise(done => {
            const refused = [];
            document.addEventListener('securitypolicyviolation',
                event => refused.push(event.effectiveDirective));
            const box = document.createElement('div');
            box.innerHTML = '<img src="http://127.0.0.1:9/x.png" onerror="document.title=1">'
                + '<b style="color:red">x</b><iframe src="data:text/html,x"></iframe>';
            document.body.append(box);
            setTimeout(() => done(refused), 300);
        })"""
    )
    assert {"img-src", "script-src-attr", "style-src-attr", "frame-src"} <= set(refused)
    assert page.run("return document.title") != "1"
    page.console()  # the refusals


@pytest.mark.parametrize("name", ["large.html", "small.html"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_makes_the_page_scroll_sideways(
    session: webdriver.Browser, folder: Path, width: int, name: str
) -> None:
    session.screen(width)
    session.open(folder / name)
    assert session.run("return document.documentElement.scrollWidth") <= width
    beyond = session.run(
        """return [...document.querySelectorAll('h1,h2,h3,p,li,dd,figcaption,.value,.who')]
            .filter(e => !e.closest('.scroll'))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.textContent.slice(0, 40))"""
    )
    assert beyond == []
    too_wide = session.run(
        """return [...document.querySelectorAll('.who, .value, .facts dd, .key li, figcaption p')]
            .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 40))"""
    )
    assert too_wide == []


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_are_drawn_as_long_as_they_claim(page: webdriver.Browser, width: int) -> None:
    page.screen(width)
    found = page.run(
        """return [...document.querySelectorAll('#shot-5 figure:first-of-type li.row')].map(row => {
            const track = row.querySelector('.track').getBoundingClientRect();
            const bar = row.querySelector('rect').getBoundingClientRect();
            return [parseFloat(row.querySelector('.value').textContent), bar.width / track.width,
                track.width, row.querySelector('rect').getAttribute('width')];
        })"""
    )
    assert len(found) == 14
    for said, drawn, room, given in found:
        assert 100 * drawn == pytest.approx(float(given[:-1]), abs=150 / room)
        assert 100 * drawn == pytest.approx(said, abs=0.06 + 150 / room)
        assert room > 0.4 * min(width, 1088) - 40


def test_rows_do_not_run_into_each_other(page: webdriver.Browser) -> None:
    for width in WIDTHS:
        page.screen(width)
        over = page.run(
            """return [...document.querySelectorAll('.row:not(.axis)')].filter(row => {
                const box = row.getBoundingClientRect();
                return [...row.querySelectorAll('.who, .value, .track')].some(part => {
                    const inner = part.getBoundingClientRect();
                    return inner.top < box.top - 1 || inner.bottom > box.bottom + 1;
                });
            }).length"""
        )
        assert over == 0
        assert page.run("return document.querySelectorAll('.row:not(.axis)').length") == 2 * 47 + 2


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_follow_the_reader(page: webdriver.Browser, dark: bool) -> None:
    page.screen(1280, dark=dark)
    paper, ink = page.run(
        """const s = getComputedStyle(document.body);
        return [s.backgroundColor, s.color].map(c => c.match(/\\d+/g).map(Number))"""
    )
    assert (sum(paper) < sum(ink)) == dark
    fills = page.run(
        "return [...document.querySelectorAll('.ref .bar, .heat text')]"
        ".map(e => getComputedStyle(e).fill)"
    )
    assert len(set(fills)) == 2  # the reference's bars, and the ink of the numbers


def test_words_are_large_enough_on_a_phone(page: webdriver.Browser) -> None:
    page.screen(375)
    small = page.run(
        """return [...document.querySelectorAll('main *, header *')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
            .filter(e => !['title', 'text'].includes(e.tagName) && !e.closest('details:not([open])'))
            .filter(e => parseFloat(getComputedStyle(e).fontSize) < 11)
            .map(e => e.textContent.slice(0, 30))"""
    )
    assert small == []
    links = page.run(
        "return [...document.querySelectorAll('nav a, summary')]"
        ".map(e => e.getBoundingClientRect().height)"
    )
    assert min(links) >= 24  # a finger's target, WCAG 2.2


def test_everything_that_scrolls_or_opens_is_reached_by_keyboard_in_order(
    page: webdriver.Browser,
) -> None:
    expected = page.run(
        "return [...document.querySelectorAll('a, summary, [tabindex]')]"
        ".map(e => e.tagName + e.getBoundingClientRect().top)"
    )
    page.run("window.scrollTo(0, 0); document.activeElement.blur()")
    reached = []
    for _ in expected:
        page.press_tab()
        reached.append(
            page.run(
                "const e = document.activeElement;"
                "return [e.tagName + (e.getBoundingClientRect().top), scrollY]"
            )
        )
    places = [
        (name.rstrip("0123456789.-"), float(name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) + scroll)
        for name, scroll in reached
    ]
    wanted = [
        (n.rstrip("0123456789.-"), float(n.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))) for n in expected
    ]
    assert [tag for tag, _ in places] == [tag for tag, _ in wanted]
    assert [top for _, top in places] == pytest.approx([top for _, top in wanted], abs=2)
    assert len(wanted) == 6 + 2 * 2 + 1 + 1 + 2  # links, matrices, table, picture, what opens


def test_the_receipt_opens_without_a_script(page: webdriver.Browser) -> None:
    shown = "return document.querySelector('#receipt pre').checkVisibility()"
    assert not page.run(shown)
    page.run("document.querySelector('#receipt summary').click()")
    assert page.run(shown)
    assert "</pre><b>" in page.run("return document.querySelector('#receipt pre').textContent")


def test_paper_is_white_without_links_and_nothing_is_cut(page: webdriver.Browser) -> None:
    page.screen(720, dark=True, media="print")
    assert (
        page.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert page.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    wide = page.run(
        """return [...document.querySelectorAll('table, .heat, .card img')]
            .map(e => [e.tagName, e.getBoundingClientRect().right])
            .filter(e => e[1] > innerWidth)"""
    )
    assert wide == []
