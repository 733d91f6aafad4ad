"""What is drawn, and what is read and seen in it, computed once: for tests of what is done with it.

Answers are kept by all that they depend on, to the bit, and handed out in copies. Tests of the generator, of
the networks, of batches, threads, precision or the host's settings have nothing of it: there the computing is
what is asked for.

What the embedded networks see is kept on disk as well, as long as the run: for the other processes of it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from a2m2_zoo.backbones import Features
from a2m2_zoo.backbones.lite import Lite0
from a2m2_zoo.features import encoder
from a2m2_zoo.methods.a2m2 import A2M2
from a2m2_zoo.pose import Poses, embedded_pose
from a2m2_zoo.pose import people as looking
from a2m2_zoo.pose.blazepose import BlazePose, Detector, Landmarker
from a2m2_zoo.recognition import model
from a2m2_zoo.report import explain
from a2m2_zoo.synthetic import scene
from a2m2_zoo.video import Clip, decode
from a2m2_zoo.video.clip import Job, Limits
from a2m2_zoo.zoo import training_free

FOLDER = "A2M2_TESTS_REMEMBER"  # names the folder for the answers that the run's processes share

_MOST = 400 << 20  # bytes of answers; those not asked for longest go first
_LARGE = 16 << 20  # bytes of a file that is read anew each time
_MOST_ON_DISK = 400 << 20  # bytes that one process leaves for the others


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


class _Shared:
    """Lists of tensors by their key, on disk."""

    def __init__(self) -> None:
        self._left = _MOST_ON_DISK

    def answer(self, key: object, compute: Callable[[], list[Tensor]]) -> tuple[list[Tensor], int]:
        """What ``compute`` gives, or gave in a process of the same run, and its size in bytes."""
        place = Path(os.environ.get(FOLDER, "")) / hashlib.sha256(repr(key).encode()).hexdigest()
        if FOLDER in os.environ and place.exists():
            read = load_file(place)
            found = [read[str(i)] for i in range(len(read))]
        else:
            found = compute()
            self._leave(place, found)
        return found, sum(x.nbytes for x in found)

    def _leave(self, place: Path, found: list[Tensor]) -> None:
        size = sum(x.nbytes for x in found)
        if not place.parent.is_dir() or FOLDER not in os.environ or size > self._left:
            return
        self._left -= size
        with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as file:
            pass
        save_file({str(i): x.contiguous() for i, x in enumerate(found)}, file.name)
        Path(file.name).replace(place)  # whole for whoever reads it


_KEPT, _SHARED = _Kept(), _Shared()
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


def _plain(network: nn.Module, *given: Tensor) -> bool:
    """Whether what a network says of this is the same in every process."""
    known = all(x.dtype == torch.float32 and x.device.type == "cpu" for x in given)
    return known and not network.training and torch.is_inference_mode_enabled()


def _answer(network: nn.Module, pictures: Tensor, forward: Callable[..., Any]) -> Any:
    """What a network says of pictures, as a new list of tensors; ``None`` where it is to be computed."""
    if not _plain(network, pictures):
        return None

    def compute() -> tuple[Any, int]:
        if isinstance(network, Lite0):
            return _SHARED.answer(key, forward)
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

    def find() -> list[Tensor]:
        found = _FIND(frames, most=most, network=network)
        return [found.points, found.visibility, found.presence]

    def compute() -> tuple[Any, int]:
        return _SHARED.answer(key, find)

    key = ("find", _weights(used), most, _digest(frames))
    with torch.inference_mode():
        return Poses(*(x.clone() for x in _KEPT.answer(key, compute)))


def _describe(method: Any, features: Features) -> list[dict[str, Tensor]]:
    """Descriptors of clips."""
    people = [] if features.people is None else [features.people]
    given = [*features.maps.values(), features.pooled, *people]
    if type(method) is not A2M2 or not _plain(method, *given):
        return _DESCRIBE(method, features)

    def compute() -> tuple[Any, int]:
        found = _DESCRIBE(method, features)
        return found, sum(x.nbytes for part in found for x in part.values())

    seen = _digest(*(x.numpy() for x in given))
    key = (_describe, repr(method.config), _weights(method), tuple(features.maps), seen)
    found: list[dict[str, Tensor]] = _KEPT.answer(key, compute)
    return [{name: x.clone() for name, x in part.items()} for part in found]


def _read(path: Any, job: Job) -> Clip:
    """The wanted frames of a whole file."""
    usual = isinstance(path, Path) and job.limits == Limits() and job.threads == 1
    if not usual or path.stat().st_size > _LARGE:
        return _READ(path, job)

    def compute() -> tuple[Any, int]:
        clip = _READ(path, job)
        return clip, clip.frames.nbytes + clip.wide.nbytes

    job.watch.check()
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    clip: Clip = _KEPT.answer((_read, content, job.name, job.spec, job.seed, job.strict), compute)
    uncropped = None if clip.uncropped is None else clip.uncropped.copy()
    return replace(clip, frames=clip.frames.copy(), uncropped=uncropped)


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
_DESCRIBE, _READ = model.encoded_pieces, decode.READERS["pyav"]
_PEOPLE = {kind: kind.forward for kind in (Detector, Landmarker)}


@contextmanager
def _computed_by(
    encode: Any, draw: Any, find: Any, describe: Any, read: Any, people: dict[Any, Any]
) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lite0, "_encode", encode)
        patch.setattr(scene, "draw_program", draw)
        patch.setattr(model, "encoded_pieces", describe)
        patch.setitem(decode.READERS, "pyav", read)
        for module in (encoder, explain, model, training_free):
            patch.setattr(module, "find_people", find)
        for kind, forward in people.items():
            patch.setattr(kind, "forward", forward)
        yield


def remembered() -> AbstractContextManager[None]:
    """Within it the same clip is drawn, read and described once, and looked at once by the same network."""
    people = {kind: _look(forward) for kind, forward in _PEOPLE.items()}
    return _computed_by(_encode, _draw, _find, _describe, _read, people)


def anew() -> AbstractContextManager[None]:
    """Within ``remembered``: everything is computed, as in a user's process."""
    return _computed_by(_NETWORK, _DRAW, _FIND, _DESCRIBE, _READ, _PEOPLE)
