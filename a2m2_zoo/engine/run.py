"""The one way from items to results, whichever the engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from a2m2_zoo.engine.place import Engine, Make, as_engine
from a2m2_zoo.errors import A2M2Error

T = TypeVar("T")
R = TypeVar("R")


def run(
    items: Iterable[T], make: Make[T, R], *, engine: Engine = None
) -> Iterator[tuple[int, R | A2M2Error]]:
    """The place of each item among the items, counted from 0, and its result, every item exactly once.

    In this process results come in order, and items are drawn as they are needed. On a cluster they come as
    they are known and items are drawn at once; what is lost with a machine or a process is done again, and an
    item whose process dies every time has an error for a result.

    Args:
        items: The items; for a cluster such as can be pickled. Clips are paths that every machine knows.
        make: Makes the work, see ``Make``. On a cluster once for each worker.
        engine: Where, see ``Engine``.

    Raises:
        ArgumentError: The engine is none. Raised at the call, as are the others that no work caused.
        DependencyError: Ray is not installed.
        EngineError: The cluster is not there, or a machine of it lacks what is needed.

    >>> list(run([3, 5], lambda: lambda numbers: (n * n for n in numbers)))
    [(0, 9), (1, 25)]
    """
    where = as_engine(engine)
    if where is None:
        return enumerate(make()(items))
    from a2m2_zoo.engine.cluster import run_on
    from a2m2_zoo.engine.connect import check_installed

    check_installed()
    return run_on(where, items, make)


def in_order(found: Iterable[tuple[int, R]]) -> Iterator[R]:
    """Results in the order of their items; what comes early is held.

    >>> list(in_order([(1, "b"), (0, "a"), (2, "c")]))
    ['a', 'b', 'c']
    """
    held: dict[int, R] = {}
    at = 0
    for place, result in found:
        held[place] = result
        while at in held:
            yield held.pop(at)
            at += 1
