"""`a2m2 models pull` and `verify`: the files of models, fetched and compared with what was announced."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from a2m2_zoo.cli import options, output
from a2m2_zoo.errors import A2M2Error, FetchError

if TYPE_CHECKING:
    from a2m2_zoo.zoo.pull import File

_REPAIR = "installing the package, or copying the model, again"
_STYLES = {"ok": "green", "damaged": "bold red"}


def pull(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A model or a backbone, also by a name such as hf-hub:ORG/NAME@COMMIT.",
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Also write a new folder that --model takes anywhere, without network or cache.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is here already.")
    ] = False,
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """Fetch a model's files from the Hugging Face Hub, once; afterwards no network is needed.

    They lie in the Hub's cache (HF_HOME). Private repositories are opened by `hf auth login` or HF_TOKEN.
    Exit code 0: all is here and sound; 1: something cannot be fetched or is damaged; 2: the call is wrong.
    """
    from a2m2_zoo.cli import FAILED
    from a2m2_zoo.zoo.pull import pull as run

    spinner = output.stderr.status("")

    def tell(done: int, total: int) -> None:
        spinner.update(f"computing the head, this once: clip {done} of {total}")
        spinner.start()

    try:
        files = run(name, to=to, force=force, progress=tell)
    except FetchError as error:
        output.complain(error)
        raise typer.Exit(FAILED) from error
    finally:
        spinner.stop()
    _show(files, json=json, states=False)
    if to is not None and not json:
        command = f"a2m2 classify QUERY --supports SUPPORTS --model {shlex.quote(str(to))}"
        output.say(f"next: {options.with_imports(command, imports)}", whole=True)


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Models as --model takes them, or backbones; all if none.",
        ),
    ] = None,
    imports: options.ImportOption = None,
    json: options.JsonOption = False,
) -> None:
    """Compare the files of models that are on this machine with their announced hashes.

    Files that were never fetched are missing, which is no fault. Exit code 1: a file is damaged; 2: a name is
    wrong, and the others were compared.
    """
    from a2m2_zoo.cli import FAILED
    from a2m2_zoo.zoo.pull import verify as run

    found: list[File] = []
    wrong: list[A2M2Error] = []
    with output.stderr.status("comparing"):
        for some in [[name] for name in names] if names else [[]]:
            try:
                found += run(some)
            except A2M2Error as error:  # noqa: PERF203  # the others are compared all the same
                wrong.append(error)
    files = list(dict.fromkeys(found))
    if files or not wrong:
        _show(files, json=json, states=True)
    unsound = [file for file in files if not file.sound]
    for file in unsound:
        if file.fault is not None:
            output.complain(file.fault)
            continue
        what = f"has sha256 {file.sha256}" if file.sha256 else "is missing"
        repair = "`a2m2 models pull NAME --force`" if file.remote else _REPAIR
        output.complain(
            f"{str(file.path or file.source)!r} {what} where {file.announced} was announced; "
            f"{repair} mends it"
        )
    for fault in wrong[:-1]:
        output.complain(fault)
    if wrong:
        raise wrong[-1]
    if unsound:
        raise typer.Exit(FAILED)


def _show(files: Sequence[File], *, json: bool, states: bool) -> None:
    if json:
        rows = [{**asdict(file), "state": file.state} for file in files]
        output.write_json([{**row, "path": row["path"] and str(row["path"])} for row in rows])
        return
    short = sys.stdout.isatty()
    first = ("state",) if states else ()
    made = output.table(*first, "what", "bytes", "sha256", "where", right=("bytes",))
    for file in files:
        style = _STYLES.get(file.state, "dim")
        made.add_row(
            *([f"[{style}]{file.state}[/]"] if states else []),
            file.role,
            "" if file.size is None else f"{file.size:,}",
            f"{file.sha256[:15]}…" if short and file.sha256 else file.sha256 or "",
            output.escape(str(file.path or file.source)),
        )
    output.stdout().print(made)
