"""Weights that lie in several files of a repository, as its index says: checked, and joined into one.

From then on they are one file like all others: it is kept in the cache, goes with models that are saved, and
its hash, which follows from the tensors and their names alone, is the backbone's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from a2m2_zoo._utils.bounded_json import MAX_BYTES, read
from a2m2_zoo._utils.files import write_atomically
from a2m2_zoo._utils.workers import apart
from a2m2_zoo.errors import CheckpointError, SaveError
from a2m2_zoo.features import default_cache
from a2m2_zoo.hub import checkpoint
from a2m2_zoo.hub.fetch import file_sha256
from a2m2_zoo.zoo.backbone_files import MAX_WEIGHTS

#: What stands behind the name of a file of weights where it is an index of several.
INDEX = ".index.json"
MAX_SHARDS = 128
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,199}\.safetensors", re.ASCII)


def joined(index: Path, where: str, get: Callable[[str], Path]) -> tuple[Path, str]:
    """One file with all that an index names, and its hash.

    Args:
        index: The index, hostile until checked.
        where: The repository, for the messages.
        get: Fetches a file of the repository by its name, and compares it with what was announced.

    Raises:
        CheckpointError: The index is broken or names what is no file beside it, there is too much, or a file
            does not hold exactly the tensors that the index says.
        FetchError: A file cannot be fetched.
        SaveError: There is no room for the one file.
    """
    files = _read_index(index, where)
    paths: dict[str, Path] = {}
    total = 0
    for file in files:
        paths[file] = get(file)
        total += paths[file].stat().st_size
        if total > MAX_WEIGHTS:
            raise CheckpointError(
                f"the weights of {where} have more than {MAX_WEIGHTS:,} bytes; take a smaller model"
            )
    hashes = {file: file_sha256(path) for file, path in paths.items()}
    key = hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:16]
    folder = default_cache() / "weights"
    for found in folder.glob(f"{key}-*.safetensors"):
        digest = found.stem.partition("-")[2]
        if file_sha256(found) == digest:
            return found, digest
    tensors: dict[str, Tensor] = {}
    for file, names in files.items():
        tensors |= checkpoint.read_tensors(
            paths[file],
            sha256=hashes[file],
            keep=partial(_exactly, set(names), where, file),
            max_bytes=MAX_WEIGHTS,
        )
    return _kept(tensors, folder, key)


def _read_index(index: Path, where: str) -> dict[str, list[str]]:
    """File → the names of its tensors."""
    try:
        found = read(index, most=MAX_BYTES)
        places = found["weight_map"]
        items = sorted(places.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index.name} of {where} is no index; expected JSON with weight_map, tensor to file"
        ) from error
    files: dict[str, list[str]] = {}
    for name, file in items:
        if not isinstance(file, str) or not _NAME.fullmatch(file):
            raise CheckpointError(
                f"{index.name} of {where} names {str(file)[:60]!r}; expected the plain name of a "
                ".safetensors file beside it"
            )
        files.setdefault(file, []).append(name)
    if not 1 <= len(files) <= MAX_SHARDS:
        raise CheckpointError(
            f"{index.name} of {where} names {len(files)} files; expected 1 to {MAX_SHARDS}"
        )
    return files


def _exactly(expected: set[str], where: str, file: str, names: Sequence[str]) -> Sequence[str]:
    """The names of a file's tensors, which are those that the index gives."""
    if other := sorted(expected.symmetric_difference(names)):
        which = "lacks" if other[0] in expected else "also holds"
        raise CheckpointError(
            f"{file!r} of {where} {which} {other[0][:60]!r}, against what its index says ({len(other)} "
            "tensor(s) in all); take another commit"
        )
    return names


@apart
def _kept(tensors: dict[str, Tensor], folder: Path, key: str) -> tuple[Path, str]:
    from safetensors.torch import save_file

    part = folder / f"{key}.{os.getpid()}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(part, lambda scratch: save_file(tensors, scratch))
        digest = file_sha256(part)
        return part.replace(folder / f"{key}-{digest}.safetensors"), digest
    except OSError as error:
        if isinstance(error, SaveError):
            raise
        raise SaveError(
            f"the weights cannot be joined in {str(folder)!r} ({error.strerror or error}); make room, or set "
            "A2M2_CACHE to a folder that can be written"
        ) from error
