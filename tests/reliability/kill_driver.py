"""A warm process that runs commands of the command line in children, to be killed: no import is paid twice.

Reads one JSON list of arguments a line from stdin; forks, answers with the child's process id; the child runs
the command with its output in a file; when it has ended, however, answers with its status.
"""

from __future__ import annotations

import json
import os
import sys

import av  # noqa: F401
import matplotlib.pyplot as plt  # noqa: F401
import torch

from a2m2_zoo.cli import main


def serve(log: str) -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        argv = json.loads(line)
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os._exit(main(argv))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
