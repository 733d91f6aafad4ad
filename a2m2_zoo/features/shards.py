"""Files of a few clips' tensors each, that several processes may write and read at once.

A shard is a safetensors file named by its own sha256, so writers cannot disagree about a name, no lock is
needed, and a reader knows what to expect before it parses. Its header lists the clips in order; the
tensors of clip i are named ``i/<name>``, so that one clip can be read without the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from a2m2_zoo._utils.bounded_json import parse
from a2m2_zoo._utils.files import open_regular, write_atomically
from a2m2_zoo.errors import CheckpointError, SaveError
from a2m2_zoo.hub._header import read_header
from a2m2_zoo.video.content import file_digest

FORMAT = 2
_SUFFIX = ".safetensors"

#: Shards this process has compared with their hash, as (path, size, time of change).
_verified: set[tuple[str, int, int]] = set()


class DamagedShardWarning(UserWarning):
    """A file of the cache is not what was written; it was set aside and its clips count as missing."""


class Shards:
    """All shards of one folder. Opening reads their headers only.

    Args:
        folder: Where they lie; need not exist before something is written.
        key: What all tensors in it have in common; shards with another key are refused.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        self._folder = folder
        self._key = key
        self._clips: dict[str, list[str]] = {}  # shard → its clips
        self._where: dict[str, tuple[str, int]] = {}  # clip → shard, position
        self._refused: set[str] = set()  # damaged, and could not be renamed

    def __contains__(self, clip: str) -> bool:
        return clip in self._where

    def __len__(self) -> int:
        return len(self._where)

    def holds(self, clip: str) -> bool:
        """Whether a clip is there in a shard that is as it was written; one that is damaged is set aside."""
        while clip in self._where:
            if self._sound(self._where[clip][0]):
                return True
        return False

    def known(self) -> frozenset[bytes]:
        """All clips, as bytes."""
        return frozenset(map(bytes.fromhex, self._where))

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self._path(shard).stat().st_size for shard in self._clips)

    def refresh(self) -> None:
        """Take note of what other processes wrote or removed."""
        try:
            names = {p.name for p in self._folder.iterdir() if p.suffix == _SUFFIX}
        except FileNotFoundError:
            names = set()
        except OSError as error:
            raise _unreadable(self._folder, error) from error
        self._forget(self._clips.keys() - names)
        for name in sorted(names - self._clips.keys() - self._refused):
            if not name.startswith("."):
                self._open(name)

    def write(self, clips: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write one shard; when this returns it is there, whole.

        Args:
            clips: Identity → tensors by name.

        Raises:
            SaveError: It could not be written. Earlier shards are untouched.
        """
        tensors = {
            f"{i}/{name}": tensor
            for i, parts in enumerate(clips.values())
            for name, tensor in parts.items()
        }
        for name, tensor in tensors.items():
            if not _is_finite(tensor):
                clip = list(clips)[int(name.partition("/")[0])]
                raise SaveError(
                    f"features of the clip {clip[:12]} are not finite and are not kept; keep them in full "
                    "precision, or leave that clip out"
                )
        record = {"key": self._key, "clips": list(clips)}
        header = json.dumps(
            {"format": FORMAT, "kind": "features", "record": record}, allow_nan=False
        )
        data = save(tensors, metadata={"a2m2_zoo": header})
        name = hashlib.sha256(data).hexdigest() + _SUFFIX
        make_folder(self._folder)
        write_atomically(self._path(name), lambda scratch: scratch.write_bytes(data))
        self._refused.discard(name)
        self._note(name, list(clips))

    def read(self, clips: Iterable[str]) -> dict[str, dict[str, Tensor]]:
        """Tensors of clips by identity; without those whose shard turns out to be damaged or gone."""
        found: dict[str, dict[str, Tensor]] = {}
        wanted = set(clips)
        # Each turn reads a clip or loses a shard; a clip may lie in several.
        while left := [clip for clip in wanted - found.keys() if clip in self._where]:
            by_shard: dict[str, list[str]] = defaultdict(list)
            for clip in left:
                by_shard[self._where[clip][0]].append(clip)
            for shard, inside in by_shard.items():
                found |= self._load(shard, inside)
        return found

    def _load(self, shard: str, clips: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        path = self._path(shard)
        if not self._sound(shard):
            return {}
        try:
            positions = {str(self._where[clip][1]): clip for clip in clips}
            found: dict[str, dict[str, Tensor]] = {clip: {} for clip in clips}
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    position, _, name = key.partition("/")
                    if position in positions:
                        found[positions[position]][name] = file.get_tensor(key)
            if not all(_is_finite(t) for parts in found.values() for t in parts.values()):
                self._set_aside(shard, "it has numbers that are not finite")
                return {}
        except FileNotFoundError:
            self._forget({shard})
        except OSError as error:
            raise _unreadable(path, error) from error
        else:
            return found
        return {}

    def _sound(self, shard: str) -> bool:
        """Whether a shard is as it was written; else its clips are missing, and the file is set aside."""
        path = self._path(shard)
        try:
            if _is_sound(path):
                return True
            self._set_aside(shard, "its content does not have the hash it is named by")
        except FileNotFoundError:
            self._forget({shard})
        except OSError as error:
            raise _unreadable(path, error) from error
        return False

    def _open(self, shard: str) -> None:
        """Read a header."""
        path = self._path(shard)
        try:
            with open_regular(path) as file:
                header = read_header(file, os.fstat(file.fileno()).st_size)
            clips = _listed(header.metadata, self._key)
        except FileNotFoundError:
            pass  # Another process set it aside meanwhile.
        except OSError as error:
            if path.is_file():
                raise _unreadable(path, error) from error
            self._set_aside(shard, "it is no regular file")
        except (ValueError, KeyError, TypeError) as error:
            self._set_aside(shard, f"its header is broken: {error}")
        else:
            self._note(shard, clips)

    def _note(self, shard: str, clips: list[str]) -> None:
        self._clips[shard] = clips
        for position, clip in enumerate(clips):
            self._where.setdefault(clip, (shard, position))

    def _forget(self, gone: set[str]) -> None:
        if gone:
            held = {name: clips for name, clips in self._clips.items() if name not in gone}
            self._clips, self._where = {}, {}
            for name, clips in held.items():
                self._note(name, clips)

    def _set_aside(self, shard: str, reason: str) -> None:
        path = self._path(shard)
        try:
            path.replace(path.with_name(f"{shard}.damaged"))
        except OSError:  # A read-only cache is still a cache.
            self._refused.add(shard)
        self._forget({shard})
        warnings.warn(
            f"the cache file {str(path)!r} is set aside as damaged ({reason}); filling the cache encodes its "
            "clips again",
            DamagedShardWarning,
            stacklevel=2,
        )

    def _path(self, shard: str) -> Path:
        return self._folder / shard


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        SaveError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(
            f"cannot make the folder {str(folder)!r}: {error.strerror or error}; name a cache folder "
            "that is writable and has room"
        ) from error


def _is_finite(tensor: Tensor) -> bool:
    """Whether no number is infinite or none."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = tensor.aminmax()  # either is NaN if any is
    return bool(low.isfinite() & high.isfinite())


def _is_sound(path: Path) -> bool:
    """Whether a shard has the hash it is named by; read through once per process."""
    facts = path.stat()
    mark = (str(path.absolute()), facts.st_size, facts.st_mtime_ns)
    if mark not in _verified:
        if file_digest(path) != path.stem:
            return False
        _verified.add(mark)
    return True


def _listed(metadata: Mapping[str, str] | None, key: str) -> list[str]:
    """The clips that a header lists.

    Raises:
        ValueError: It is no shard of this cache. Also KeyError and TypeError.
    """
    own: dict[str, Any] = parse((metadata or {})["a2m2_zoo"])
    clips = own["record"]["clips"]
    if (own["format"], own["kind"], own["record"]["key"]) != (FORMAT, "features", key):
        raise ValueError("it belongs to another cache")
    if not isinstance(clips, list) or not all(isinstance(clip, str) for clip in clips):
        raise TypeError("its list of clips is none")
    return clips


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"cannot read the cache {str(path)!r}: {error.strerror or error}")
