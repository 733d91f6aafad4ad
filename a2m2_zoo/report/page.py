"""The comparison as one HTML file: it asks nothing of any network, runs no script and prints well.

Every chart says in words how to read it, and whatever was never trained is called so wherever it
appears.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.evaluation.results import Comparison, MethodResult
from a2m2_zoo.report import charts, sections, table
from a2m2_zoo.report.markup import esc, name
from a2m2_zoo.report.style import CSS

_KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


@dataclass(frozen=True)
class Explained:
    """A query that was answered, with the picture that says why.

    Attributes:
        picture: A PNG, JPEG or WebP file; ``report.explain`` draws it.
        caption: What the query is, one line.
        truth: Its true class.
        answer: The class that was answered.
        probabilities: (class, probability), the most probable first.
        facts: (what, value) worth printing beside it.

    Raises:
        ArgumentError: The picture is none of those files.
    """

    picture: bytes
    caption: str
    truth: str
    answer: str
    probabilities: tuple[tuple[str, float], ...]
    facts: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.kind:
            raise ArgumentError(
                f"the picture of {self.caption!r} starts with {self.picture[:4]!r}; "
                "expected the bytes of a PNG, JPEG or WebP file"
            )

    @property
    def kind(self) -> str:
        """``"png"``, ``"jpeg"`` or ``"webp"``; empty for anything else."""
        if self.picture[:4] == b"RIFF" and self.picture[8:12] == b"WEBP":
            return "webp"
        return next((k for magic, k in _KINDS.items() if self.picture.startswith(magic)), "")

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.answer == self.truth


def write_page(
    path: str | os.PathLike[str], comparison: Comparison, *, explained: Sequence[Explained] = ()
) -> Path:
    """Write ``comparison`` as one HTML file that needs nothing beside it.

    Args:
        path: The file to write; its folder must exist.
        comparison: What was measured.
        explained: Answered queries to show; see ``report.examples.explained_episodes``.

    Returns:
        The path written.

    Raises:
        SaveError: It could not be written; a page that was there before is untouched.
    """
    page = page_html(comparison, explained=explained)
    return write_atomically(path, lambda scratch: scratch.write_text(page, encoding="utf-8"))


def page_html(comparison: Comparison, *, explained: Sequence[Explained] = ()) -> str:
    """The text of the page; the same comparison gives the same text."""
    style = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    shots = [shot for shot in comparison.shots if comparison.of_shot(shot)]
    links = [(f"shot-{shot}", _shots(shot)) for shot in shots]
    links += [("table", "All figures")]
    links += [("explained", "Explained answers")] * bool(explained)
    links += [("left-out", "Left out")] * bool(comparison.failures)
    links += [("receipt", "Receipt")]
    body = [
        charts.DEFINITIONS,
        f"<header><h1>{name(comparison.title, 200)}</h1>",
        _facts(comparison),
        sections.summary(comparison),
        '<nav aria-label="On this page"><ul>',
        *(f'<li><a href="#{target}">{esc(word)}</a></li>' for target, word in links),
        "</ul></nav></header><main>",
        *(_of_shot(comparison, shot) for shot in shots),
        table.table(comparison),
        _explained(explained),
        _left_out(comparison),
        _receipt(comparison),
        "</main><footer><p>Made by a2m2_zoo. This file loads nothing from anywhere.</p></footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{esc(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{esc(comparison.title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _shots(shot: int) -> str:
    return f"{shot} shot" if shot == 1 else f"{shot} shots"


def _facts(comparison: Comparison) -> str:
    clips = sum(comparison.clips)
    facts = [
        ("Task", f"{comparison.way}-way, {' and '.join(f'{s}-shot' for s in comparison.shots)}"),
        ("Episodes", f"{comparison.episodes:,} for each shot"),
        ("Queries", f"{comparison.query} per class and episode"),
        ("Classes", f"{len(comparison.class_names)}"),
        ("Clips", f"{clips:,}"),
        ("Model", comparison.model),
        ("Seed", str(comparison.seed)),
    ]
    return sections.facts(facts)


def _of_shot(comparison: Comparison, shot: int) -> str:
    results = comparison.of_shot(shot)
    baseline = sections.best_baseline(results, comparison.reference)
    parts = [
        f'<section id="shot-{shot}" aria-labelledby="h-{shot}">'
        f'<h2 id="h-{shot}">{_shots(shot).capitalize()} per class</h2>',
        sections.accuracies(comparison, results),
        sections.differences(comparison, results),
        sections.times(comparison, results),
    ]
    reference = sections.of_method(results, comparison.reference)
    if reference and baseline:
        parts.append(sections.classes(comparison, reference, baseline))
    shown: list[MethodResult] = [result for result in (reference, baseline) if result]
    parts.append(sections.confusions(comparison, shown))
    return "\n".join(part for part in parts if part) + "</section>"


def _explained(explained: Sequence[Explained]) -> str:
    if not explained:
        return ""
    cards = []
    for item in explained:
        verdict = "Right" if item.right else "Wrong"
        bars = "".join(
            f'<li class="row{" ref" if label == item.answer else ""}"><span class="who">{name(label)}'
            f'</span>{charts.strip(100 * p)}<span class="value">{p:.2f}</span></li>'
            for label, p in item.probabilities
        )
        said = f"{item.answer} ({dict(item.probabilities).get(item.answer, 0.0):.2f})"
        picture = base64.b64encode(item.picture).decode()
        cards.append(
            f'<article class="card"><h3><span class="verdict {"better" if item.right else "worse"}">'
            f"{verdict}.</span> {name(item.caption, 120)}</h3>"
            + sections.facts([("Answer (probability)", said), ("Truth", item.truth), *item.facts])
            + f'<ol class="rows">{bars}</ol>'
            f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(item.caption)}">'
            f'<img src="data:image/{item.kind};base64,{picture}" alt="Frames of the query and of the '
            f"best matching support clips of two classes, with lines between matched frames; answer "
            f'{esc(item.answer)}, truth {esc(item.truth)}"></div></article>'
        )
    return (
        '<section id="explained" aria-labelledby="h-explained"><h2 id="h-explained">Explained answers</h2>'
        '<p class="read">Right and wrong answers were both picked, so this is no sample of the accuracy. '
        "In each picture the query's frames run through the middle, the winning class's best support lies "
        "above and the runner-up's below. A line joins frames that were matched; the thicker it is, the "
        "more weight the match had. The squares at the right are the same plans: query frames down, support "
        "frames across, darker where more weight went. A method without such a plan shows no lines.</p>"
        f'<div class="cards">{"".join(cards)}</div></section>'
    )


def _left_out(comparison: Comparison) -> str:
    if not comparison.failures:
        return ""
    items = "".join(
        f"<li>{esc(f.kind)} {name(f.name, 120)}: {name(f.reason, 300)}</li>"
        for f in comparison.failures
    )
    return (
        '<section id="left-out" aria-labelledby="h-left-out"><h2 id="h-left-out">Left out</h2>'
        f"<p>{len(comparison.failures)} things were asked for and are in no figure of this page.</p>"
        f"<details{' open' if len(comparison.failures) < 8 else ''}><summary>What and why</summary>"
        f"<ul>{items}</ul></details></section>"
    )


def _receipt(comparison: Comparison) -> str:
    text = json.dumps(
        dict(comparison.receipt), indent=1, ensure_ascii=False, allow_nan=False, default=str
    )
    return (
        '<section id="receipt" aria-labelledby="h-receipt"><h2 id="h-receipt">Receipt</h2>'
        "<p>What is needed to get the same figures again.</p>"
        f"<details><summary>Show the receipt</summary><pre>{esc(text)}</pre></details></section>"
    )
