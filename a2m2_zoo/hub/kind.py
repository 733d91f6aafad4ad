"""What a file is, told from its header alone."""

from __future__ import annotations

import os
from pathlib import Path

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.files import open_regular
from a2m2_zoo.hub._header import read_header


def kind_of(path: Path) -> str | None:
    """What ``checkpoint.save`` was told that it is; None for a broken file, or one of somebody else."""
    try:
        with open_regular(path) as file:
            header = read_header(file, os.fstat(file.fileno()).st_size)
        return str(parse(header.metadata["a2m2_zoo"])["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
