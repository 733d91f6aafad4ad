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
from torch import Tensor, nn

from a2m2_zoo.backbones.lite import Lite0
from a2m2_zoo.features import encoder
from a2m2_zoo.pose import Poses, embedded_pose
from a2m2_zoo.pose import people as looking
from a2m2_zoo.pose.blazepose import BlazePose, Detector, Landmarker
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
_WEIGHTS: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def _digest(*arrays: np.ndarray) -> str:
    made = hashlib.sha256()  # which processors compute themselves
    for array in arrays:
        made.update(f"{array.shape} {array.dtype}".encode())
        made.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return made.hexdigest()


def _weights(network: nn.Module) -> str:
    """Of a network in evaluation mode, whose weights stay as they are."""
    if network not in _WEIGHTS:
        _WEIGHTS[network] = _digest(*(value.numpy() for value in network.state_dict().values()))
    return _WEIGHTS[network]


def _answer(network: nn.Module, pictures: Tensor, forward: Callable[..., Any]) -> Any:
    """What a network says of pictures, as a new list of tensors; ``None`` where it is to be computed."""
    plain = pictures.dtype == torch.float32 and pictures.device.type == "cpu"
    if not plain or network.training or not torch.is_inference_mode_enabled():
        return None

    def compute() -> tuple[Any, int]:
        found = forward()
        return found, sum(x.nbytes for x in found)

    key = (type(network), _weights(network), _digest(pictures.numpy()))
    return [x.clone() for x in _KEPT.answer(key, compute)]


def _encode(network: Lite0, frames: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    def forward() -> list[Tensor]:
        maps, pooled = _NETWORK(network, frames)
        return [*maps.values(), pooled]

    found = _answer(network, frames, forward)
    if found is None:
        return _NETWORK(network, frames)
    return dict(zip(network.stages, found, strict=False)), found[-1]


def _look(computed: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass of one of the networks that look for people."""

    def forward(network: nn.Module, pictures: Tensor) -> Any:
        found = _answer(network, pictures, lambda: computed(network, pictures))
        return computed(network, pictures) if found is None else tuple(found)

    return forward


def _find(frames: Any, *, most: int = 2, network: Any = None) -> Poses:
    """Who is in a whole clip."""
    used = network or embedded_pose()
    known = isinstance(used, BlazePose) and type(most) is int
    if not known or not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
        return _FIND(frames, most=most, network=network)

    def compute() -> tuple[Any, int]:
        found = _FIND(frames, most=most, network=network)
        values = [found.points, found.visibility, found.presence]
        return values, sum(x.nbytes for x in values)

    key = (_find, _weights(used), most, _digest(frames))
    with torch.inference_mode():
        return Poses(*(x.clone() for x in _KEPT.answer(key, compute)))


def _draw(what: Any, rng: np.random.Generator, **how: Any) -> np.ndarray:
    if how.get("times") is not None:
        return _DRAW(what, rng, **how)

    def compute() -> tuple[Any, int]:
        drawn = _DRAW(what, rng, **how)
        return drawn, drawn.nbytes

    key = repr((what, rng.bit_generator.state, sorted(how.items())))
    drawn: np.ndarray = _KEPT.answer(key, compute).copy()
    return drawn


_NETWORK, _DRAW, _FIND = Lite0._encode, scene.draw_program, looking.find_people
_PEOPLE = {kind: kind.forward for kind in (Detector, Landmarker)}


@contextmanager
def _computed_by(encode: Any, draw: Any, find: Any, people: dict[Any, Any]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lite0, "_encode", encode)
        patch.setattr(scene, "draw_program", draw)
        for module in (encoder, explain, model, training_free):
            patch.setattr(module, "find_people", find)
        for kind, forward in people.items():
            patch.setattr(kind, "forward", forward)
        yield


def remembered() -> AbstractContextManager[None]:
    """Within it the same clip is drawn once, and the embedded networks look at the same pictures once."""
    people = {kind: _look(forward) for kind, forward in _PEOPLE.items()}
    return _computed_by(_encode, _draw, _find, people)


def anew() -> AbstractContextManager[None]:
    """Within ``remembered``: everything is computed, as in a user's process."""
    return _computed_by(_NETWORK, _DRAW, _FIND, _PEOPLE)
