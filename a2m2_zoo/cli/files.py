"""Files beside the answers: looked at before any work, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo._utils.files import check_file, is_folder, write_atomically
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo.cli.output import wrote
from a2m2_zoo.errors import ArgumentError, SaveError

OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="Write the result and its receipt as JSON."),
]


def check_files(*paths: Path | None) -> None:
    """Refuse, before any work, files that could not be written.

    Raises:
        SaveError: One has no folder, or something else lies there.
    """
    for path in paths:
        if path is None:
            continue
        if not is_folder(path.parent):
            raise SaveError(f"cannot write {str(path)!r}: its folder does not exist; make it first")
        check_file(path)


def check_json_file(path: Path | None, *, instead: str = "") -> None:
    """Refuse, before any work, a file of JSON that is named as another kind of file, or cannot be written.

    Args:
        path: What ``--out`` says.
        instead: What writes another kind of file, in words.

    Raises:
        ArgumentError: It ends as something else.
        SaveError: It has no folder, or something else lies there.
    """
    if path is not None and path.suffix.lower() not in (".json", ""):
        more = f"; {instead}" if instead else ""
        raise ArgumentError(f"--out {str(path)!r} is written as JSON and should end in .json{more}")
    check_files(path)


def write_json_file(path: Path, text: str) -> None:
    """Write JSON whole or not at all, and say where it lies."""
    data = escaped_json(text) + "\n"
    write_atomically(path, lambda scratch: scratch.write_text(data, encoding="utf-8"))
    wrote(path)
