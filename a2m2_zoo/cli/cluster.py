"""The options for many machines, and their answers as they come."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeAlias

import typer

from a2m2_zoo.cli.options import Machine

if TYPE_CHECKING:
    from a2m2_zoo.engine import Ray
    from a2m2_zoo.engine.keyed import Keyed
    from a2m2_zoo.errors import A2M2Error
    from a2m2_zoo.recognition.episode import Prediction

#: A clip, the hash of its content, and its answer.
Found: TypeAlias = "tuple[Path, str | None, Prediction | A2M2Error]"


class EngineName(str, enum.Enum):
    """Where clips are worked on."""

    LOCAL = "local"
    RAY = "ray"


_MACHINES = "Many machines"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """On which machines clips are worked on."""

    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="local, or ray: on the machines of a Ray cluster (extra ray), which must have the clips "
            "under the same paths. --threads then are those of each worker.",
            rich_help_panel=_MACHINES,
        ),
    ] = EngineName.LOCAL
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT",
            help="The head of the Ray cluster, or auto.",
            show_default="$RAY_ADDRESS, or a cluster on this machine",
            rich_help_panel=_MACHINES,
        ),
    ] = None
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus",
            min=0,
            max=64,
            help="Share of a GPU for each worker; 0 computes on CPUs.",
            show_default="0.25 where there are GPUs",
            rich_help_panel=_MACHINES,
        ),
    ] = None

    def of(self, machine: Machine) -> Ray | None:
        """The same for the package's functions; None for this process.

        Raises:
            DependencyError: Ray is not installed.
            ArgumentError: The address is none.
        """
        if self.engine is EngineName.LOCAL:
            if self.address is not None or self.gpus is not None:
                raise typer.BadParameter("--address and --gpus need --engine ray")
            return None
        if machine.device not in ("auto", "cpu", "cuda"):
            raise typer.BadParameter(
                f"--device {machine.device} does not go with --engine ray, which gives each worker a device; "
                "expected auto, cpu or cuda"
            )
        from a2m2_zoo.engine import Ray
        from a2m2_zoo.engine.connect import check_installed

        check_installed()
        gpus = 0.0 if machine.device == "cpu" else self.gpus
        return Ray(address=self.address, cpus=machine.threads, gpus=gpus, quiet=True)


class AskFar(Protocol):
    """Gives the answers of a cluster, as they come."""

    def __call__(
        self, clips: Sequence[Path], *, known: frozenset[bytes]
    ) -> Iterator[tuple[int, Keyed[Prediction | A2M2Error]]]:
        """Answer the clips whose content is not among those known."""


def from_cluster(
    clips: Sequence[Path],
    far: AskFar,
    contents: frozenset[bytes],
    known: Callable[[Path, str | None], bool],
) -> Iterator[Found]:
    """Answers of a cluster, whose machines hash the clips; what is not known after all takes a second turn.

    Args:
        clips: The clips.
        far: Answers them.
        contents: Those with an answer.
        known: Whether there is an answer for a clip of this content.
    """
    while clips:
        copies = []
        for place, found in far(clips, known=contents):
            if not found.known:
                assert found.result is not None
                yield clips[place], found.key, found.result
            elif not known(clips[place], found.key):
                copies.append(clips[place])
        clips, contents = copies, frozenset()
