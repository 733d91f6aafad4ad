"""`a2m2 demo`: draw clips of five actions, classify unseen ones, show the answers and a picture of why."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from a2m2_zoo._utils.files import new_folder
from a2m2_zoo.cli import options, output
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import DependencyError, SaveError
from a2m2_zoo.hub import DEFAULT_MODEL

_SHOTS = 2  # supports per action
_SUPPORT_SEED, _QUERY_SEED = 0, 1
_FRAMES = 32  # of each action in the longer video, 2 s
_STUDIO = 2  # a bright one; a person should see what happens


@grouped
def demo(
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="A new folder for the clips and the picture."
        ),
    ] = Path("a2m2-demo"),
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    machine: options.Machine,
    json: options.JsonOption = False,
) -> None:
    """Draw short clips of five actions, classify unseen ones against them, and show why.

    Needs no data and no network. The clips are real video files: look at them, and use them to try the other
    commands.
    """
    import numpy as np

    from a2m2_zoo.synthetic import NAMED_ACTIONS, draw_named, write_dataset, write_video

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"cannot make {str(out)!r}: {error.strerror}; give another folder with --out"
        ) from error
    supports, queries, long = out / "supports", out / "queries", out / "long.mp4"
    drawing = output.progress("drawing clips", len(NAMED_ACTIONS) * (_SHOTS + 2))
    with new_folder(out) as folder, drawing as bar:
        for name, clips, seed in (("supports", _SHOTS, _SUPPORT_SEED), ("queries", 1, _QUERY_SEED)):
            write_dataset(
                folder / name,
                clips=clips,
                seed=seed,
                named=True,
                style="scene",
                studio=_STUDIO,
                progress=lambda *_: bar.advance(bar.task_ids[0]),
            )
        pictures = []
        for name in NAMED_ACTIONS:
            drawn = draw_named(
                name, 1, seed=_QUERY_SEED, frames=_FRAMES, style="scene", studio=_STUDIO
            )
            pictures.append(drawn)
            bar.advance(bar.task_ids[0])
        write_video(folder / long.name, np.concatenate(pictures))
    recogniser = options.open_model(model, machine, pose=pose)
    from a2m2_zoo.data.index import class_folders
    from a2m2_zoo.recognition.recognizer import Recognizer

    labelled = [(clip, name) for name, clips in class_folders(queries).items() for clip in clips]
    recognizer = Recognizer(recogniser, supports)
    predictions = list(recognizer.iter_classify([clip for clip, _ in labelled]))
    answers = [p for p in predictions if not isinstance(p, Exception)]
    truths = [name for _, name in labelled]
    if json:
        told = [
            {"truth": truth, **output.answer_row(clip, answer)}
            for (clip, truth), answer in zip(labelled, predictions, strict=True)
        ]
        output.write_json({"folder": str(out), "predictions": told})
        return
    console = output.stdout()
    console.print(output.predictions_table(answers, truths))
    right = sum(p.label == truth for p, truth in zip(answers, truths, strict=True))
    console.print(f"{right} of {len(answers)} right, from {_SHOTS} clips per action\n")
    try:
        from a2m2_zoo.report.explain import explain
        from a2m2_zoo.video import read_clip

        clip = read_clip(labelled[0][0], recogniser.preprocess)
        shown = recognizer.with_plans(answers[0], clip)
        picture = explain(shown, clip, recognizer.bank, out / "why.png")
        output.say(f"why, as a picture: {picture}", whole=True)
    except DependencyError as error:
        output.complain(error)
    output.say(
        f"all clips at a glance: {supports / 'contact_sheet.png'}",
        f"now try: a2m2 spot {quote(str(long))} --supports {quote(str(supports))}",
        f"or yours: a2m2 classify YOUR.mp4 --supports {quote(str(supports))}",
        whole=True,
    )
