"""`a2m2 find` and `a2m2 suggest`: where in an archive something happens, and what to label next."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.files import check_file, folder_to_make
from a2m2_zoo._utils.printable import printable
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.archive import ArchiveArgument, ArchiveModel, opened
from a2m2_zoo.cli.files import check_ending
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.cli.spot import clock, stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from a2m2_zoo.archive import Archive, Hit
    from a2m2_zoo.errors import A2M2Error
    from a2m2_zoo.recognition.bank import SupportBank

SupportsOption = Annotated[
    Path | None,
    typer.Option(
        "--supports",
        "-s",
        help="A folder of clips of one action, a folder with one folder of clips per class, or a bank.",
    ),
]


class Tool(str, enum.Enum):
    """Annotation tools whose formats are written."""

    LABEL_STUDIO = "label-studio"
    CVAT = "cvat"
    FIFTYONE = "fiftyone"


@dataclass(frozen=True, kw_only=True)
class Hits(options.Answers):
    """How hits are written."""

    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Write a JSON line for each place to stdout.")
    ] = False
    srt: Annotated[
        bool, typer.Option("--srt", help="Write subtitles to stdout; for hits in one video.")
    ] = False
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")
    ] = None

    def check(self) -> None:
        """Refuse switches that exclude each other, and a page that could not be written."""
        if self.json + self.csv + self.jsonl + self.srt > 1:
            raise typer.BadParameter("--json, --jsonl, --csv and --srt exclude each other")
        if self.html is not None:
            check_ending("--html", self.html, ".html", ".htm")
            check_file(self.html)

    def show(self, hits: Sequence[Hit], title: str) -> None:
        """Write them."""
        rows = [hit.to_dict() for hit in hits]
        if self.html is not None:
            from a2m2_zoo.report.hits import write_hits

            write_hits(self.html, hits, title=title)
            output.say(f"page: {self.html}", whole=True, to=output.stderr)
        if self.jsonl:
            for row in rows:
                output.write_json(row, indent=None)
        elif self.srt:
            output.put(subtitles(hits))
        elif self.form is options.Form.JSON:
            output.write_json(rows)
        elif self.form is options.Form.CSV:
            output.write_csv(rows, ("uri", "start", "end", "label", "score", "key"))
        else:
            _table(hits)


@grouped
def find(
    archive: ArchiveArgument,
    *,
    supports: SupportsOption = None,
    query: Annotated[
        Path | None, typer.Option("--query", help="A clip: find what is most like it.")
    ] = None,
    count: Annotated[int, typer.Option("-k", min=1, help="Places, of each class.")] = 50,
    machine: ArchiveModel,
    bounds: options.Bounds,
    hits: Hits,
) -> None:
    """Find where in ARCHIVE the actions of the supports are seen, or what is like one clip.

    Overlapping windows of one video are one place.
    """
    if (supports is None) == (query is None):
        raise typer.BadParameter("give --supports or --query, one of them")
    hits.check()
    found, broken = opened(archive, machine), 0
    if query is not None:
        places = found.like(query, k=count, limits=bounds.limits)
        title = f"Like {query.name}"
    else:
        assert supports is not None
        bank, broken = examples(found, supports, bounds)
        with output.stderr.status("searching"):
            places = found.find(bank, k=count)
        title = f"Found by {supports.name}"
    hits.show(places, title)
    if broken:
        raise typer.Exit(FAILED)


@grouped
def suggest(
    archive: ArchiveArgument,
    supports: options.SupportsOption,
    *,
    count: Annotated[int, typer.Option("-k", min=1, help="How many windows.")] = 20,
    form: Annotated[
        Tool | None,
        typer.Option(
            "--format",
            metavar="TOOL",
            help="Write for an annotation tool, to --out.",
            show_default="table",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A file for label-studio, a new folder for the others.",
        ),
    ] = None,
    machine: ArchiveModel,
    bounds: options.Bounds,
    hits: Hits,
) -> None:
    """Suggest which windows of ARCHIVE to label next: the least sure ones, unlike each other.

    Each comes with its most probable class, to be corrected.
    """
    if (form is None) != (out is None):
        raise typer.BadParameter("--format and --out go together")
    hits.check()
    if form is not None and out is not None:
        if form is Tool.LABEL_STUDIO:
            check_ending("--out", out, ".json", "")
            check_file(out)
        else:
            folder_to_make(out)
    found = opened(archive, machine)
    bank, broken = examples(found, supports, bounds)
    with output.stderr.status("searching"):
        places = found.suggest(bank, k=count)
    if form is None or out is None:
        hits.show(places, "To label next")
    else:
        from a2m2_zoo.archive.exporting import export

        export(places, out, form=form.value)
        output.say(f"{len(places)} window(s) for {form.value}: {out}", whole=True)
    if broken:
        raise typer.Exit(FAILED)


def examples(archive: Archive, supports: Path, bounds: options.Bounds) -> tuple[SupportBank, int]:
    """The bank behind ``--supports``, and how many broken clips were named and left out of it."""
    broken: list[A2M2Error] = []

    def said(_: object, failure: A2M2Error | None) -> None:
        if failure is not None:
            broken.append(failure)
            output.complain(f"support left out: {failure}")

    with output.stderr.status("reading supports"):
        return archive.bank(supports, limits=bounds.limits, on_clip=said), len(broken)


def subtitles(hits: Sequence[Hit]) -> str:
    """Hits in one video as SubRip subtitles.

    Raises:
        BadParameter: They are in several.
    """
    if len({hit.uri for hit in hits}) > 1:
        raise typer.BadParameter(
            "--srt is for hits in one video, and these are in several; --json names them all"
        )
    blocks = []
    for number, hit in enumerate(sorted(hits, key=lambda hit: hit.start), start=1):
        label = printable(" ".join(hit.label.split())).replace("-->", "->")
        blocks.append(
            f"{number}\n{stamp(hit.start)} --> {stamp(hit.end)}\n{label} ({hit.score:.2f})\n\n"
        )
    return "".join(blocks)


def _table(hits: Sequence[Hit]) -> None:
    labelled = any(hit.label for hit in hits)
    columns = ["video", "start", "end", *(["action"] if labelled else []), "score"]
    made = output.table(*columns, right=("start", "end", "score"))
    for hit in hits:
        name = [f"[bold]{output.escape(hit.label)}[/]"] if labelled else []
        times = (clock(hit.start), clock(hit.end)) if hit.end > hit.start else ("", "")
        made.add_row(output.escape(output.short(hit.uri, 38)), *times, *name, f"{hit.score:.2f}")
    output.stdout().print(made)
