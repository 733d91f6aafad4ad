"""`a2m2 bank`: labelled clips, encoded once, kept in one file."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo._utils.files import check_file, exists, is_folder, locked
from a2m2_zoo._utils.remote.addresses import RemotePath
from a2m2_zoo._utils.words import counted
from a2m2_zoo.cli import FAILED, options, output
from a2m2_zoo.cli.classify import read_supports
from a2m2_zoo.cli.files import check_kind
from a2m2_zoo.cli.grouped import grouped
from a2m2_zoo.errors import BankError
from a2m2_zoo.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from a2m2_zoo.evaluation.bank_check import BankReport
    from a2m2_zoo.recognition.bank import SupportBank

app = typer.Typer(help="Encode supports once and keep them in a file.", no_args_is_help=True)
BankArgument = Annotated[
    Path, typer.Argument(metavar="BANK", help="The bank's file (.safetensors).")
]
DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A folder with one folder of clips per class.")
]


@app.command()
@grouped
def create(
    data: DataArgument,
    bank: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write (.safetensors).")
    ],
    *,
    model: options.ModelOption = DEFAULT_MODEL,
    reading: options.Reading,
    force: Annotated[bool, typer.Option("--force", help="Replace a bank that is there.")] = False,
    json: options.JsonOption = False,
) -> None:
    """Encode every clip of DATA and write the bank."""
    check_file(bank)
    if exists(bank) and not force:
        raise _there(bank)
    check_kind("--out", bank, "bank")
    recogniser = options.open_model(model, reading)
    made, broken = read_supports(data, recogniser, workers=reading.workers, limits=reading.limits)
    alone = isinstance(bank, RemotePath)  # where nobody can be kept out
    with nullcontext() if alone else locked(bank, tell=output.complain):
        if bank.exists() and not force:  # Another process made it meanwhile.
            raise _there(bank)
        made.save(bank)
    _show(made, bank, json=json)
    if broken:
        raise typer.Exit(FAILED)


@app.command()
@grouped
def add(
    bank: BankArgument,
    data: DataArgument,
    *,
    machine: options.Machine,
    model: Annotated[
        str | None, typer.Option("--model", help="Where the bank's model lies, if not by its name.")
    ] = None,
    workers: options.WorkersOption = None,
    bounds: options.Bounds,
    json: options.JsonOption = False,
) -> None:
    """Add the clips of DATA to BANK: new classes, or more supports of classes it has.

    Clips whose pictures are there already are named and left out. Exit code 0: all are in; 1: some are left
    out, the others are in; 2: the call is wrong.
    """
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.bank_changes import unlike

    before = SupportBank.load(bank)
    recogniser = (
        options.open_bank_model(before, machine)
        if model is None
        else options.open_model(model, machine)
    )
    before.check(recogniser)
    more, broken = read_supports(data, recogniser, workers=workers, limits=bounds.limits)
    again: list[str] = []

    def grown(now: SupportBank) -> SupportBank:
        now.check(recogniser)
        new, there = unlike(more, now)
        again[:] = there
        return now if new is None else now.add(new)

    after = SupportBank.update(bank, grown, tell=output.complain)
    for line in again:
        output.complain(line)
    _show(after, bank, json=json)
    if broken or again:
        raise typer.Exit(FAILED)


@app.command()
def remove(
    bank: BankArgument,
    classes: Annotated[
        list[str] | None, typer.Argument(metavar="CLASS", help="Classes to take out.")
    ] = None,
    clip: Annotated[
        list[str] | None,
        typer.Option(
            "--clip",
            metavar="NAME",
            help="A clip to take out, as `bank show` names it; repeatable.",
        ),
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Take classes, or single clips, out of BANK; the others are untouched."""
    from a2m2_zoo.recognition.bank import SupportBank
    from a2m2_zoo.recognition.bank_changes import without_clips

    if not classes and not clip:
        raise typer.BadParameter(
            "there is nothing to take out; name a CLASS, or a clip with --clip"
        )

    def shrunk(now: SupportBank) -> SupportBank:
        left = now.remove(classes) if classes else now
        return without_clips(left, clip) if clip else left

    _show(SupportBank.update(bank, shrunk, tell=output.complain), bank, json=json)


