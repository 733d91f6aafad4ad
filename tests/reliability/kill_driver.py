"""A warm process that runs commands of the command line in children, to be killed: no import is paid twice.

Reads one JSON request a line from stdin, see ``Request``; forks, answers with the child's process id; the
child runs the command with its output in a file; when it has ended, however, answers with its status. If it
came to its end, a file beside the output says how many of the moments that were asked for it had.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TypedDict

import av  # noqa: F401
import matplotlib.pyplot as plt  # noqa: F401
import torch

from a2m2_zoo.cli import main


class Request(TypedDict):
    """What a child does.

    Attributes:
        argv: The arguments of the command.
        mark: Its moments are those when a file or folder with this in its path is opened, made, renamed or
            removed.
        at: At which of them, from 1, it sends itself ``signal``; None for never.
        signal: The number of the signal.
    """

    argv: list[str]
    mark: str
    at: int | None
    signal: int


def moments(request: Request) -> list[str]:
    """The moments so far; at the one that was asked for the signal is sent."""
    had: list[str] = []

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            return
        if request["mark"] in str(arguments[0]):
            had.append(event)
            if len(had) == request["at"]:
                os.kill(os.getpid(), request["signal"])

    sys.addaudithook(heard)
    return had


def serve(log: str) -> None:
    """Answer until stdin ends."""
    for line in sys.stdin:
        request: Request = json.loads(line)
        child = os.fork()
        if not child:
            torch.set_num_threads(1)
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            had = moments(request)
            code = main(request["argv"])
            count = os.open(f"{log}.moments", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.write(count, str(len(had)).encode())
            os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
