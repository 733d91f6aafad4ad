"""What is said of where work is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from a2m2_zoo._utils.arguments import kind, real, whole
from a2m2_zoo.errors import ArgumentError

T = TypeVar("T")
R = TypeVar("R")

#: Takes items and gives a result for each, in their order. An item that fails is a result, too: its error.
Work: TypeAlias = Callable[[Iterable[T]], Iterator[R]]
#: Makes the work, once for each worker. For Ray it can be pickled, with all that it holds.
Make: TypeAlias = Callable[[], Work[T, R]]


@dataclass(frozen=True, kw_only=True)
class Ray:
    """Work is done by actors of a Ray cluster (the extra ``ray``).

    Where the program is connected to Ray already, by ``ray.init``, that connection is used.

    Attributes:
        address: Of the cluster's head, such as ``10.0.0.1:6379``; ``auto`` for one that runs on this machine.
            None takes ``RAY_ADDRESS``, else one that runs on this machine, else starts one for the call.
        cpus: Cores of a worker, which computes on that many threads. None is one; where workers have a share
            of a GPU, the same share of the cores.
        gpus: Share of a GPU of a worker; 0 computes on CPUs. None is a quarter where the cluster has GPUs.
        workers: Workers at most; None for as many as there is room for, also on machines that come later.
        quiet: Leave out what Ray itself says: its progress, its log, what workers print.

    Raises:
        ArgumentError: A value is out of range.

    >>> Ray(address="10.0.0.1:6379", gpus=0.5).gpus
    0.5
    """

    address: str | None = None
    cpus: int | None = None
    gpus: float | None = None
    workers: int | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.address is not None and not isinstance(self.address, str):
            raise ArgumentError(f"address is {kind(self.address)}; expected text, as HOST:PORT")
        if (self.address or "").startswith("ray://"):
            raise ArgumentError(
                f"the address {self.address!r} is of Ray's client, which has no part in Ray Data; run this "
                "on a machine of the cluster (`ray job submit`), with HOST:6379 or auto"
            )
        whole("cpus", self.cpus)
        whole("workers", self.workers)
        real("gpus", self.gpus, "a share of a GPU, or a number of them", least=0, most=64)


#: Where work is done: ``local`` (or None) in this process, ``ray`` by ``Ray()``, or a ``Ray`` that says more.
Engine: TypeAlias = "str | Ray | None"


def as_engine(engine: Any) -> Ray | None:
    """The cluster that is meant; None for this process.

    Raises:
        ArgumentError: It is neither.
    """
    if engine is None or engine == "local":
        return None
    if engine == "ray":
        return Ray()
    if isinstance(engine, Ray):
        return engine
    raise ArgumentError(
        f"engine is {engine!r:.60}; expected 'local', 'ray' or a2m2_zoo.engine.Ray(...)"
    )
