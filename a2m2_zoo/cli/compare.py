"""`a2m2 compare`: several methods on the same episodes of the same clips, with how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.compare_report import show
from a2m2_zoo.cli.files import (
    OutOption,
    check_ending,
    check_files,
    check_json_file,
    write_json_file,
)
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import A2M2Error, ArgumentError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.data.lists import Listing
    from a2m2_zoo.data.plans import EpisodeForm
    from a2m2_zoo.evaluation.bench import Progress as Tell
    from a2m2_zoo.evaluation.bench import Protocol
    from a2m2_zoo.evaluation.misalignment import Misalignment
    from a2m2_zoo.evaluation.results import Comparison
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.report.page import Explained

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="A folder with one folder of clips per class, or a list's videos."
    ),
]
ListOption = Annotated[
    Path | None, typer.Option("--list", help="An official list; DATA then holds its videos.")
]
BenchmarkOption = Annotated[
    str | None, typer.Option("--benchmark", help="The benchmark that the list or folder is of.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of encoded clips; a second run starts from there."),
]
OpenOption = Annotated[
    bool, typer.Option("--open-set", help="Also ask clips of as many classes without supports.")
]
HereWorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Clips decoded, and threads that score.", show_default="auto"
    ),
]


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Which episodes everything is measured on."""

    way: Annotated[int, typer.Option("--way", min=2, help="Classes per episode.")] = 5
    shot: Annotated[
        str, typer.Option("--shot", help="Supports per class; several with commas between.")
    ] = "1,5"
    query: Annotated[int, typer.Option("--query", min=1, help="Queries per class.")] = 1
    episodes: Annotated[int, typer.Option("--episodes", min=1, help="How many.")] = 10_000
    seed: Annotated[int, options.seed_option("Same seed, same episodes.")] = 0

    def protocol(self, *, open_set: bool) -> Protocol:
        """The same for the package's functions."""
        from a2m2_zoo.evaluation.bench import Protocol

        return Protocol(
            way=self.way,
            shots=read_shots(self.shot),
            query=self.query,
            episodes=self.episodes,
            seed=self.seed,
            open_set=open_set,
        )


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Which clips everything is measured on."""

    data: DataArgument
    list_file: ListOption = None
    benchmark: BenchmarkOption = None
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="train, val or test, of --list or --benchmark.", show_default="test"
        ),
    ] = None

    def open(self) -> Listing:
        """The clips that the options name."""
        from a2m2_zoo.data.lists import open_dataset

        if self.split is not None and self.list_file is None and self.benchmark is None:
            raise typer.BadParameter(
                f"--split {self.split} is a part of --list or --benchmark, and neither is given; give one, "
                "or leave it out"
            )
        return open_dataset(
            self.data,
            list_file=self.list_file,
            benchmark=self.benchmark,
            split=self.split or "test",
        )


@dataclass(frozen=True, kw_only=True)
class Written:
    """How the result is written, and files beside it."""

    json: options.JsonOption = False
    out: OutOption = None
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts and explained answers.")
    ] = None


@grouped
def compare(
    *,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Names of methods and models, and paths of checkpoints, with commas between; "
            "NAME+ridge for ridge regression over the supports.",
            show_default="all",
        ),
    ] = None,
    episodes: Episodes,
    model: options.ModelOption = DEFAULT_MODEL,
    pose: options.PoseOption = True,
    machine: options.Machine,
    clips: Clips,
    cache: CacheOption = None,
    workers: HereWorkersOption = None,
    open_set: OpenOption = False,
    written: Written,
) -> None:
    """Run several methods over the same episodes and say which is better, and how sure that is.

    Every clip goes through the model's backbone once. Heads that were never trained are marked: their
    figures are not the published method's.

    Exit code 0: every clip counted; 1: a clip is missing or cannot be read, or a method breaks; 2: the call
    is wrong.
    """
    names = None if methods is None else [n.strip() for n in methods.split(",") if n.strip()]
    check_json_file(written.out, instead="--html writes a page")
    check_ending("--html", written.html, ".html", ".htm")
    check_files(written.html)
    listing = clips.open()
    protocol = episodes.protocol(open_set=open_set)
    recogniser = options.open_model(model, machine, pose=pose)
    from a2m2_zoo.evaluation.compare import compare as run

    with progress_bars() as tell:
        found = run(
            recogniser,
            listing,
            methods=names,
            protocol=protocol,
            workers=workers,
            cache=cache,
            name=data_name(clips.data, listing),
            progress=tell,
        )
    if written.json:
        output.put(escaped_json(found.to_json()) + "\n")
    else:
        show(found)
    if written.out is not None:
        write_json_file(written.out, found.to_json())
    if written.html is not None:
        from a2m2_zoo.report.page import write_page

        counted = {name: listing.classes[name] for name in found.class_names}
        explained = _explained(recogniser, counted, protocol.form(protocol.shots[0]))
        write_page(written.html, found, explained=explained)
        output.wrote(written.html)
    complain_of_training(model, found)
    complain(found)


def read_shots(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between.

    Raises:
        ArgumentError: It is anything else.

    >>> read_shots("1,5")
    (1, 5)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ArgumentError(f"--shot is {text!r}; expected whole numbers such as 1,5") from error


def data_name(data: Path, listing: Listing) -> str:
    """What to call the clips: the benchmark and its split where known, else the folder."""
    if listing.benchmark is None:
        return data.resolve().name
    return f"{listing.benchmark} {listing.split or ''}".strip()


@contextmanager
def progress_bars() -> Iterator[Tell]:
    """A bar on stderr that is renamed step by step."""
    with output.progress("starting", None) as bar:
        task, now = bar.task_ids[0], ""

        def tell(label: str, done: int, total: int) -> None:
            nonlocal now
            if label != now:
                now = label
                bar.reset(task, total=total, description=output.escape(label))
            bar.update(task, completed=done)

        yield tell


def complain_of_training(model: str, found: Comparison) -> None:
    """Say that it was measured on classes that the model was trained on."""
    from a2m2_zoo.evaluation.dataset import trained_on

    if (line := trained_on(model, found.class_names)) is not None:
        output.complain(line)


def complain(found: Comparison | Misalignment) -> None:
    """Name on stderr copies and what was left out; exit with ``FAILED`` if clips were, or a method broke."""
    if found.copies is not None:
        output.complain(found.copies)
    for failure in found.failures:
        output.complain(failure)
    if any(failure.counts for failure in found.failures):
        raise typer.Exit(FAILED)


def _explained(
    model: Model, classes: Mapping[str, Sequence[Path]], form: EpisodeForm
) -> Sequence[Explained]:
    """A few answers with pictures; the page does without if they cannot be drawn."""
    from a2m2_zoo.report.examples import explained_episodes

    with output.stderr.status("explaining a few episodes"):
        try:
            return explained_episodes(
                model, classes, way=form.way, shot=form.shot, seed=form.seed, count=4
            )
        except A2M2Error as error:
            output.complain(f"the page has no explained answers: {error}")
            return ()
