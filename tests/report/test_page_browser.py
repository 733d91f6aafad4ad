"""The comparison page in a real browser: what a person would see, at every width and in every light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import webdriver
from page_maker import comparison

from a2m2_zoo import Prediction
from a2m2_zoo.archive.hits import Hit
from a2m2_zoo.report.hits import write_hits
from a2m2_zoo.report.page import Explained, write_page
from a2m2_zoo.synthetic.write import write_picture

pytestmark = pytest.mark.skipif(
    webdriver.programs() is None,
    reason="needs chromium (on the path or in A2M2_CHROMIUM) and chromedriver",
)

LIGHT, DARK = 250, 30
WIDTHS = (1280, 768, 390, 320)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page as large and as hostile as they come, a small one, places of an archive, and an answer."""
    folder = tmp_path_factory.mktemp("page")
    light, dark = (grey(folder, level) for level in (LIGHT, DARK))
    made = comparison()
    first = made.class_names[0]
    odds = ((first, 0.75), (made.class_names[2], 0.25))
    example = Explained(light, f"{first}: a.mp4", first, first, odds, dark=dark)
    write_page(folder / "large.html", made, explained=[example])
    write_page(
        folder / "small.html", replace(comparison(5, hostile=False, shots=(1,)), failures=())
    )
    names = (*made.class_names[:6], "")
    hits = [
        Hit(f"{'x' * 90}/{n}.mp4", 1, 2.5, n, 0.5, str(i), 8, light) for i, n in enumerate(names)
    ]
    write_hits(folder / "hits.html", [*hits, replace(hits[0], poster=b"")], title=made.title)
    answer = Prediction(
        "a clip.mp4", first, dict(odds), 0.5, False, (0,), "m", 0.1, warnings=("short",)
    )
    notebook = f'<meta name="color-scheme" content="light dark">{answer._repr_html_()}'
    (folder / "answer.html").write_text(f"<!DOCTYPE html><body>{notebook}", encoding="utf-8")
    return folder


def grey(folder: Path, level: int) -> bytes:
    """A picture of the size that answers have, all of one grey."""
    picture = folder / "why.png"
    write_picture(picture, np.full((814, 1672, 3), level, np.uint8))
    return picture.read_bytes()


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


@pytest.mark.parametrize("name", ["large.html", "small.html", "hits.html"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_makes_the_page_scroll_sideways(
    session: webdriver.Browser, folder: Path, width: int, name: str
) -> None:
    session.screen(width)
    session.open(folder / name)
    assert session.run("return document.documentElement.scrollWidth") <= width
    beyond = session.run(
        """return [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll, details:not([open]), .defs, title'))
            .filter(e => e.tagName !== 'line' && e.tagName !== 'g')
            .map(e => [e, e.getBoundingClientRect()])
            .filter(([e, box]) => box.width && (box.left < -1 || box.right > innerWidth + 1))
            .map(([e, box]) => [e.tagName, e.textContent.slice(0, 40), box.left, box.right])"""
    )
    assert beyond == []
    too_wide = session.run(
        """return [...document.querySelectorAll('.who, .value, .facts dd, .key li, figcaption p')]
            .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 40))"""
    )
    assert too_wide == []
    # What scrolls by itself is wider than its place, or is shown whole; and can be scrolled to its end.
    cut = session.run(
        """return [...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1
            && !['visible', 'auto'].includes(getComputedStyle(e).overflowX)).map(e => e.className)"""
    )
    assert cut == []


def test_tables_and_matrices_are_whole(session: webdriver.Browser, folder: Path) -> None:
    """On a desk nothing of a page of few classes must be scrolled to; on a phone the table and pictures."""
    session.open(folder / "small.html")
    for width, expected in ((1280, []), (390, ["h-table"])):
        session.screen(width)
        wider = session.run(
            """return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)
                .map(e => e.getAttribute('aria-labelledby') || e.getAttribute('aria-label'))"""
        )
        assert wider == expected
        sizes = session.run(
            "return [...document.querySelectorAll('.heat')].map(e => [e.getBoundingClientRect().width,"
            " parseFloat(getComputedStyle(e).fontSize) * e.getBoundingClientRect().width"
            " / e.getAttribute('width')])"
        )
        assert len(sizes) == 2
        assert min(font for _, font in sizes) >= 9  # pixels, as they are seen
    session.screen(1280)
    session.open(folder / "large.html")
    table = "return [...document.querySelectorAll('#table .scroll, .card .scroll')]"
    assert session.run(f"{table}.filter(e => e.scrollWidth > e.clientWidth).length") == 0
    session.open(folder / "hits.html")
    shapes = session.run(
        "return [...document.querySelectorAll('.hit img, .blank')].map(e => e.getBoundingClientRect())"
        ".map(b => [Math.round(b.width), Math.round(b.height)].join())"
    )
    assert len(shapes) == 8
    assert len(set(shapes)) == 1


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


CONTRASTS = """
const numbers = colour => { const n = colour.match(/[\\d.]+/g).map(Number);
    return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
const luminance = c => { const [r, g, b] = c.map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
const canvas = matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
const ground = e => { for (; e; e = e.parentElement) {
    const found = numbers(getComputedStyle(e).backgroundColor); if (found) return found; }
    return canvas; };
const contrast = (a, b) => { const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + .05) / (low + .05); };
"""


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["large.html", "hits.html", "answer.html"])
def test_every_word_and_bar_stands_out_from_its_ground(
    session: webdriver.Browser, folder: Path, name: str, dark: bool
) -> None:
    session.screen(1280, dark=dark)
    session.open(folder / name)
    words, faint = session.run(
        CONTRASTS
        + """const words = [...document.querySelectorAll('body, body *')]
            .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
            .filter(e => e.tagName !== 'title' && !e.closest('.heat, defs'));
        const ink = e => numbers(getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color']);
        return [words.length, words.map(e => [e.textContent.slice(0, 30), contrast(ink(e), ground(e))])
            .filter(([text, found]) => found < 4.5)]"""
    )
    assert words > 5
    assert faint == []
    bars = session.run(
        CONTRASTS
        + """return [...document.querySelectorAll('rect.bar, td > div')].map(e => contrast(
            numbers(getComputedStyle(e)[e.tagName === 'rect' ? 'fill' : 'backgroundColor']),
            ground(e.parentElement)))"""
    )
    assert (name == "hits.html") == (bars == [])
    assert min(bars, default=3) >= 3


def test_a_picture_is_as_dark_as_its_page_and_light_on_paper(page: webdriver.Browser) -> None:
    level = """const [image] = document.images;
        try { await image.decode() } catch { return -1 }  // between two pictures
        const canvas = document.createElement('canvas'); const pen = canvas.getContext('2d');
        pen.drawImage(image, 0, 0); return pen.getImageData(5, 5, 1, 1).data[0]"""
    for dark, media, expected in ((False, "", LIGHT), (True, "", DARK), (True, "print", LIGHT)):
        page.screen(1280, dark=dark, media=media)
        shown = f"return (async () => {{ {level} }})()"
        webdriver.patiently(lambda: page.run(shown) == expected)  # noqa: B023


def test_words_are_large_enough_on_a_phone(page: webdriver.Browser) -> None:
    page.screen(390)
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
