"""Work on many machines: one pipeline of Ray Data, in which a pool of actors takes blocks of items.

Its rows are pickled items and results, so that whatever the work knows goes through, and goes through as it
is. The work itself is pickled once, into Ray's object store, from where each machine fetches it once.

What a machine or a process had when it died is given out again in a further pass, item by item, as long as
that brings anything; then one item is tried alone, and given up if its process dies again. Ray itself retries
nothing: it knows how to do so without end only, or as often as a dead machine takes to be noticed, and an
item may be what its process dies of.
"""

from __future__ import annotations

import logging
import os
import pickle
import warnings
from collections.abc import Iterable, Iterator, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, TypeVar

from a2m2_zoo._utils.arguments import kind
from a2m2_zoo._version import __version__
from a2m2_zoo.engine.connect import connected, line, sizes
from a2m2_zoo.engine.place import Make, Ray
from a2m2_zoo.engine.worker import worker_class
from a2m2_zoo.errors import ArgumentError, EngineError

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

_BLOCK = 32  # items at most that one task takes, and that are done again when its machine dies
_BLOCKS = 16  # for each worker at least, where there are so many items
_PASSES = 2  # one after the other, that may bring nothing before an item is tried alone
_DEAD = 8  # items that died alone, one after the other, before the rest is given up
#: Of Ray Data. What a dead machine held is given out again here, however long that takes.
_SETTINGS = {
    "max_errored_blocks": -1,
    "max_consecutive_actor_init_deaths": 8,
    "execution_no_progress_timeout_s": -1,
}


def run_on(where: Ray, items: Iterable[T], make: Make[T, R]) -> Iterator[tuple[int, Any]]:
    """What ``run`` gives, from a cluster."""
    import ray

    given = list(items)
    if not given:
        return
    with connected(where):
        done = bytearray(len(given))
        work = ray.put(_pickled("the work", make))
        cpus, gpus, room = sizes(where)
        size = max(1, min(_BLOCK, len(given) // (_BLOCKS * max(1, room))))
        idle = dead = 0
        while left := [place for place, was in enumerate(done) if not was]:
            # What waits behind an item whose process dies is lost with it, each time: find that item.
            alone, fault = idle == _PASSES, ""
            tried = left[:1] if alone else left
            try:
                pool = _Pool(cpus, gpus, room, where.workers, where.quiet)
                for place, result in pool.results(given, tried, work, size):
                    if not done[place]:
                        done[place] = True
                        yield place, result
            except ray.exceptions.RayError as error:
                fault = line(error)
            size, lost = 1, done.count(0)
            if lost < len(left):
                idle, dead = _PASSES - 1 if alone else 0, 0
            elif not alone:
                idle += 1
            elif fault:
                raise EngineError(
                    f"Ray stopped with {lost} of {len(given)} left ({fault}); see its logs, and go on "
                    "once it runs"
                )
            else:
                idle, dead = _PASSES - 1, dead + 1
                for place in tried if dead < _DEAD else left:
                    done[place] = True
                    yield (
                        place,
                        EngineError(
                            f"{_name(given[place])}: its worker died each time; look at it alone, and at the "
                            "memory of the machines"
                        ),
                    )
            if lost and not alone:
                _log.warning("%d lost with a machine or a process; given out again", lost)


class _Pool:
    """Actors of one size, for one pass over items."""

    def __init__(self, cpus: int, gpus: float, room: int, most: int | None, quiet: bool) -> None:
        self._cpus, self._gpus, self._quiet = cpus, gpus, quiet
        self._room, self._most = max(1, min(room, most or room)), most

    def results(
        self, items: Sequence[Any], places: Sequence[int], work: Any, size: int
    ) -> Iterator[tuple[int, Any]]:
        """Places and results, as they come.

        Raises:
            EngineError: A machine lacks what is needed.
        """
        import pyarrow as pa
        import ray.data

        blocks = [places[i : i + size] for i in range(0, len(places), size)]
        pool = ray.data.ActorPoolStrategy(
            min_size=1, initial_size=min(self._room, len(blocks)), max_size=self._most
        )
        tables = [_table(pa, block, items) for block in blocks]
        data: Any = ray.data.from_blocks(tables)  # from_arrow gives the cluster a task for each
        with warnings.catch_warnings():
            # Ray is about to do without options for its actors; it then retries without end.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            data = data.map_batches(
                worker_class(work, __version__, self._cpus, str(Path.cwd())),
                batch_size=None,
                batch_format="pyarrow",
                compute=pool,
                num_cpus=self._cpus,
                num_gpus=self._gpus,
                **_options(data.map_batches),
            )
        data.set_name("a2m2")
        for name, value in _SETTINGS.items():
            if hasattr(data.context, name):
                setattr(data.context, name, value)
        if self._quiet:
            data.context.enable_progress_bars = False
        for found in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            columns = (found[name].to_pylist() for name in ("place", "result", "fault"))
            for place, result, fault in zip(*columns, strict=True):
                if fault:
                    raise EngineError(fault)
                yield place, pickle.loads(result)  # noqa: S301 - of a worker of our own


def _options(map_batches: Any) -> dict[str, Any]:
    """What is said of the actors, where this version of Ray takes it."""
    kinds = [parameter.kind for parameter in signature(map_batches).parameters.values()]
    return {"max_task_retries": 0} if Parameter.VAR_KEYWORD in kinds else {}


def _table(pa: Any, places: Sequence[int], items: Sequence[Any]) -> Any:
    pickled = [_pickled("a clip", items[place]) for place in places]
    return pa.table(
        {"place": pa.array(places, pa.int64()), "item": pa.array(pickled, pa.large_binary())}
    )


def _pickled(what: str, value: Any) -> bytes:
    from ray import cloudpickle

    dumps: Any = cloudpickle.dumps
    try:
        found: bytes = dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ArgumentError(
            f"{what} is {kind(value)}, which cannot be sent to other machines ({line(error)}); give paths"
        ) from error
    return found


def _name(item: object) -> str:
    return str(item) if isinstance(item, (str, os.PathLike)) else kind(item)