@app.command()
def show(bank: BankArgument, json: options.JsonOption = False) -> None:
    """Show what BANK holds."""
    from a2m2_zoo.recognition.bank import SupportBank

    _show(SupportBank.load(bank), bank, json=json, clips=True)


@app.command()
@grouped
def check(
    supports: Annotated[
        Path,
        typer.Argument(metavar="SUPPORTS", help="A folder with one folder per class, or a bank."),
    ],
    *,
    model: options.BankModelOption = None,
    reading: options.Reading,
    json: options.JsonOption = False,
) -> None:
    """Find what to act on before SUPPORTS are used: bad clips, copies, wrong labels.

    Also says which classes will be taken for each other and what one more clip of each would bring.

    Exit code 0: no clip to act on; 1: some are named; 2: the call is wrong.
    """
    from a2m2_zoo.evaluation.bank_check import check_bank, check_supports
    from a2m2_zoo.recognition.bank import SupportBank

    recogniser = options.open_model_for(model, supports, reading)
    if is_folder(supports) or not exists(supports):
        from a2m2_zoo.data.index import class_folders

        total = sum(map(len, class_folders(supports).values()))
        with output.progress("reading supports", total) as bar:
            report = check_supports(
                supports,
                model=recogniser,
                workers=reading.workers,
                limits=reading.limits,
                on_clip=lambda: bar.advance(bar.task_ids[0]),
            )
    else:
        report = check_bank(SupportBank.load(supports), recogniser)
    if json:
        output.write_json(report.to_dict())
    else:
        _show_report(report)
    if report.findings:
        raise typer.Exit(FAILED)


def _there(bank: Path) -> BankError:
    return BankError(f"{str(bank)!r} exists; add to it with `a2m2 bank add`, or give --force")


def _show_report(report: BankReport) -> None:
    console = output.stdout()
    if report.findings:
        made = output.table("clip", "problem", "what was seen")
        for found in report.findings:
            kind = f"[yellow]{found.kind}[/]"
            made.add_row(output.escape(found.clip), kind, output.escape(found.detail))
        console.print(made)
    if report.confusions:
        made = output.table("class", "taken for", "expected %", right=("expected %",))
        for pair in report.confusions:
            names = (output.escape(pair.truth), output.escape(pair.answer))
            made.add_row(*names, f"{100 * pair.share:.0f}")
        console.print(made)
    if report.growth is not None:
        grown = report.growth
        made = output.table(
            "clips per class", "accuracy %", right=("clips per class", "accuracy %")
        )
        for shot, accuracy in grown.measured:
            made.add_row(str(shot), f"{accuracy:.0f}")
        made.add_row(f"{grown.shot} (now)", f"{grown.now:.0f} expected")
        made.add_row(f"{grown.shot + 1}", f"{grown.more:.0f} expected")
        console.print(made)
        low, high = grown.interval
        output.say(
            f"One more clip of every class: {grown.gain:+.1f} points on average "
            f"(95 % interval {low:+.1f} to {high:+.1f})"
        )
    output.say(*report.notes)
    clips = sum(report.counts.values())
    verdict = f"{len(report.findings)} to act on" if report.findings else "nothing to act on"
    said = f"{counted(len(report.counts), 'class')}, {counted(clips, 'clip')}"
    output.say(f"{said}, model {report.model}: {verdict}")


def _show(bank: SupportBank, path: Path, *, json: bool, clips: bool = False) -> None:
    if json:
        output.write_json(
            {
                "bank": str(path),
                "model": bank.model,
                "weights_hash": bank.weights_hash,
                "opened_as": bank.opened_as or bank.model,
                "classes": bank.counts(),
                "sources": list(bank.sources),
            }
        )
        return
    columns = ("class", "supports", *(["clips"] if clips else []))
    made = output.table(*columns, right=("supports",), whole=("clips",))
    for label, (name, count) in enumerate(bank.counts().items()):
        sources = [s for s, own in zip(bank.sources, bank.labels, strict=True) if own == label]
        names = ["\n".join(map(output.escape, sources))] if clips else []
        made.add_row(output.escape(name), str(count), *names)
    output.stdout().print(made)
    said = f"{counted(len(bank.class_names), 'class')}, {counted(len(bank.labels), 'support')}"
    output.say(f"{path}: {said}, model {bank.opened_as or bank.model}")
