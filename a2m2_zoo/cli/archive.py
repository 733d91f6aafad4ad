"""`a2m2 archive`: videos encoded once, kept in tables that are asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import FAILED, options, output, signals
from a2m2_zoo.cli.cluster import Cluster
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.cli.spot import clock
from a2m2_zoo.errors import A2M2Error
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.archive import Archive, Changes

app = typer.Typer(
    help="Encode videos once and keep them in an archive that is asked.", no_args_is_help=True
)
ArchiveArgument = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="The archive's folder, or its address.")
]
VideosArgument = Annotated[
    list[Path], typer.Argument(metavar="VIDEOS", help="Videos, or folders of them at any depth.")
]


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """How videos are cut."""

    whole: Annotated[
        float, typer.Option("--whole", min=0, help="Clips up to so many seconds are one window.")
    ] = 10.0
    window: Annotated[
        float, typer.Option("--window", min=0.25, help="Seconds of each window of longer videos.")
    ] = 2.0
    stride: Annotated[
        float, typer.Option("--stride", min=0.01, help="Seconds from one window to the next.")
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class ArchiveModel(options.Machine):
    """The model of an archive that is there."""

    model: Annotated[
        str | None,
        typer.Option("--model", help="Where the archive's model lies, if not by its name."),
    ] = None


@app.command()
@grouped
def build(
    videos: VideosArgument,
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The archive to make: a new folder, or an address."
        ),
    ],
    *,
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    cuts: Cuts,
    reading: options.Reading,
    cluster: Cluster,
    json: options.JsonOption = False,
) -> None:
    """Encode VIDEOS and write a new archive; one whose making was ended is gone on with.

    Exit code 0: all are in it; 1: some failed, the others are in it; 2: the call is wrong.
    """
    from a2m2_zoo.archive import Archive, Cutting
    from a2m2_zoo.archive.given import listed

    engine = cluster.of(reading)
    cutting = Cutting(whole=cuts.whole, window=cuts.window, stride=cuts.stride)
    total = len(listed(videos))
    recogniser = options.open_model(model, reading, pose=pose)

    def run(on_clip: Any) -> tuple[Archive, Changes]:
        return Archive.build(
            out,
            videos,
            model=recogniser,
            cutting=cutting,
            workers=reading.workers,
            limits=reading.limits,
            engine=engine,
            on_clip=on_clip,
        )

    _filled(total, run, far=engine is not None, json=json)


@app.command()
@grouped
def add(
    archive: ArchiveArgument,
    videos: VideosArgument,
    *,
    machine: ArchiveModel,
    bounds: options.Bounds,
    workers: options.WorkersOption = None,
    cluster: Cluster,
    json: options.JsonOption = False,
) -> None:
    """Encode what of VIDEOS is not in ARCHIVE yet; clips are known by their content."""
    engine, found = cluster.of(machine), opened(archive, machine)
    reading = {"workers": workers, "limits": bounds.limits, "engine": engine}
    _changed(found, found.add, videos, reading, json=json)


@app.command()
@grouped
def sync(
    archive: ArchiveArgument,
    videos: VideosArgument,
    *,
    machine: ArchiveModel,
    bounds: options.Bounds,
    workers: options.WorkersOption = None,
    cluster: Cluster,
    json: options.JsonOption = False,
) -> None:
    """Make ARCHIVE hold what VIDEOS hold now: new and changed ones are encoded, vanished ones taken out.

    Clips that lie elsewhere stay in it.
    """
    engine, found = cluster.of(machine), opened(archive, machine)
    reading = {"workers": workers, "limits": bounds.limits, "engine": engine}
    _changed(found, found.sync, videos, reading, json=json)


@app.command()
def info(archive: ArchiveArgument, json: options.JsonOption = False) -> None:
    """Show what ARCHIVE holds."""
    from a2m2_zoo.archive import Archive

    found = Archive.open(archive).info()
    if json:
        output.write_json(found.to_dict())
        return
    cutting = found.cutting
    size = f"{counted(found.clips, 'clip')}, {counted(found.windows, 'window')}"
    output.say(
        f"{found.uri}: {size}, {clock(found.seconds)} long, model {found.model}",
        f"{found.clip_bytes / 1000:.1f} kB a window; clips above {cutting.whole:g} s are cut into windows of "
        f"{cutting.window:g} s every {cutting.stride:g} s",
    )
    if found.writing:
        output.say("half-written: go on with `a2m2 archive add` or `sync`")


@app.command()
def verify(archive: ArchiveArgument, json: options.JsonOption = False) -> None:
    """Read all of ARCHIVE and say what is not as it should be; exit code 1 if something is not."""
    from a2m2_zoo.archive import Archive

    found = Archive.open(archive)
    with output.progress("reading", len(found)) as bar:
        problems = found.verify(on_window=lambda count: bar.advance(bar.task_ids[0], count))
    if json:
        output.write_json({"archive": found.uri, "windows": len(found), "problems": problems})
    else:
        output.say(*problems, whole=True)
        output.say("nothing to act on" if not problems else f"{len(problems)} to act on")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def compact(archive: ArchiveArgument, json: options.JsonOption = False) -> None:
    """Join small files of ARCHIVE, renew its index, and remove what is not needed any more."""
    from a2m2_zoo.archive import Archive

    found = Archive.open(archive)
    with output.stderr.status("compacting"):
        found.compact()
    if json:
        output.write_json(found.info().to_dict())
        return
    output.say(f"{found.uri}: {counted(found.info().windows, 'window')}")


def opened(archive: str, machine: ArchiveModel) -> Archive:
    """The archive with its model on the machine that the options name."""
    from a2m2_zoo.archive import Archive
    from a2m2_zoo.archive.info import named_by

    found = Archive.open(archive)
    with named_by(found) if machine.model is None else nullcontext():
        name = machine.model or found.opened_as
        recogniser = options.open_model(name, machine, pose=found.made_by[2])
    return Archive.open(archive, model=recogniser)


def _changed(
    archive: Archive,
    change: Callable[..., Changes],
    videos: list[Path],
    reading: dict[str, Any],
    *,
    json: bool,
) -> None:
    """Run one of the archive's ways to take videos in."""
    from a2m2_zoo.archive.given import listed

    def run(on_clip: Any) -> tuple[Archive, Changes]:
        return archive, change(videos, **reading, on_clip=on_clip)

    _filled(len(listed(videos)), run, far=reading["engine"] is not None, json=json)


