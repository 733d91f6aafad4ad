"""The model card: what a published model is, was made from, is measured to do and is bad at.

The card is written from facts that the caller measured or read; no figure in it comes from anywhere else.
Text that people wrote is set as text: it can neither end the front matter nor become markup.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from a2m2_zoo._utils.templates import templates
from a2m2_zoo._version import __version__
from a2m2_zoo.errors import ArgumentError
from a2m2_zoo.hub.methods import METHODS
from a2m2_zoo.hub.receipts import Figure

#: Licences that the Hub knows by name and that fit any model.
LICENSES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
    "openrail++", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "agpl-3.0", "gpl", "gpl-2.0",
    "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "ms-pl", "mpl-2.0", "osl-3.0", "postgresql",
    "ncsa", "unlicense", "zlib", "wtfpl",
)  # fmt: skip
_ORIGINS = {
    "trained": "Its head was trained, episode by episode.",
    "training-free": "Its head was computed, not trained.",
    "converted": "Its weights were converted from a checkpoint of the method's official code.",
}


@dataclass(frozen=True)
class Base:
    """The backbone under the head.

    Attributes:
        name: Its name in the manifest, or of its architecture where its file is published too.
        license: Of its weights.
        origin: Where its weights come from.
        repo_id: The repository of the Hub that holds the same weights, unchanged; None if none does.
        file: Its file in the model's own repository; None where the package knows where it is.
    """

    name: str
    license: str
    origin: str
    repo_id: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Facts:
    """What a card says; plain values.

    Attributes:
        repo_id: ``org/name`` of the repository.
        method: Name in the registry of methods.
        origin: ``trained``, ``training-free`` or ``converted``.
        base: The backbone.
        license: One of ``LICENSES``.
        data: What the head was made from, and its terms.
        datasets: The same as ids of the Hub, where it has them.
        benchmark: The benchmark whose training classes it learned from.
        frames: Frames that are seen of a clip.
        size: Height and width of a frame, pixels.
        training: Settings of the run, by name; empty where they are not known.
        figures: What was measured with exactly these weights.
    """

    repo_id: str
    method: str
    origin: str
    base: Base
    license: str
    data: str
    datasets: tuple[str, ...] = ()
    benchmark: str | None = None
    frames: int = 8
    size: int = 224
    training: tuple[tuple[str, str], ...] = ()
    figures: tuple[Figure, ...] = ()


def known_license(name: str) -> str:
    """The Hub's identifier of a licence.

    Raises:
        ArgumentError: The Hub has none such.

    >>> known_license("Apache-2.0")
    'apache-2.0'
    """
    if (lower := name.strip().lower()) in LICENSES:
        return lower
    near = difflib.get_close_matches(lower, LICENSES, n=3, cutoff=0.6)
    raise ArgumentError(
        f"licence {plain(name)!r} is not one that the Hub knows; "
        + (f"did you mean {' or '.join(near)}? " if near else "")
        + "expected an identifier such as apache-2.0, mit or cc-by-nc-4.0"
    )


def model_card(facts: Facts) -> str:
    """The text of ``README.md``: front matter, then the card.

    Raises:
        ArgumentError: A fact is missing, or the front matter would not be read back as it was written.
    """
    from huggingface_hub import ModelCard

    if not plain(facts.data):
        raise ArgumentError("the card does not say what the model was made from; say it with data")
    data = _front_matter(facts)
    text = f"---\n{data.to_yaml()}\n---\n\n{_body(facts)}"
    if str(ModelCard(text).data) != str(data):
        raise ArgumentError("the card's front matter cannot be read back; use plainer names")
    return text


def _front_matter(facts: Facts):  # type: ignore[no-untyped-def] # of a library that loads late
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="video-classification",
            task_name="Few-shot action recognition",
            dataset_type=_slug(figure.data),
            dataset_name=plain(figure.data),
            metric_type="accuracy",
            metric_name=f"Accuracy, {figure.way}-way {figure.shot}-shot (percent)",
            metric_value=figure.accuracy,
            metric_args={
                "way": figure.way,
                "shot": figure.shot,
                "episodes": figure.episodes,
                "seed": figure.seed,
                "interval_95": figure.interval,
                "receipt": figure.receipt,
            },
        )
        for figure in facts.figures
    ]
    base = facts.base.repo_id
    return ModelCardData(
        library_name="a2m2_zoo",
        pipeline_tag="video-classification",
        license=facts.license,
        base_model=base,
        # The head is kept apart from weights that stay as they are, like an adapter.
        base_model_relation=None if base is None else "adapter",
        datasets=list(facts.datasets) or None,
        metrics=["accuracy"] if results else None,
        tags=["few-shot-learning", "action-recognition", "video", "a2m2_zoo", _slug(facts.method)],
        model_name=facts.repo_id.partition("/")[2] if results else None,
        eval_results=results or None,
    )


def _body(facts: Facts) -> str:
    title, about = METHODS.get(facts.method, (facts.method, ""))
    cards = templates(Path(__file__).with_name("templates"))
    cards.filters["text"] = text
    return cards.get_template("card.md").render(
        facts=facts,
        base=facts.base,
        title=title,
        about=about,
        origin=_ORIGINS[facts.origin],
        version=__version__,
    )


def plain(value: str, most: int = 1000) -> str:
    r"""One line of printable text.

    >>> plain("a\n---\tb")
    'a --- b'
    """
    seen = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(seen.split())[:most]


def text(value: str) -> str:
    r"""Somebody's text as Markdown that shows it, letter by letter.

    >>> text("*bold* <b> | x")
    '\\*bold\\* &lt;b&gt; &#124; x'
    """
    named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "$": "&#36;", "`": "&#96;"}
    escaped = re.sub(r"([\\*_\[\]#~!])", r"\\\1", plain(value))
    return "".join(named.get(c, c) for c in escaped)


def _slug(value: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:96] or "unnamed"
