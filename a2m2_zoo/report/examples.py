"""A few real queries, answered and drawn, for the comparison page."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from a2m2_zoo.errors import ArgumentError, EpisodeError
from a2m2_zoo.recognition.episode import Prediction
from a2m2_zoo.report.explain import explain
from a2m2_zoo.report.page import Explained
from a2m2_zoo.report.picture import check_ready

if TYPE_CHECKING:
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.episode import Source
    from a2m2_zoo.recognition.model import Model

_PATIENCE = 2  # episodes tried for each picture that is wanted


def explained_episodes(
    model: Model,
    classes: Mapping[str, Sequence[Source]],
    *,
    way: int = 5,
    shot: int = 1,
    seed: int = 0,
    count: int = 4,
) -> tuple[Explained, ...]:
    """Answer a few queries and draw why, right and wrong answers both where both occur.

    Episodes are drawn with ``seed``, ``seed + 1`` and so on, and at most one right and one wrong answer is
    taken of each, until half of ``count`` are of each kind or two episodes per picture have been tried.
    Clips that cannot be read are passed over. It is a choice to look at, not a measurement.

    Args:
        model: Answers and, if its method matches frames, says how.
        classes: Class name → its clips. Classes with fewer than ``shot + 1`` clips are passed over.
        way: Classes per episode; fewer where the data has fewer.
        shot: Supports per class.
        seed: Of the first episode.
        count: How many pictures.

    Returns:
        At most ``count`` explained answers, the wrong ones last.

    Raises:
        ArgumentError: ``count`` is below one.
        EpisodeError: Fewer than two classes have enough clips.
        DependencyError: matplotlib, which draws the pictures, is not installed.
    """
    if count < 1:
        raise ArgumentError(f"count is {count}; expected 1 or more")
    check_ready(Path("why.webp"))
    enough = {name: clips for name, clips in classes.items() if len(clips) > shot}
    if len(enough) < 2:
        raise EpisodeError(
            f"{len(enough)} of {len(classes)} classes have {shot + 1} clips or more; episodes to explain "
            "need two such classes: lower shot or add clips"
        )
    right: list[_Answered] = []
    wrong: list[_Answered] = []
    for number in range(_PATIENCE * count):
        for kind, found in zip(
            (right, wrong), _of_episode(model, enough, way, shot, seed + number), strict=True
        ):
            kind += found
        if len(wrong) >= count // 2 and len(right) >= count - count // 2:
            break
    # Half of each kind, more of one where the other is short.
    of_wrong = min(len(wrong), max(count // 2, count - len(right)))
    chosen = (*right[: count - of_wrong], *wrong[:of_wrong])
    return tuple(_drawn(model, answered) for answered in chosen)


@dataclass(frozen=True)
class _Answered:
    bank: SupportBank
    query: Source
    answer: Prediction
    truth: str


def _of_episode(
    model: Model, classes: Mapping[str, Sequence[Source]], way: int, shot: int, seed: int
) -> tuple[list[_Answered], list[_Answered]]:
    """At most one right and at most one wrong answer of an episode."""
    from a2m2_zoo.api import build_bank, classify
    from a2m2_zoo.recognition.episode import build_episode

    episode = build_episode(classes, way=min(way, len(classes)), shot=shot, query=1, seed=seed)
    try:
        bank = build_bank(episode, model=model, on_clip=lambda clip, error: None)
    except EpisodeError:
        return [], []  # every support of a class was broken
    answers = classify(episode.queries, bank, model=model, on_error="return")
    right: list[_Answered] = []
    wrong: list[_Answered] = []
    # Begin with another class in every episode, or the first by name would be shown each time.
    for i in np.roll(range(len(answers)), seed):
        answer, truth = answers[i], episode.class_names[episode.query_labels[i]]
        if isinstance(answer, Prediction):
            kind = right if answer.label == truth else wrong
            kind.append(_Answered(bank, episode.queries[i], answer, truth))
    return right[:1], wrong[:1]


def _drawn(model: Model, answered: _Answered) -> Explained:
    from a2m2_zoo.recognition.recognizer import Recognizer
    from a2m2_zoo.video import read_clip

    bank = answered.bank
    clip = read_clip(answered.query, model.preprocess)
    answer = Recognizer(model, bank).with_plans(answered.answer, clip)
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        for dark in (False, True):
            # WebP is a third of the PNG's size, so a page with several stays small enough to send.
            path = explain(answer, clip, bank, Path(folder) / "why.webp", dark=dark)
            pictures.append(path.read_bytes())
    shots = max(bank.counts().values())
    return Explained(
        picture=pictures[0],
        dark=pictures[1],
        caption=f"{answered.truth}: {Path(answer.query).name}",
        truth=answered.truth,
        answer=answer.label,
        probabilities=tuple(answer.probabilities.items()),
        facts=(
            ("Task", f"{len(bank.class_names)}-way {shots}-shot"),
            ("Margin to the next", f"{answer.margin:.2f}"),
            ("Model", answer.model),
        ),
    )