def _filled(
    total: int, run: Callable[[Any], tuple[Archive, Changes]], *, far: bool, json: bool
) -> None:
    """Run with a bar, name what failed, say what was done."""
    failed: list[A2M2Error] = []
    with output.progress("encoding", total) as bar, output.answers_alone(far):

        def advance(_: Path, error: A2M2Error | None) -> None:
            if error is not None:
                failed.append(error)
                output.complain(error)
            bar.advance(bar.task_ids[0])

        try:
            archive, changes = run(advance)
        except KeyboardInterrupt:
            output.complain(
                "interrupted; what was encoded is in the archive: go on with `a2m2 archive add` or `sync`"
            )
            raise typer.Exit(signals.exit_code()) from None
    if changes.left:
        output.complain(
            f"{changes.left} clip(s) were half-written by a run that was ended; they are encoded anew"
        )
    counts = (
        (changes.added, f"added with {counted(changes.windows, 'window')}"),
        (changes.known, "there before"),
        (changes.moved, "moved"),
        (changes.removed, "taken out"),
        (len(failed), "failed"),
    )
    if json:
        told = {"archive": archive.uri, **asdict(changes), "failed": [str(e) for e in failed]}
        output.write_json({**told, "windows_in_all": len(archive)})
        raise typer.Exit(FAILED if failed else 0)
    said = ", ".join(f"{count} {what}" for count, what in counts if count) or "nothing to do"
    output.say(f"{archive.uri}: {said}; {counted(len(archive), 'window')} in all", whole=True)
    if failed:
        raise typer.Exit(FAILED)
