"""`a2m2 features`: clips through the backbone once, for every method and every run after."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo._utils.files import exists
from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.classify import expand
from a2m2_zoo.cli.cluster import Cluster
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import VideoNotFoundError
from a2m2_zoo.hub import DEFAULT_MODEL


@grouped
def features(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder of clips, at any depth, or one clip.")
    ],
    *,
    model: options.ModelOption = DEFAULT_MODEL,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Where features are kept.",
            show_default="$A2M2_CACHE or the platform's place for caches",
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages", help="Maps to keep, such as s14,s7.", show_default="the model's own"
        ),
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Keep float16: half the bytes, three digits.")
    ] = False,
    reading: options.Reading,
    cluster: Cluster,
    json: options.JsonOption = False,
) -> None:
    """Run the clips of DATA through a model's backbone and keep the features on disk.

    Clips that are there already are passed over, so it goes on where it was stopped. Exit code 0: all
    clips are there; 1: some failed, the others are there; 2: the call is wrong.
    """
    started, engine = time.perf_counter(), cluster.of(reading)
    if not exists(data):
        raise VideoNotFoundError(f"there is no {str(data)!r}; give a folder of clips")
    clips, empty = expand([data])
    if empty:
        raise empty[0]
    recogniser = options.open_model(model, reading)
    from a2m2_zoo.features import FeatureCache, default_cache

    kept = FeatureCache(
        default_cache() if cache is None else cache,
        backbone=recogniser.backbone,
        backbone_hash=recogniser.backbone_hash,
        preprocess=recogniser.preprocess,
        stages=recogniser.method.stages if stages is None else [s for s in stages.split(",") if s],
        half=half,
        people=recogniser.method.reads_people,
    )
    far = engine is not None
    with output.progress("encoding", len(clips)) as bar, output.answers_alone(far):
        failures = kept.fill(
            clips,
            workers=reading.workers,
            limits=reading.limits,
            progress=lambda done, _: bar.update(bar.task_ids[0], completed=done),
            engine=engine,
        )
    if json:
        output.write_json(
            {
                "folder": str(kept.folder),
                "bytes": kept.size,
                "clips": len(clips),
                "failures": {str(clip): reason for clip, reason in failures.items()},
            }
        )
        raise typer.Exit(FAILED if failures else 0)
    if failures:
        made = output.table("clip", "why it failed")
        for clip, reason in failures.items():
            made.add_row(output.escape(str(clip)), output.escape(reason.removeprefix(f"{clip}: ")))
        output.stdout().print(made)
    seconds = time.perf_counter() - started
    output.say(
        f"{counted(len(clips), 'clip')}, {len(failures)} failed, {kept.size / 1e6:.1f} MB in {kept.folder}, "
        f"{seconds:.1f} s"
    )
    if failures:
        raise typer.Exit(FAILED)
