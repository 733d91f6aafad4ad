"""The checkpoint format: one safetensors file whose header says what it is.

The header's metadata holds one key, ``a2m2_zoo``, with JSON: the format's version, the kind of file and
a record of plain values. Files are hostile until checked: the size is bounded before a file is read, the
hash is compared before anything is parsed, and safetensors holds every shape to the bytes that are there.
A file is never in memory as a whole: its hash is taken in pieces, and tensors are copied out of a mapping of
it a few at a time, so that loading needs little more than the tensors do, and what becomes of the file later
changes none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2m2_zoo._files import write_atomically
from a2m2_zoo.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MAX_BYTES = 4 << 30
_PIECE = 1 << 20
_MAPPED = 32 << 20  # bytes of a file that are mapped before it is mapped anew


@dataclass(frozen=True)
class Checkpoint:
    """A parsed file.

    Attributes:
        record: What the header says.
        tensors: The tensors, on the CPU.
        sha256: Hash of the bytes that were parsed.
    """

    record: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    record: Mapping[str, Any],
) -> str:
    """Write a checkpoint beside ``path`` and rename it into place.

    Args:
        path: File to write.
        tensors: Tensors by name.
        kind: What the file is, e.g. ``model`` or ``bank``.
        record: Plain JSON values.

    Returns:
        The sha256 of the file.

    Raises:
        SaveError: It could not be written.
    """
    data = serialised(tensors, kind=kind, record=record)
    write_atomically(path, lambda scratch: scratch.write_bytes(data))
    return hashlib.sha256(data).hexdigest()


def serialised(tensors: Mapping[str, Tensor], *, kind: str, record: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint, arguments as of ``save``."""
    from safetensors.torch import save as serialise

    header = json.dumps({"format": FORMAT, "kind": kind, "record": record}, sort_keys=True)
    packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return serialise(packed, metadata={"a2m2_zoo": header})


def load(
    path: str | os.PathLike[str],
    *,
    kind: str,
    sha256: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Checkpoint:
    """Read and check a checkpoint.

    Args:
        path: File to read.
        kind: What it must be.
        sha256: Hash it must have; None where nobody announced one.
        max_bytes: Refuse larger files.

    Raises:
        CheckpointError: It is missing, too large, has another hash, or is broken.
    """
    path = Path(path)
    with _verified(path, sha256, max_bytes) as digest:
        record = _record(path, kind)
        return Checkpoint(record, _tensors(path), digest)


def read_tensors(
    path: str | os.PathLike[str],
    *,
    sha256: str,
    keep: Callable[[list[str]], Iterable[str]] | None = None,
    max_bytes: int = MAX_BYTES,
) -> dict[str, Tensor]:
    """Tensors of any safetensors file whose hash was announced, such as a backbone's weights.

    Args:
        path: File to read.
        sha256: Hash it must have.
        keep: Takes the names of all tensors and gives those that are wanted; all if None.
        max_bytes: Refuse larger files.

    Raises:
        CheckpointError: It is missing, too large, has another hash, or is broken.
    """
    path = Path(path)
    with _verified(path, sha256, max_bytes):
        return _tensors(path, keep)


@contextmanager
def _verified(path: Path, sha256: str | None, max_bytes: int) -> Iterator[str]:
    """The hash of a file, once it was compared; afterwards the file must still be the one that was hashed."""
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if before.st_size > max_bytes:
                raise CheckpointError(
                    f"{path.name!r} has {before.st_size:,} bytes; the limit is {max_bytes:,} bytes"
                )
            digest = hashlib.sha256()
            while piece := file.read(_PIECE):
                digest.update(piece)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise CheckpointError(
                f"{path.name!r} has sha256 {digest.hexdigest()} where {sha256} was announced; it is damaged "
                "or was replaced: install the package or fetch the file again"
            )
        yield digest.hexdigest()
        after = path.stat()
    except OSError as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    if _mark(before) != _mark(after):
        raise CheckpointError(f"{path.name!r} was changed while it was read; load it again")


def _mark(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def _mapped(path: Path) -> Iterator[Any]:
    """The file as safetensors maps it; whatever is wrong with it is a ``CheckpointError``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise CheckpointError(
            f"{path.name!r} is not a safetensors file, or is damaged: {error}"
        ) from error


def _tensors(
    path: Path, keep: Callable[[list[str]], Iterable[str]] | None = None
) -> dict[str, Tensor]:
    """Copies of the tensors that are wanted, all of them if ``keep`` is None."""
    from a2m2_zoo._workers import apart  # which loads torch

    return apart(_copied)(path, keep)


def _copied(path: Path, keep: Callable[[list[str]], Iterable[str]] | None) -> dict[str, Tensor]:
    with _mapped(path) as file:
        names = list(file.keys())
    wanted = list(dict.fromkeys(names if keep is None else keep(names)))
    found: dict[str, Tensor] = {}
    while len(found) < len(wanted):
        held = 0
        with _mapped(path) as file:  # mapped pages count as memory in use until they are let go
            for name in wanted[len(found) :]:
                found[name] = file.get_tensor(name).clone()
                held += found[name].nbytes
                if held > _MAPPED:
                    break
    return found


def _record(path: Path, kind: str) -> dict[str, Any]:
    """The package's own part of the header, with everything checked that it will be trusted for."""
    with _mapped(path) as file:
        metadata = file.metadata()
    name = path.name
    try:
        own = json.loads(metadata["a2m2_zoo"])
        version, found, record = own["format"], own["kind"], own["record"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{name!r} was not written by a2m2_zoo (its header has no a2m2_zoo record)"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{name!r} has format {version!r}; this version of a2m2_zoo reads {FORMAT}"
        )
    if not isinstance(found, str) or not isinstance(record, dict):
        raise CheckpointError(f"{name!r} has a broken a2m2_zoo record")
    if found != kind:
        raise CheckpointError(f"{name!r} is a {found} file; expected a {kind} file")
    return record
