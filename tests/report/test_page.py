from __future__ import annotations

import base64
import hashlib
import re
import struct
import sys
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_maker import HOSTILE, METHODS, comparison

from a2m2_zoo.errors import ArgumentError, DependencyError, EpisodeError, SaveError
from a2m2_zoo.recognition.model import Model
from a2m2_zoo.report.charts import Axis, Point, nice_axis, scatter
from a2m2_zoo.report.examples import explained_episodes
from a2m2_zoo.report.heat import heat
from a2m2_zoo.report.markup import clean, esc
from a2m2_zoo.report.page import Explained, page_html, write_page
from a2m2_zoo.report.sections import best_baseline
from a2m2_zoo.report.style import CSS
from a2m2_zoo.synthetic import draw_named
from a2m2_zoo.zoo.load import load_model

pytestmark = pytest.mark.usefixtures("seen_once")

VOID = {"meta", "img", "source", "br", "hr", "link", "input"}
KNOWN = set(
    """html head meta title style body header main footer section article nav h1 h2 h3 h4 p b i small
    ul ol li dl dt dd div span bdi a figure figcaption table caption thead tbody tr th td
    details summary pre picture source img svg g defs pattern path rect line circle text""".split()  # noqa: SIM905
)
PARENT = {
    "li": {"ul", "ol"}, "tr": {"thead", "tbody"}, "td": {"tr"}, "th": {"tr"}, "dt": {"div"},
    "dd": {"div"}, "caption": {"table"}, "summary": {"details"}, "figcaption": {"figure"},
}  # fmt: skip


