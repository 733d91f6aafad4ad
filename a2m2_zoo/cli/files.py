"""Files beside the answers: looked at before any work, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from a2m2_zoo._utils.files import check_file, is_folder, write_atomically
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo.cli.output import wrote
from a2m2_zoo.errors import SaveError


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


def write_json_file(path: Path, text: str) -> None:
    """Write JSON whole or not at all, and say where it lies."""
    data = escaped_json(text) + "\n"
    write_atomically(path, lambda scratch: scratch.write_text(data, encoding="utf-8"))
    wrote(path)
