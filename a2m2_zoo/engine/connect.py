"""The connection to a Ray cluster, and what room there is."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from a2m2_zoo.engine.place import Ray
from a2m2_zoo.errors import DependencyError, EngineError

_log = logging.getLogger(__name__)

_SHARE = 0.25  # of a GPU
_ANSWER_SECONDS = 10.0


def check_installed() -> None:
    """Refuse to go on without Ray.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        import pyarrow  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f"engine is 'ray', and Ray cannot be used here ({str(error).splitlines()[0]}): "
            'pip install "a2m2_zoo[ray]", or leave it out'
        ) from error


@contextmanager
def connected(where: Ray) -> Iterator[None]:
    """Connected to the cluster, and no longer than before."""
    import ray
    import ray.data

    log = logging.getLogger("ray.data")
    before = log.level
    if where.quiet:
        log.setLevel(logging.CRITICAL + 1)
    own = not ray.is_initialized()
    try:
        if own:
            _connect(where)
        yield
    finally:
        log.setLevel(before)
        if own:
            ray.shutdown()


def _connect(where: Ray) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that this call starts
    address = where.address or os.environ.get("RAY_ADDRESS", "")
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    try:
        _check_answers(address)
        ray.init(
            address=where.address,
            include_dashboard=False,
            log_to_driver=not where.quiet,
            logging_level=logging.ERROR if where.quiet else logging.INFO,
        )
    except (
        OSError,
        RuntimeError,
        ValueError,
        OverflowError,
        AssertionError,
        ray.exceptions.RayError,
    ) as error:
        raise EngineError(
            f"cannot connect to Ray at {address or 'this machine'} ({line(error)}); give the address of a "
            "running head as HOST:PORT, see `ray status`"
        ) from error
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray takes it, and ends the program at once


def _check_answers(address: str) -> None:
    """Whether anything answers there, which Ray itself would ask for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isascii() and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()


def sizes(where: Ray) -> tuple[int, float, int]:
    """Cores and GPUs of a worker, and how many workers there is room for now."""
    import ray

    nodes: Any = ray.nodes
    machines = [node["Resources"] for node in nodes() if node["Alive"]]
    cpus, gpus = shares(where, machines)
    room = sum(
        min(
            int(machine.get("CPU", 0) / cpus),
            int(machine.get("GPU", 0) / gpus + 1e-6) if gpus else 1 << 30,
        )
        for machine in machines
    )
    if not room:
        _log.warning(
            "no machine of the cluster has room for a worker of %d core(s) and %g GPU(s) yet; waiting",
            cpus,
            gpus,
        )
    return cpus, gpus, room


def shares(where: Ray, machines: Sequence[dict[str, float]]) -> tuple[int, float]:
    """Cores and GPUs of a worker.

    Args:
        where: What was asked.
        machines: ``CPU`` and ``GPU`` of each machine, where it has any.

    >>> shares(Ray(), [{"CPU": 16.0}, {"CPU": 32.0, "GPU": 2.0}])
    (4, 0.25)
    >>> shares(Ray(gpus=0), [{"CPU": 16.0, "GPU": 1.0}])
    (1, 0.0)
    """
    with_gpus = [machine for machine in machines if machine.get("GPU")]
    gpus = where.gpus if where.gpus is not None else _SHARE if with_gpus else 0.0
    cpus = where.cpus or 1
    if where.cpus is None and gpus and with_gpus:
        cores = min(machine.get("CPU", 0) / machine["GPU"] for machine in with_gpus)
        cpus = max(1, int(cores * gpus))
    return cpus, float(gpus)


def line(error: BaseException) -> str:
    """What an error of Ray says, as one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said:.200}"
