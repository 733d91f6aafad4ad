"""`a2m2 episode`: draw an episode from a data set, classify it, show truth against prediction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.classify import collected, end
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.hub import DEFAULT_MODEL


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Which episode is drawn."""

    way: Annotated[int, typer.Option("--way", min=2, help="Classes.")] = 5
    shot: Annotated[int, typer.Option("--shot", min=1, help="Supports per class.")] = 1
    query: Annotated[int, typer.Option("--query", min=1, help="Queries per class.")] = 1
    seed: Annotated[int, options.seed_option("Same seed, same episode.")] = 0


@grouped
def episode(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder with one folder of clips per class.")
    ],
    *,
    sizes: Sizes,
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    reading: options.Reading,
    answers: options.Answers,
) -> None:
    """Draw a W-way K-shot episode, classify its queries, and show how many are right."""
    from a2m2_zoo.recognition.episode import build_episode

    form, limits = answers.form, reading.limits
    drawn = build_episode(data, **asdict(sizes))
    recogniser = options.open_model(model, reading, pose=pose)
    from a2m2_zoo.api import build_bank
    from a2m2_zoo.recognition.recognizer import Recognizer

    with output.progress("reading supports", len(drawn.supports)) as bar:
        bank = build_bank(
            drawn,
            model=recogniser,
            workers=reading.workers,
            limits=limits,
            on_clip=lambda *_: bar.advance(bar.task_ids[0]),
        )
    recognizer = Recognizer(recogniser, bank)
    asked = recognizer.iter_classify(drawn.queries, workers=reading.workers, limits=limits)
    found, stopped = collected(asked, len(drawn.queries))
    names = [drawn.class_names[label] for label in drawn.query_labels[: len(found)]]
    failures = [answer for answer in found if isinstance(answer, A2M2Error)]
    rows_of = zip(names, drawn.queries, found, strict=False)
    rows = [{"truth": name, **output.answer_row(query, answer)} for name, query, answer in rows_of]
    predictions = [answer for answer in found if not isinstance(answer, A2M2Error)]
    truths = [n for n, a in zip(names, found, strict=True) if not isinstance(a, A2M2Error)]
    right = sum(p.label == truth for p, truth in zip(predictions, truths, strict=True))
    if form is options.Form.JSON:
        output.write_json(
            {
                **asdict(sizes),
                "model": recogniser.id,
                "accuracy": right / len(predictions) if predictions else None,
                "predictions": rows,
            }
        )
    elif form is options.Form.CSV:
        output.write_csv(output.flat(rows))
    else:
        output.stdout().print(output.predictions_table(predictions, truths))
        output.stdout().print(
            f"{right} of {len(predictions)} right, {sizes.way}-way {sizes.shot}-shot"
        )
    for failure in failures:
        output.complain(failure)
    end(stopped, unanswered=len(drawn.queries) - len(found), failed=bool(failures))
