"""A warm process that builds an archive in children, to be killed; see ``tests/reliability/kill_driver.py``.

What LanceDB needs is imported, and not LanceDB, whose threads a forked child would lack.
"""

from __future__ import annotations

import os
import sys

import lance_namespace  # noqa: F401
import pandas as pd  # noqa: F401
import pyarrow.dataset  # noqa: F401
import torch

from a2m2_zoo.archive import writing
from a2m2_zoo.cli import main


def serve(log: str) -> None:
    """Answer until stdin ends."""
    writing._ROWS = 2  # many small writes, to be killed between and in
    for line in sys.stdin:
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os._exit(main(line.rstrip("\n").split("\t")))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
