"""What an actor of Ray does with the blocks it is given."""

from __future__ import annotations

from typing import Any


def worker_class(work: Any, version: str, threads: int, folder: str) -> type:
    """The class of an actor.

    It is made here so that Ray sends its code along: machines without this package, or with another version
    of it, can then say so themselves.

    Args:
        work: Where the pickled work lies in the object store.
        version: Of the package, here.
        threads: That it computes on.
        folder: The caller's, where names of clips begin.
    """

    class Worker:
        def __init__(self) -> None:
            import os
            import socket
            from contextlib import suppress

            self.host, self.fault = socket.gethostname(), ""
            with suppress(OSError):
                os.chdir(folder)  # so that names of clips mean what they mean to the caller
            try:
                try:
                    import a2m2_zoo
                except ImportError:
                    here = "does not have a2m2_zoo"
                else:
                    here = f"has a2m2_zoo {a2m2_zoo.__version__}"
                if here != f"has a2m2_zoo {version}":
                    self.fault = (
                        f"the machine {self.host} {here}; expected {version}, as here: install it on "
                        "every machine of the cluster"
                    )
                    return
                import pickle

                import ray

                from a2m2_zoo._utils.machine import set_machine

                a2m2_zoo.set_threads(threads)
                set_machine(self.host)
                self.work = pickle.loads(ray.get(work))()  # noqa: S301 - of the caller
            except Exception as error:
                self.fail(error)

        def fail(self, error: Exception) -> None:
            said = " ".join(str(error).split())
            self.fault = f"on the machine {self.host}: {type(error).__name__}: {said:.400}"

        def __call__(self, table: Any) -> Any:
            import pickle

            import pyarrow as pa

            places, results = table["place"].to_pylist(), list[bytes]()
            if not self.fault:
                try:
                    items = (pickle.loads(item.as_py()) for item in table["item"])  # noqa: S301
                    results += map(pickle.dumps, self.work(items))
                except Exception as error:
                    self.fail(error)
            if self.fault:
                places, results = places[:1], [b""]
            yield pa.table(
                {
                    "place": pa.array(places, pa.int64()),
                    "result": pa.array(results, pa.large_binary()),
                    "fault": pa.array([self.fault] * len(places), pa.string()),
                }
            )

    return Worker


def own_device() -> str:
    """In a worker: ``cuda`` where it was given a share of a GPU that torch can use, else ``cpu``."""
    import ray
    import torch

    given = ray.get_runtime_context().get_accelerator_ids().get("GPU")
    return "cuda" if given and torch.cuda.is_available() else "cpu"
