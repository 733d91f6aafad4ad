"""The page's own HTML and style. Everything that came from a visitor is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from a2m2_zoo._utils.words import counted
from a2m2_zoo.report.markup import clean, esc, name
from a2m2_zoo.video.png import data_address

if TYPE_CHECKING:
    from a2m2_zoo.archive import Hit
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Prediction
    from a2m2_zoo.spotting import Segment

_PICTURES = 6  # thumbnails of one class
_BARS = 10

# Blue and orange are told apart with every common kind of colour vision (Okabe and Ito, 2008).
CSS = """
:root { --a-blue: #0067a5; --a-orange: #b34700; --a-soft: #56606d; --a-line: #d9dee5; --a-bar: #8a95a3;
  --a-bad: #fdf0e6; --a-good: #eaf3f9; }
.dark { --a-blue: #56b4e9; --a-orange: #f28e3c; --a-soft: #a3adba; --a-line: #333c47; --a-bar: #7f8b99;
  --a-bad: #3a2413; --a-good: #12293a; }
.gradio-container > .main { width: 100%; max-width: 1360px; margin: 0 auto; }
.html-container { padding: 0 !important; }
.a-top { align-items: center; flex-wrap: wrap !important; }
.a-top > .block { min-width: min(26rem, 100%) !important; }
.a-head h1 { font-size: 1.55rem; line-height: 1.2; margin: 0; font-weight: 700; }
.a-head p { margin: .15rem 0 0; color: var(--a-soft); }
.a-h { font-size: 1.05rem; font-weight: 700; margin: 0; }
.a-h small { font-weight: 400; color: var(--a-soft); font-size: .88rem; margin-left: .5rem; }
.a-note { padding: .5rem .75rem; border-radius: .4rem; border-left: 4px solid var(--a-blue);
  background: var(--a-good); overflow-wrap: anywhere; }
.a-note.bad { border-left-color: var(--a-orange); background: var(--a-bad); }
.a-note:empty, .a-empty { color: var(--a-soft); }
.a-class { display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .75rem; }
.a-class b { min-width: 6rem; overflow-wrap: anywhere; }
.a-class span { color: var(--a-soft); font-size: .85rem; }
.a-class b span { display: block; font-weight: 400; }
.a-thumbs { display: flex; gap: .25rem; align-items: center; }
.a-thumbs img { width: 44px; height: 44px; object-fit: cover; border-radius: .3rem; margin: 0;
  border: 1px solid var(--a-line); display: block; }
.a-row { align-items: center; flex-wrap: nowrap !important; gap: .5rem !important;
  border-bottom: 1px solid var(--a-line); padding: .3rem 0; }
.a-row button { flex: 0 0 auto !important; }
.a-verdict { font-size: 1.5rem; font-weight: 700; line-height: 1.2; overflow-wrap: anywhere; }
.a-verdict small { display: block; font-size: .9rem; font-weight: 400; color: var(--a-soft);
  margin-top: .2rem; }
.a-verdict.unknown { color: var(--a-orange); }
.a-bars { list-style: none; margin: .6rem 0 0; padding: 0; }
.a-bars li { display: grid; grid-template-columns: minmax(5rem, 9rem) 1fr 3.2rem; gap: .6rem;
  align-items: center; padding: .14rem 0; margin: 0; }
.a-bars i { display: block; height: .75rem; border-radius: .2rem; background: var(--a-bar); min-width: 2px; }
.a-bars li:first-child i { background: var(--a-blue); } .a-bars li:first-child { font-weight: 700; }
.a-bars .v { text-align: right; font-variant-numeric: tabular-nums; }
.a-bars bdi { overflow-wrap: anywhere; }
.a-grounds { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .9rem; margin: .6rem 0 0; }
.a-grounds dt { color: var(--a-soft); } .a-grounds dd { margin: 0; }
.a-table { border-collapse: collapse; border: 0 !important; width: 100%; font-variant-numeric: tabular-nums; }
.a-table th, .a-table td { text-align: right; padding: .3rem .6rem; border: 0;
  border-bottom: 1px solid var(--a-line); }
.a-table th:nth-child(3), .a-table td:nth-child(3) { text-align: left; }
.a-table tr { border: 0 !important; } .a-table tr.none td { color: var(--a-soft); }
.a-bars + .a-empty, .a-bars + .a-note, .a-grounds + .a-note { margin-top: .5rem; }
.a-place { display: flex; gap: .8rem; align-items: center; }
.a-place img { height: 4.5rem; border-radius: .25rem; }
.a-place b span { color: var(--a-soft); font-weight: 400; margin-left: .6rem; }
.a-place small { display: block; color: var(--a-soft); }
.a-picture img { background: #fff; padding-top: 1.9rem; }
.video-container > .wrap { flex: 1 1 0; min-height: 0; }
/* Messages of the page's frame are not to hide the answer. */
.toast-wrap { top: auto !important; bottom: 1rem; }
/* Cutting in the browser leaves files that no player opens. */
button[aria-label^="Trim video"], button[aria-label^="Reset video"] { display: none !important; }
@media (max-width: 700px) {
  .a-picture .image-container { overflow-x: auto; }
  .a-picture .image-container button { justify-content: flex-start; }
  .a-picture .image-frame { min-width: 44rem; }
}
"""


def note(text: str, *, bad: bool = False) -> str:
    """One line about what happened; nothing for an empty text."""
    if not text:
        return ""
    role = "alert" if bad else "status"
    line = " ".join(clean(text).split())
    if line.split(maxsplit=1)[0].isalpha():  # not the name of a file
        line = line[:1].upper() + line[1:]
    return f'<div class="a-note{" bad" * bad}" role="{role}">{esc(line)}</div>'


def heading(text: str, hint: str = "") -> str:
    """A title of a part of the page."""
    return f'<h2 class="a-h">{esc(text)}<small>{esc(hint)}</small></h2>'


def top(model: str) -> str:
    """The title of the page."""
    return (
        '<div class="a-head"><h1>Name an action from a few example clips</h1>'
        "<p>Give two or more classes a clip or a few each, then ask about a new one.<br>"
        f"Model {esc(model)}. Clips stay on the computer that runs this page and are deleted when you leave."
        "</p></div>"
    )


def class_row(bank: SupportBank, label: int) -> str:
    """One class: its name, its number of clips, a picture of each."""
    members = [n for n, own in enumerate(bank.labels) if own == label]
    middle = bank.thumbnails.shape[1] // 2
    pictures = "".join(
        f'<img alt="" title="{esc(bank.sources[n])}" '
        f'src="{data_address(bank.thumbnails[n, middle].numpy())}">'
        for n in members[:_PICTURES]
    )
    more = f"<span>+{len(members) - _PICTURES}</span>" if len(members) > _PICTURES else ""
    count = f"{len(members)} clip" + "s" * (len(members) != 1)
    return (
        f'<div class="a-class"><b>{name(bank.class_names[label], 40)}<span>{count}</span></b>'
        f'<div class="a-thumbs">{pictures}{more}</div></div>'
    )


def no_class() -> str:
    """What stands where the classes will be."""
    return '<p class="a-empty">No class yet. Two are needed; five clips each are plenty.</p>'


def waiting(text: str) -> str:
    """What stands where an answer will be."""
    return f'<p class="a-empty">{esc(text)}</p>'


def answer(prediction: Prediction, truth: str = "") -> str:
    """The answer and the probability of every class; ``truth`` where it is known."""
    sure = f"{_percent(prediction.probability)} among these classes"
    if prediction.known is not None:
        sure += f"; {_percent(prediction.confidence)} sure, as it may be none of them"
    sure += f". Margin {prediction.margin:.2f}, {prediction.seconds:.1f} s"
    if prediction.rejected:
        guess = f"Best guess {name(prediction.label)}: {sure}"
        head = f'<div class="a-verdict unknown">Unknown<small>{guess}</small>'
    else:
        head = f'<div class="a-verdict">{name(prediction.label)}<small>{sure}</small>'
        if prediction.known is not None and prediction.known < 0.5:
            head += "<small>It is probably none of these classes.</small>"
    if truth:
        right = "which is right" if truth == prediction.label else "which is wrong"
        head += f"<small>The clip shows {name(truth)}, {right}.</small>"
    rows = []
    for label, value in list(prediction.probabilities.items())[:_BARS]:
        bar = f'<span><i style="width:{100 * value:.1f}%"></i></span>'
        rows.append(f'<li>{name(label, 30)}{bar}<span class="v">{_percent(value)}</span></li>')
    hidden = len(prediction.probabilities) - len(rows)
    rest = f'<p class="a-empty">and {hidden} less probable classes</p>' if hidden > 0 else ""
    notes = "".join(note(warning) for warning in prediction.warnings)
    return f'{head}</div><ol class="a-bars">{"".join(rows)}</ol>{rest}{_grounds(prediction)}{notes}'


def _grounds(prediction: Prediction) -> str:
    """What else the answer says of the clip; nothing for a model that says no more."""
    said = {}
    if prediction.known is not None:
        said["Any of these classes"] = _percent(prediction.known)
    if prediction.pose_frames is not None:
        seen, count = prediction.pose_frames, len(prediction.frames)
        said["People"] = f"seen in {seen} of {count} frames" if seen else "nobody seen"
        said["People"] += ", drawn in the picture below" if seen and prediction.plans else ""
    rows = "".join(f"<dt>{esc(what)}</dt><dd>{esc(value)}</dd>" for what, value in said.items())
    return rows and f'<dl class="a-grounds">{rows}</dl>'


def segments(found: Sequence[Segment]) -> str:
    """The segments as a table."""
    if not found:
        return '<p class="a-empty">None of the classes was found.</p>'
    rows = []
    for segment in found:
        what = name(segment.label) if segment.known else "unknown"
        score = f"{segment.probability:.2f}" if segment.known else ""
        kind = "" if segment.known else ' class="none"'
        rows.append(
            f"<tr{kind}><td>{_clock(segment.start)}</td><td>{_clock(segment.end)}</td>"
            f"<td>{what}</td><td>{score}</td></tr>"
        )
    head = "<tr><th>start</th><th>end</th><th>action</th><th>probability</th></tr>"
    return f'<table class="a-table"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def found(places: int) -> str:
    """How many places of an archive were found, and what the figure at each says."""
    if not places:
        return "0 places found."
    return (
        f"{counted(places, 'place')} found, best first. A figure is the probability of the class against "
        "what else is in the archive: where most of it shows the class, figures are small, and only the "
        "order counts."
    )


def place(rank: int, hit: Hit) -> str:
    """A place in the archive: its picture, the action, where it is."""
    clock = f"{_clock(hit.start)} to {_clock(hit.end)}" if hit.end > hit.start else ""
    # Of very many windows even the best has a small one.
    share = _percent(hit.score) if hit.score >= 0.01 else "&lt;1%"
    data = base64.b64encode(hit.poster).decode()
    return (
        f'<div class="a-place"><img alt="" src="data:image/jpeg;base64,{data}"><div><b>{rank}. '
        f"{name(hit.label, 40)}<span>{share}</span></b>"
        f"<small>{name(Path(hit.uri).name, 60)}<br>{clock}</small></div></div>"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%"


def _clock(seconds: float) -> str:
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths / 10:04.1f}"
