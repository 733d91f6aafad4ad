"""What is drawn, and what the embedded networks see in it, computed once: for tests of what is done with it.

Answers are kept by all that they depend on, to the bit, and handed out in copies. Tests of the generator, of
the networks, of batches, threads, precision or the host's settings have nothing of it: there the computing is
what is asked for.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch
from torch import Tensor

from a2m2_zoo.backbones.lite import Lite0
from a2m2_zoo.features import cache
from a2m2_zoo.pose.people import Poses, find_people
from a2m2_zoo.recognition import model
from a2m2_zoo.report import explain
from a2m2_zoo.synthetic import scene
from a2m2_zoo.zoo import training_free

_MOST = 400 << 20  # bytes of answers; those not asked for longest go first


class _Kept:
    """Answers by their key, from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def answer(self, key: object, compute: Callable[[], tuple[Any, int]]) -> Any:
        """What ``compute`` gives, with its size in bytes, or gave before."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        found = compute()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = found
                self._bytes += found[1]
            while self._bytes > _MOST:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return found[0]


_KEPT = _Kept()
_WEIGHTS: WeakKeyDictionary[Lite0, str] = WeakKeyDictionary()


def _digest(*arrays: np.ndarray) -> str:
    made = hashlib.blake2b(digest_size=20)
    for array in arrays:
        made.update(f"{array.shape} {array.dtype}".encode())
        made.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return made.hexdigest()


def _weights(network: Lite0) -> str:
    """Of a network in evaluation mode, whose weights stay as they are."""
    if network not in _WEIGHTS:
        _WEIGHTS[network] = _digest(*(value.numpy() for value in network.state_dict().values()))
    return _WEIGHTS[network]


def _encode(network: Lite0, frames: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    plain = frames.dtype == torch.float32 and frames.device.type == "cpu"
    if not plain or network.training or not torch.is_inference_mode_enabled():
        return _NETWORK(network, frames)

    def compute() -> tuple[Any, int]:
        maps, pooled = _NETWORK(network, frames)
        return (maps, pooled), sum(x.nbytes for x in (*maps.values(), pooled))

    key = (_weights(network), _digest(frames.numpy()))
    maps, pooled = _KEPT.answer(key, compute)
    return {name: value.clone() for name, value in maps.items()}, pooled.clone()


def _people(frames: np.ndarray) -> Poses:
    def compute() -> tuple[Any, int]:
        found = find_people(frames)
        return found, found.points.nbytes * 2

    found = _KEPT.answer(_digest(frames), compute)
    return Poses(found.points.clone(), found.visibility.clone(), found.presence.clone())


def _draw(what: Any, rng: np.random.Generator, **how: Any) -> np.ndarray:
    if how.get("times") is not None:
        return _DRAW(what, rng, **how)

    def compute() -> tuple[Any, int]:
        drawn = _DRAW(what, rng, **how)
        return drawn, drawn.nbytes

    key = repr((what, rng.bit_generator.state, sorted(how.items())))
    drawn: np.ndarray = _KEPT.answer(key, compute).copy()
    return drawn


_NETWORK, _DRAW = Lite0._encode, scene.draw_program


@contextmanager
def _computed_by(encode: Any, draw: Any, people: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lite0, "_encode", encode)
        patch.setattr(scene, "draw_program", draw)
        for module in (model, cache, explain, training_free):
            patch.setattr(module, "find_people", people)
        yield


def remembered() -> AbstractContextManager[None]:
    """Within it the same clip is drawn once, and the embedded networks look at the same pictures once."""
    return _computed_by(_encode, _draw, _people)


def anew() -> AbstractContextManager[None]:
    """Within ``remembered``: everything is computed, as in a user's process."""
    return _computed_by(_NETWORK, _DRAW, find_people)
