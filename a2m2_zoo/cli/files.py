"""Files beside the answers: looked at before any work, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from a2m2_zoo._utils.files import check_file, exists, is_folder, write_atomically
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


def check_ending(option: str, path: Path | None, *endings: str, instead: str = "") -> None:
    """Refuse a file that is named as one of another kind: it may be somebody's video, or their bank.

    Raises:
        ArgumentError: It ends as something else.
    """
    if path is not None and path.suffix.lower() not in endings:
        said = " or ".join(ending for ending in endings if ending)
        more = f"; {instead}" if instead else ""
        raise ArgumentError(f"{option} {str(path)!r} should end in {said}{more}")


def check_kind(option: str, path: Path, kind: str) -> None:
    """Refuse to replace a file that is there by one of another kind.

    Raises:
        ArgumentError: It is none, or cannot be read.
    """
    from a2m2_zoo.hub.kind import kind_of

    if exists(path) and (found := kind_of(path)) != kind:
        what = f"a file of kind {found[:40]!r}" if found else "no file of this package"
        raise ArgumentError(f"{option} {str(path)!r} is {what}, and stays as it is; name another")


def check_json_file(path: Path | None, *, instead: str = "") -> None:
    """Refuse, before any work, a file of JSON that is named as another kind of file, or cannot be written.

    Args:
        path: What ``--out`` says.
        instead: What writes another kind of file, in words.

    Raises:
        ArgumentError: It ends as something else.
        SaveError: It has no folder, or something else lies there.
    """
    check_ending("--out", path, ".json", "", instead=instead)
    check_files(path)


def write_json_file(path: Path, text: str) -> None:
    """Write JSON whole or not at all, and say where it lies."""
    data = escaped_json(text) + "\n"
    write_atomically(path, lambda scratch: scratch.write_text(data, encoding="utf-8"))
    wrote(path)
