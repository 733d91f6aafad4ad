"""A run's folder: opened once, and in the end with a receipt of what was done."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.printable import escaped_json
from a2m2_zoo._version import __version__
from a2m2_zoo.errors import ArgumentError, SaveError
from a2m2_zoo.training.distributed import Ranks
from a2m2_zoo.training.state import LAST

RECEIPT = "receipt.json"


def open_folder(out: Path, *, resume: bool, ranks: Ranks) -> Path:
    """The run's folder, made, and empty of runs unless one is resumed.

    Args:
        out: The folder.
        resume: Whether a run may be there.
        ranks: The processes, which wait for the first one.

    Raises:
        ArgumentError: It holds a run.
        SaveError: It cannot be made.
    """
    if ranks.first:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaveError(
                f"cannot make {str(out)!r}: {error.strerror or error}; name a folder"
            ) from error
        if not resume and (out / LAST).exists():
            raise ArgumentError(
                f"{str(out)!r} holds a run already; resume it, or name another folder"
            )
    ranks.wait()
    return out


def write_receipt(out: Path, facts: Mapping[str, Any]) -> None:
    """Write ``receipt.json``: the facts, after the versions they were found with.

    Args:
        out: The run's folder.
        facts: Plain values.

    Raises:
        SaveError: It could not be written.
    """
    versions = {
        "a2m2_zoo": __version__,
        "python": platform.python_version(),
        "packages": {package: version(package) for package in ("torch", "numpy")},
    }
    _write(out, {**versions, **facts})


def add_to_receipt(out: Path, facts: Mapping[str, Any]) -> None:
    """Add what was found after training to the receipt that is there.

    Args:
        out: The run's folder.
        facts: Plain values.

    Raises:
        SaveError: It could not be written.
    """
    found = json.loads((out / RECEIPT).read_text(encoding="utf-8"))
    _write(out, {**found, **facts})


def _write(out: Path, facts: Mapping[str, Any]) -> None:
    text = escaped_json(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"
    write_atomically(out / RECEIPT, lambda scratch: scratch.write_text(text, encoding="utf-8"))
