"""`a2m2 compare`: several methods on the same episodes of the same clips, with how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.files import OutOption, check_files, check_json_file, write_json_file
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import A2M2Error, ArgumentError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.table import Table

    from a2m2_zoo.data.lists import Listing
    from a2m2_zoo.data.plans import EpisodeForm
    from a2m2_zoo.evaluation.bench import Progress as Tell
    from a2m2_zoo.evaluation.bench import Protocol
    from a2m2_zoo.evaluation.results import Comparison, Failure, MethodResult
    from a2m2_zoo.recognition.model import Model
    from a2m2_zoo.report.page import Explained

_WIDE = 130  # columns from which on a terminal holds the costs too

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
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same episodes.")] = 0

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

    Exit code 0: every clip counted; 1: a clip could not be read, or a method breaks; 2: the call is wrong.
    """
    names = None if methods is None else [n.strip() for n in methods.split(",") if n.strip()]
    check_json_file(written.out, instead="--html writes a page")
    check_files(written.html)
    listing = clips.open()
    protocol = episodes.protocol(open_set=open_set)
    recogniser = options.open_model(model, machine, pose=pose)
    from a2m2_zoo.evaluation.compare import compare as run

    with progress_bars() as tell:
        found = run(
            recogniser,
            listing.classes,
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
        _show(found)
    if written.out is not None:
        write_json_file(written.out, found.to_json())
    if written.html is not None:
        from a2m2_zoo.report.page import write_page

        counted = {name: listing.classes[name] for name in found.class_names}
        explained = _explained(recogniser, counted, protocol.form(protocol.shots[0]))
        write_page(written.html, found, explained=explained)
        output.wrote(written.html)
    complain(found, listing)


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


def complain(found: Comparison, listing: Listing) -> None:
    """Name on stderr which listed videos are not there, and what was left out, see ``left_out``."""
    if listing.missing:
        gone = counted(len(listing.missing), "listed video")
        verb = "is" if len(listing.missing) == 1 else "are"
        output.complain(f"{gone} {verb} not there, the first is {listing.missing[0]!r}")
    left_out(found.failures)


def left_out(failures: Iterable[Failure]) -> None:
    """Name on stderr what was left out; exit with ``FAILED`` if clips were, or a method that broke."""
    from a2m2_zoo.evaluation.results import BREAKS

    wrong = False
    for failure in failures:
        output.complain(f"left out {failure.kind} {failure.name!r}: {failure.reason}")
        wrong |= failure.kind == "clip" or failure.reason.startswith(BREAKS)
    if wrong:
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


def _show(found: Comparison) -> None:
    console = output.stdout()
    output.say(found.title)
    for shot in found.shots:
        console.print(_block(found, shot, costs=console.width >= _WIDE))
    show_open(found)
    output.say(*_notes(found))


def show_open(found: Comparison) -> None:
    """What rejection is worth and how to read it, where it was measured."""
    if any(result.open for result in found.results):
        output.stdout().print(_open_table(found))
        output.say(*_open_notes(found))


def _block(found: Comparison, shot: int, *, costs: bool) -> Table:
    to = f"to {found.reference}"
    figures = ("accuracy %", "± classes", to, "± classes")
    prices = ("ms/episode", "ms/clip", "parameters") if costs else ()
    columns = ("method", *figures, "verdict", "head", *prices)
    title = f"{found.way}-way {shot}-shot"
    made = output.table(*columns, right=(*figures, *prices), title=title)
    for result in found.of_shot(shot):
        made.add_row(*_row(result)[: len(columns)])
    return made


def _open_table(found: Comparison) -> Table:
    """What rejection is worth, by method and shots."""
    figures = ("AUROC", "AUROC, one threshold", "accuracy %", "accuracy % of 80 % answered")
    made = output.table("shot", "method", *figures, right=("shot", *figures), title="open set")
    for result in found.results:
        if result.open is not None:
            made.add_row(
                str(result.shot),
                output.escape(result.method),
                f"{result.open.auroc:.3f} ± {result.open.auroc_interval:.3f}",
                f"{result.open.auroc_pooled:.3f}",
                f"{result.open.accuracy:.1f}",
                f"{result.open.accuracy_answered:.1f}",
            )
    return made


def _open_notes(found: Comparison) -> Iterator[str]:
    """How to read ``_open_table``."""
    yield "AUROC: how often a clip of a known class scores above one of an unknown class; 0.5 is guessing."
    others = [r for r in found.results if r.open is not None and r.open.calibration_error is None]
    if others:
        yield (
            "Best raw score where no probability of being right is fitted: "
            f"{', '.join(dict.fromkeys(r.method for r in others))}"
        )


def _row(result: MethodResult) -> tuple[str, ...]:
    difference, untrained = result.difference, result.status == "untrained"
    apart = ("", "", "reference")
    if difference is not None:
        mean = f"{difference.mean:+.1f} ± {difference.interval:.1f}"
        verdict = difference.verdict if untrained else _coloured(difference.verdict)
        apart = (mean, _half(difference.class_interval), verdict)
    name = output.escape(result.method)
    return (
        f"[dim]{name}[/]" if untrained else f"[bold]{name}[/]",
        f"{result.accuracy:.1f} ± {result.interval:.1f}",
        _half(result.class_interval),
        *apart,
        f"[yellow]{result.status}[/]" if untrained else result.status,
        f"{result.score_ms:.2f}",
        f"{result.encode_ms:.2f}",
        f"{result.parameters:,}",
    )


def _half(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _coloured(verdict: str) -> str:
    colour = {"better": "green", "worse": "red"}.get(verdict.split()[0])
    return f"[{colour}]{verdict}[/]" if colour else verdict


def _notes(found: Comparison) -> Iterator[str]:
    yield f"Guessing gives {found.chance:.0f} %. ±: 95 % intervals, over episodes and over classes."
    yield "better, worse: on the same episodes with p below 0.05, and over classes the interval leaves out 0;"
    yield "               on these classes: the episodes say so, other classes might not."
    if untrained := dict.fromkeys(r.method for r in found.results if r.status == "untrained"):
        yield (
            f"untrained: random weights, not the published method's result: {', '.join(untrained)}"
        )
