"""Whether this process works for a cluster, and on which of its machines."""

from __future__ import annotations

_machine = ""


def set_machine(name: str) -> None:
    """Say that this process works for a cluster, on the machine of that name."""
    global _machine  # a process is a worker, or it is none
    _machine = name


def unseen() -> str:
    """What to do about a file that is not there."""
    if not _machine:
        return "no such file or folder: check the path"
    return (
        f"no such file or folder on the machine {_machine}: every machine of the cluster must have the clips "
        "under the same paths"
    )