class Reader(HTMLParser):
    """A strict reading of the page: what is not closed, unknown or out of place is an error."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.hidden: list[bool] = []
        self.shown_drawings = 0
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        assert tag not in PARENT or self.open[-1] in PARENT[tag], (tag, self.open)
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        hidden = ("aria-hidden", "true") in attrs or any(self.hidden)
        self.shown_drawings += tag == "svg" and not hidden
        if tag not in VOID:
            self.open.append(tag)
            self.hidden.append(hidden)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> outside of a drawing"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.open)
        self.hidden.pop()

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, tag: str, look: str = "") -> list[dict[str, str]]:
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and (not look or look in attrs.get("class", "").split())
        ]


def png(noise: int = 0) -> bytes:
    """A small picture; with ``noise``, one of about that many bytes."""
    side = max(1, int((noise / 3) ** 0.5))
    rows = np.random.default_rng(0).integers(0, 256, (side, 3 * side), dtype=np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(raw)),
    ]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (*parts, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def explained(size: int = 0) -> list[Explained]:
    odds = ((HOSTILE[0], 0.7), ("jump", 0.2), ("\u202esit", 0.1))
    return [
        Explained(
            png(size), f'{truth}: clip "1".mp4', truth, HOSTILE[0], odds, (("Task", "3-way"),)
        )
        for truth in (HOSTILE[0], "jump")
    ]


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(comparison(), explained=explained())


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def test_the_page_is_well_formed_and_its_references_lead_somewhere(read: Reader) -> None:
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [a[key] for _, a in read.tags for key in ("aria-labelledby",) if key in a]
    targets += [a["href"].removeprefix("#") for a in read.of("a")]
    assert len(targets) > 15
    assert set(targets) <= set(ids)


def test_everything_seen_has_a_name_for_those_who_do_not_see_it(read: Reader) -> None:
    assert all("aria-labelledby" in figure for figure in read.of("figure"))
    assert len(read.of("figure")) == 2 * 5
    assert read.shown_drawings == 0  # what they say is said in words beside them
    assert all("scope" in cell for cell in read.of("th"))
    assert all(len(image["alt"]) > 40 for image in read.of("img"))
    scrolling = read.of("div", "scroll")
    assert len(scrolling) == 2 * 2 + 1 + 2
    for box in scrolling:  # reachable by keyboard, and said to be what it is
        assert box["tabindex"] == "0"
        assert box["role"] == "region"
        assert box.get("aria-label") or box.get("aria-labelledby")


def test_the_page_asks_nothing_of_anyone_and_runs_nothing(page: str, read: Reader) -> None:
    policy = next(m["content"] for m in read.of("meta") if "http-equiv" in m)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.search(r"url\((?!#)|@import|https?:", CSS)
    for tag, attrs in read.tags:
        assert not any(name.startswith("on") or name in ("style", "srcset") for name in attrs)
        for name in ("src", "href", "action", "data"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attrs)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_nothing_else(name: str, page: str, read: Reader) -> None:
    assert esc(clean(name)[:59]) in page
    titles = [attrs["title"] for _, attrs in read.tags if "title" in attrs]
    assert clean(name) in [*titles, *read.text]
    raw = {"<script", "<img src=x", "</title>-->", "\x00", "\udc80", "\u202e"}
    assert not [word for word in raw if word in page]


def test_pages_are_utf8_even_when_names_are_not(tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.html", comparison(), explained=explained())
    assert "跳ぶ" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8") == page_html(comparison(), explained=explained())


def test_bars_are_as_long_as_the_accuracies_and_in_their_order() -> None:
    made = comparison(shots=(5,))
    rects = [a for a in Reader(page_html(made)).of("rect") if a.get("height") == "18"]
    ranked = sorted(made.results, key=lambda r: -r.accuracy)
    assert [a["width"] for a in rects] == [f"{r.accuracy:.2f}%" for r in ranked]
    hatched = [a.get("fill") == "url(#hatch)" for a in rects]
    assert hatched == [r.status == "untrained" for r in ranked]
    assert sum(hatched) == 5


def test_intervals_and_differences_stand_where_they_belong() -> None:
    made = comparison(shots=(1,))
    read = Reader(page_html(made))
    for result, thick in zip(made.results, read.of("line", "whisker")[1::2], strict=True):
        assert float(thick["x1"][:-1]) == pytest.approx(
            result.accuracy - result.interval, abs=0.006
        )
        assert float(thick["x2"][:-1]) == pytest.approx(
            result.accuracy + result.interval, abs=0.006
        )
    others = [r.difference for r in made.results if r.difference]
    marks = [float(a["cx"][:-1]) for a in read.of("circle", "mark")]
    zero = float(read.of("line", "zero")[0]["x1"][:-1])
    slope = (marks[0] - marks[-1]) / (others[0].mean - others[-1].mean)
    assert slope > 0
    assert marks == pytest.approx([zero + slope * d.mean for d in others], abs=0.02)
    reach = [(float(a["x1"][:-1]), float(a["x2"][:-1])) for a in read.of("line", "thin")]
    assert [(b - a) / slope for a, b in reach] == pytest.approx([4.8] * 13, abs=0.03)


def test_untrained_heads_are_called_so_wherever_they_appear(page: str) -> None:
    text = re.sub(r"<[^>]+>", " ", page)
    untrained = [name for name, status in METHODS.items() if status == "untrained"]
    # Per shot in the bars, the differences and the table.
    assert text.count("parameters never trained") >= 2 * 3 * len(untrained)
    note = text[text.index("Never trained:") :][:400]
    assert all(name in note for name in untrained)
    assert "not the published method" in note
    summary = text[: text.index("Never trained:")]
    assert not any(re.search(rf"\b{re.escape(name)}[,.]", summary) for name in untrained)
    assert "significant" not in text.lower()


def test_the_baseline_is_a_method_of_its_own_that_was_trained_or_needs_no_training() -> None:
    made = comparison(shots=(1,))
    good = [r for r in made.results if r.status != "untrained" and not r.method.startswith("a2m2")]
    assert best_baseline(made.results, "a2m2") == good[0]
    rest = [r for r in made.results if r not in good]
    found = best_baseline(rest, "a2m2")
    assert found is not None
    assert found.status == "untrained"
    variants = [r for r in rest if r.method.startswith("a2m2")]
    found = best_baseline(variants, "a2m2")
    assert found is not None
    assert found.method == "a2m2-otam"
    assert best_baseline([r for r in variants if r.method == "a2m2"], "a2m2") is None


def test_comparisons_with_holes_still_make_a_page() -> None:
    made = comparison(2, shots=(1,))
    alone = replace(made, results=tuple(r for r in made.results if r.method == "a2m2"), failures=())
    assert "Difference to" not in page_html(alone)
    assert 'href="#left-out"' not in page_html(alone)
    bare = tuple(
        replace(
            r,
            class_interval=None,
            score_ms=0.0,
            accuracy=50.0,
            per_class=(None, None),
            confusion=((0, 0), (0, 0)),
            difference=r.difference
            and replace(r.difference, mean=0.0, interval=0.0, class_interval=None, p_value=1.0),
        )
        for r in made.results
    )
    text = page_html(replace(made, results=bare))
    Reader(text)
    assert "± 4.2 over classes" not in text
    assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL).lower()
    assert "Nothing was mixed up." in text
    no_reference = replace(made, results=tuple(r for r in made.results if r.method != "a2m2"))
    Reader(page_html(no_reference))
    Reader(page_html(replace(made, results=())))


def test_a_page_of_101_classes_stays_small_enough_to_send() -> None:
    pictures = explained(70_000) * 2
    text = page_html(comparison(101), explained=pictures)
    Reader(text)
    assert len(text.encode()) < 1_500_000
    assert "Show all 101 classes" in text


def test_few_classes_have_numbers_in_their_cells_and_many_have_titles() -> None:
    few = heat(["a", "b"], [[3, 1], [0, 0]])
    assert re.findall(r">(\d+)</text>", few) == ["75", "25"]
    assert few.count('class="right"') == few.count('class="wrong"') == 1
    assert "a answered as b: 25.0 % (1)" in few
    counts = np.eye(40, dtype=int) * 199
    counts[0, 1], counts[1, 0] = 1, 3  # 0.5 % and 1.5 %
    many = heat([f"c{i}" for i in range(40)], counts.tolist())
    assert not re.findall(r">(\d+)</text>", many)
    assert "c1 answered as c0: 1.5 % (3)" in many
    assert many.count("<rect") == 1 + 40 + 1


def test_points_of_the_scatter_plot_are_placed_by_the_logarithm_of_time() -> None:
    points = [Point(1, "a", 80, 1, ""), Point(2, "b", 60, 10, "ref"), Point(3, "c", 40, 100, "")]
    found = Reader(scatter(points)).of("circle")
    x, y = ([float(c[k].rstrip("%")) for c in found] for k in ("cx", "cy"))
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.02)
    assert y[1] - y[0] == pytest.approx(y[2] - y[1], abs=0.2)
    assert min(x[1] - x[0], y[1] - y[0]) > 30
    labels = Reader(scatter([replace(points[0], number=i) for i in range(4)])).of("text")
    places = {
        (t["x"], t["y"])
        for t in labels
        if t.get("x", "").lstrip("-").isdigit() and "%" not in t["x"]
    }
    assert len(places) >= 4  # points in one place do not hide each other's numbers


@given(st.floats(-1e4, 1e4), st.floats(0, 1e4))
def test_axes_hold_their_values_between_few_round_ticks(low: float, width: float) -> None:
    axis = nice_axis(low, low + width)
    slack = 1e-6 * max(1.0, abs(low), width)
    assert axis.low - slack <= low <= low + width <= axis.high + slack
    assert 2 <= len(axis.ticks) <= 13
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert axis.at(axis.low) == "0.00%"
    assert axis.at(axis.high) == "100.00%"


def test_what_lies_outside_an_axis_is_put_on_its_edge() -> None:
    assert [Axis(0, 100, (0, 100)).at(v) for v in (-5, 25, 105)] == ["0.00%", "25.00%", "100.00%"]


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_told_from_their_ground(dark: bool) -> None:
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = dict(re.findall(r"--(\w+):\s+(#\w{6})", blocks[0]))
    colours |= dict(re.findall(r"--(\w+):\s+(#\w{6})", blocks[1])) if dark else {}
    for text in ("ink", "soft", "ref", "worse"):
        for ground in ("paper", "card"):
            assert contrast(rgb(colours[text]), rgb(colours[ground])) >= 4.5, (text, ground)
    for shape in ("other", "ref", "worse"):
        assert contrast(rgb(colours[shape]), rgb(colours["paper"])) >= 3, shape
    for cell in ("heat", "miss"):  # as dark as a cell can be, under its number
        mixed = 0.75 * rgb(colours[cell]) + 0.25 * rgb(colours["card"])
        assert contrast(mixed, rgb(colours["ink"])) >= 4.5, cell


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Contrast ratio of WCAG 2.2."""

    def light(colour: np.ndarray) -> float:
        c = colour / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((light(a), light(b)))
    return (high + 0.05) / (low + 0.05)


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SaveError, match="cannot write"):
        write_page(tmp_path / "no" / "page.html", comparison(2))
    path = tmp_path / "page.html"
    path.write_text("old")

    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(SaveError, match="No space left"):
        write_page(path, comparison(2))
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_explained_answers_show_truth_answer_and_picture(page: str) -> None:
    cards = page.split('<article class="card">')[1:]
    assert len(cards) == 2
    assert [">Right.<" in card for card in cards] == [True, False]
    assert [">Wrong.<" in card for card in cards] == [False, True]
    assert base64.b64encode(png()).decode() in cards[0]
    for card in cards:
        assert re.findall(r'class="value">(0\.\d+)', card) == ["0.70", "0.20", "0.10"]
    with pytest.raises(ArgumentError, match="expected the bytes of a PNG, JPEG or WebP file"):
        Explained(b"<svg onload=alert(1)>", "x", "a", "b", ())
    kinds = [png(), b"\xff\xd8\xff\xe0 JFIF", b"RIFF\0\0\0\0WEBPVP8 "]
    with pytest.raises(ArgumentError, match="starts with b'<svg'"):
        Explained(png(), "x", "a", "b", (), dark=b"<svg>")
    shown = page_html(comparison(3), explained=[Explained(k, "x", "a", "b", ()) for k in kinds])
    assert re.findall("data:image/([a-z]+);", shown) == ["png", "jpeg", "webp"]
    with pytest.raises(ArgumentError, match="RIFF"):
        Explained(b"RIFF\0\0\0\0WAVEfmt ", "x", "a", "b", ())


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def test_right_and_wrong_answers_are_found_and_drawn(model: Model) -> None:
    waves = [draw_named("wave", i, studio=2) for i in range(3)]
    kicks = [draw_named("kick", i, studio=2) for i in range(2)]
    # One of the clips called a kick is a wave, so some answer is bound to be called wrong.
    data = {"wave": [*waves, "missing.mp4"], "a kick": [kicks[0], waves[1]], "single": kicks[:1]}
    found = explained_episodes(model, data, way=5, seed=4, count=2)
    assert [example.right for example in found] == [True, False]
    assert {label for label, _ in found[0].probabilities} == {"wave", "a kick"}
    assert max(len(example.picture) for example in found) < 150_000
    assert sum(p for _, p in found[1].probabilities) == pytest.approx(1)
    assert max(len(example.dark or b"") for example in found) < 150_000
    shown = page_html(comparison(3), explained=found)
    Reader(shown)
    assert re.findall(r'(src(?:set)?)="data:image/webp', shown) == ["srcset", "src"] * 2


def test_what_cannot_be_explained_is_said(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = draw_named("wave", 0)
    with pytest.raises(ArgumentError, match="count is 0; expected 1 or more"):
        explained_episodes(model, {}, count=0)
    with pytest.raises(EpisodeError, match="1 of 2 classes have 3 clips or more"):
        explained_episodes(model, {"a": [clip] * 3, "b": [clip] * 2}, shot=2)
    broken = {"a": ["no.mp4", "nor.mp4"], "b": ["neither.mp4", "none.mp4"]}
    assert explained_episodes(model, broken, count=1) == ()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match="matplotlib"):
        explained_episodes(model, {"a": [clip] * 2, "b": [clip] * 2}, count=1)
