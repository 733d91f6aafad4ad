"""Networks run by onnxruntime on CPUs, about twice as fast as by torch; equal to 1e-4, not to the bit.

The graph is written from the torch network itself when it is first used and stays in memory. Each run is on
one core, in the thread that calls, as everything in this package is.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, Generic

import torch
from torch import Tensor

from a2m2_zoo._utils.locks import Lock
from a2m2_zoo._utils.typing import Float
from a2m2_zoo.backbones.base import Backbone, Network
from a2m2_zoo.backbones.lite import Lite0, lite_graph
from a2m2_zoo.errors import ArgumentError, DependencyError

RUNTIMES = ("auto", "torch", "onnxruntime")

#: Backbones that can be written as a graph.
_GRAPHS: dict[type[Backbone], Callable[[Any], bytes]] = {Lite0: lite_graph}

_lock = Lock()


class Session(Generic[Network]):
    """A network as a graph: pictures to what the graph gives, in its order.

    Args:
        network: Whose weights it has, also where they change.
        write: The network as a file.
    """

    def __init__(self, network: Network, write: Callable[[Network], bytes]) -> None:
        self._network, self._write = network, write
        self._weights: list[tuple[dict[str, Any], str]] = []
        self._made: tuple[object, Any] = None, None

    def __call__(self, pictures: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        """Run it."""
        found = self._session().run(None, {"pictures": pictures.contiguous().numpy()})
        return [torch.from_numpy(value) for value in found]

    def __getstate__(self) -> dict[str, Any]:
        """Without what cannot be copied; a copy writes its own graph."""
        return {**self.__dict__, "_weights": [], "_made": (None, None)}

    def _session(self) -> Any:
        state, session = self._made
        if session is None or state != self._state():
            with _lock.held:
                state, session = self._made
                if session is None or state != self._state():
                    self._weights = [
                        (module._parameters, name)
                        for module in self._network.modules()
                        for name, weight in module._parameters.items()
                        if weight is not None
                    ]
                    session = _opened(self._write(self._network))
                    self._made = self._state(), session
        return session

    def _state(self) -> list[tuple[int, int]]:
        """Changes with the weights."""
        weights = (held[name] for held, name in self._weights)
        return [(x.data_ptr(), 0 if x.is_inference() else x._version) for x in weights]


def with_runtime(backbone: Backbone, runtime: str) -> Backbone:
    """The backbone, computed as wanted; where not by torch, another object with the same weights.

    In another precision, where gradients are kept and in training, torch computes it all the same.

    Args:
        backbone: The backbone.
        runtime: One of ``RUNTIMES``; ``auto`` is ``onnxruntime`` where that is installed and can compute
            it, and ``torch`` elsewhere.

    Raises:
        ArgumentError: The runtime is unknown, or cannot compute this backbone.
        DependencyError: onnxruntime is not installed.
    """
    check_runtime(runtime)
    write, device = _GRAPHS.get(type(backbone)), next(backbone.parameters()).device
    if runtime == "torch":
        return backbone
    if runtime == "auto" and (write is None or device.type != "cpu" or _missing() is not None):
        return backbone
    if write is None:
        raise ArgumentError(
            f"runtime is 'onnxruntime', which computes the backbone lite and not {backbone.name}; "
            "leave it out, or take 'auto'"
        )
    if device.type != "cpu":
        raise ArgumentError(
            f"runtime is 'onnxruntime', which computes on CPUs, and the device is {str(device)!r}; "
            "leave one of them out"
        )
    if (why := _missing()) is not None:
        raise DependencyError(
            f"runtime is 'onnxruntime', and that package cannot be used here ({why}): "
            'pip install "a2m2_zoo[fast]", or leave it out'
        )
    found = copy(backbone)  # shares the weights
    found.session = Session(found, write)
    return found


def check_runtime(runtime: str) -> None:
    """Refuse a runtime that there is not.

    Raises:
        ArgumentError: It is none of ``RUNTIMES``.
    """
    if not isinstance(runtime, str) or runtime not in RUNTIMES:
        raise ArgumentError(f"runtime is {runtime!r}; expected one of {', '.join(RUNTIMES)}")


def _missing() -> str | None:
    """Why onnxruntime cannot be used; None where it can."""
    try:
        import onnxruntime  # noqa: F401
    except (ImportError, OSError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _opened(file: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
